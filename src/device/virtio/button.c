#include "device/virtio/button.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EVENTS, STATUS, QUEUES };

/* Configuration (5.8.4). */
enum {
	CONFIG_SELECT,
	CONFIG_SUBSELECT,
	CONFIG_LENGTH,
	CONFIG_DATA = 8,
	CONFIG_DATA_MAX = 128,
	CONFIG_SIZE = CONFIG_DATA + CONFIG_DATA_MAX,
};

/* What may be selected (5.8.5). */
enum { SELECT_NAME = 1, SELECT_IDS = 3, SELECT_EVENTS = 0x11 };

/* Of the Linux input layer, which the specification refers to. */
enum { EV_SYN = 0, EV_KEY = 1, KEY_POWER = 116, BUS_VIRTUAL = 6 };

struct event {
	le16_t type, code;
	le32_t value;
};

struct button {
	struct virtio virtio;
	struct virtqueue_chain chain;
	uint8_t left; /* events of a press that the driver has not got yet; under the device's lock */
};

/* Each pressing and letting go is one report, ended by EV_SYN. */
static const struct {
	uint16_t type, code;
	uint32_t value;
} press[] = {{EV_KEY, KEY_POWER, 1}, {EV_SYN, 0, 0}, {EV_KEY, KEY_POWER, 0}, {EV_SYN, 0, 0}};

static uint64_t features(const struct virtio *virtio)
{
	(void)virtio;
	return VIRTIO_F_IN_ORDER;
}

static size_t tell_name(uint8_t data[CONFIG_DATA_MAX])
{
	static const char name[] = "Power Button";

	memcpy(data, name, sizeof name - 1);
	return sizeof name - 1;
}

static size_t tell_ids(uint8_t data[CONFIG_DATA_MAX])
{
	const le16_t ids[4] = {le16_put(BUS_VIRTUAL), le16_put(0), le16_put(0), le16_put(1)};

	memcpy(data, ids, sizeof ids);
	return sizeof ids;
}

static size_t tell_keys(uint8_t data[CONFIG_DATA_MAX])
{
	data[KEY_POWER / 8] = 1 << KEY_POWER % 8;
	return KEY_POWER / 8 + 1;
}

/* The driver selects, and finds here what it asked for, or nothing. */
static void config_written(struct virtio *virtio, uint32_t offset, uint32_t size)
{
	uint8_t *config = virtio->config, *data = config + CONFIG_DATA;
	size_t length = 0;

	(void)offset;
	(void)size;
	memset(config + CONFIG_LENGTH, 0, CONFIG_SIZE - CONFIG_LENGTH);
	if (config[CONFIG_SELECT] == SELECT_EVENTS && config[CONFIG_SUBSELECT] == EV_KEY)
		length = tell_keys(data);
	else if (config[CONFIG_SELECT] == SELECT_NAME && !config[CONFIG_SUBSELECT])
		length = tell_name(data);
	else if (config[CONFIG_SELECT] == SELECT_IDS && !config[CONFIG_SUBSELECT])
		length = tell_ids(data);
	config[CONFIG_LENGTH] = (uint8_t)length;
}

/* Events of the press under way that are left; `taken`: one less now. */
static unsigned events_left(struct button *button, bool taken)
{
	unsigned left;

	pthread_mutex_lock(&button->virtio.device.lock);
	left = button->left;
	if (taken)
		button->left--;
	pthread_mutex_unlock(&button->virtio.device.lock);
	return left;
}

static void give_events(struct button *button)
{
	while (events_left(button, false) && virtio_next(&button->virtio, EVENTS, &button->chain)) {
		size_t at = ARRAY_SIZE(press) - events_left(button, true);
		const struct event event = {le16_put(press[at].type), le16_put(press[at].code),
					    le32_put(press[at].value)};
		uint64_t given = virtqueue_write(&button->chain, 0, &event, sizeof event);

		atomic_fetch_add_explicit(&button->virtio.statistics.bytes_out, given, memory_order_relaxed);
		virtqueue_push(&button->virtio.queues[EVENTS], &button->chain, (uint32_t)given);
	}
}

/* There are no lights to switch: what the driver says is taken and that is all. */
static void take_status(struct button *button)
{
	while (virtio_next(&button->virtio, STATUS, &button->chain))
		virtqueue_push(&button->virtio.queues[STATUS], &button->chain, 0);
}

static void kicked(struct virtio *virtio, unsigned queue)
{
	struct button *button = (struct button *)virtio;

	if (queue == EVENTS)
		give_events(button);
	else
		take_status(button);
	virtio_notify(virtio, queue);
}

static void reset(struct virtio *virtio)
{
	struct button *button = (struct button *)virtio;

	pthread_mutex_lock(&virtio->device.lock);
	button->left = 0;
	memset(virtio->config, 0, CONFIG_SIZE);
	pthread_mutex_unlock(&virtio->device.lock);
}

void virtio_button_press(struct virtio *virtio)
{
	struct button *button = (struct button *)virtio;

	pthread_mutex_lock(&virtio->device.lock);
	if (!button->left && (virtio->status & VIRTIO_DRIVER_OK))
		button->left = ARRAY_SIZE(press);
	pthread_mutex_unlock(&virtio->device.lock);
	virtio_look_again(virtio, EVENTS);
}

static const struct virtio_kind kind = {
	.id = 18,
	.features = features,
	.config_written = config_written,
	.kicked = kicked,
	.reset = reset,
};

static int validate(const void *shadow, struct error *e)
{
	const struct button *button = shadow;

	if (button->left > ARRAY_SIZE(press))
		return error_set(e, ERROR_FAILED, -EINVAL, "%u events of a key press are left of %zu", button->left,
				 ARRAY_SIZE(press));
	return virtio_validate(shadow, e);
}

static const struct state_field fields[] = {
	VIRTIO_STATE_FIELDS,
	STATE_FIELD(struct button, left, STATE_U8),
};

static const struct state_descriptor state = {
	.kind = "virtio-button",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct button),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.validate = validate,
};

const struct device_type virtio_button_type = {
	.name = "virtio-button",
	.help = "power button: asks the guest to power off",
	.state = &state,
	VIRTIO_DEVICE_OPS,
	.destroy = virtio_device_destroy,
};

int virtio_button_new(struct virtio **out, const char *name, struct worker *worker, struct error *e)
{
	static const uint16_t sizes[QUEUES] = {64, 64};
	struct button *button = calloc(1, sizeof *button);
	int r;

	if (!button)
		return error_errno(e, -ENOMEM, "device %s", name);
	r = virtio_init(&button->virtio, &virtio_button_type, &kind, name, worker, sizes, QUEUES, CONFIG_SIZE, e);
	if (r < 0) {
		free(button);
		return r;
	}
	*out = &button->virtio;
	return 0;
}
