/* The console with one port: a terminal. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/virtio/console.h"

#define DEVICE_ID   3
#define F_SIZE      (UINT64_C(1) << 0)
#define F_EMERGENCY (UINT64_C(1) << 2)
#define QUEUE_SIZE  128

enum { TO_GUEST, FROM_GUEST, QUEUE_COUNT };

/* Configuration space (5.3.4). */
struct terminal_config {
	le16_t columns, rows;
	le32_t ports_max;
	le32_t emergency;
};

struct terminal {
	struct virtio virtio;
	struct virtio_terminal_sink sink;
	struct bell output_bell, input_bell;
	struct virtqueue_chain chain; /* from the guest; while `halfway`, `at` bytes of it are written */
	struct virtqueue_chain buffer; /* to the guest */
	uint64_t at;
	bool halfway;
	bool crowded; /* the sink is, and will tell when there is room */

	pthread_mutex_t input_lock; /* guards what follows */
	uint8_t input[VIRTIO_CONSOLE_INPUT];
	size_t input_start, input_length;
	bool wants_room;
	void (*room)(void *opaque);
	void *opaque;
};

static struct terminal *terminal_of(struct virtio *virtio)
{
	return (struct terminal *)virtio;
}

/* Writes out the buffer at hand; false when the sink is crowded before its end and nobody insists. */
static bool write_chain(struct terminal *terminal, bool insist)
{
	uint8_t bytes[1024];
	size_t length;

	while ((length = virtqueue_read(&terminal->chain, terminal->at, bytes, sizeof bytes))) {
		terminal->crowded = terminal->sink.write(terminal->sink.console, bytes, length);
		terminal->at += length;
		terminal->virtio.statistics.bytes_out += length;
		if (terminal->crowded && !insist && terminal->at < terminal->chain.readable_bytes)
			return false;
	}
	return true;
}

static void finish_chain(struct terminal *terminal)
{
	terminal->halfway = false;
	virtqueue_push(&terminal->virtio.queues[FROM_GUEST], &terminal->chain, 0);
}

static void serve_output(struct terminal *terminal)
{
	bool pushed = false;

	while (!terminal->crowded &&
	       (terminal->halfway || virtio_next(&terminal->virtio, FROM_GUEST, &terminal->chain))) {
		if (!terminal->halfway)
			terminal->at = 0;
		terminal->halfway = true;
		if (!write_chain(terminal, false))
			break;
		finish_chain(terminal);
		pushed = true;
	}
	if (pushed)
		virtio_notify(&terminal->virtio, FROM_GUEST);
}

static void has_room(void *arg)
{
	struct terminal *terminal = arg;

	virtio_serve_begin(&terminal->virtio);
	terminal->crowded = false;
	serve_output(terminal);
	virtio_serve_end(&terminal->virtio);
}

/* A buffer half written is finished, crowded or not: the sink has room beyond its mark. */
static void terminal_quiesce(struct virtio *virtio)
{
	struct terminal *terminal = terminal_of(virtio);

	if (terminal->halfway) {
		(void)write_chain(terminal, true);
		finish_chain(terminal);
		virtio_notify(virtio, FROM_GUEST);
	}
	virtio_quiet(virtio);
}

/* Moves typed bytes into the guest's buffer. */
static uint32_t take_input(struct terminal *terminal)
{
	size_t length = 0, run;

	pthread_mutex_lock(&terminal->input_lock);
	while (terminal->input_length) {
		run = VIRTIO_CONSOLE_INPUT - terminal->input_start;
		if (run > terminal->input_length)
			run = terminal->input_length;
		run = virtqueue_write(&terminal->buffer, length, terminal->input + terminal->input_start, run);
		if (run == 0)
			break;
		length += run;
		terminal->input_start = (terminal->input_start + run) % VIRTIO_CONSOLE_INPUT;
		terminal->input_length -= run;
	}
	pthread_mutex_unlock(&terminal->input_lock);
	return (uint32_t)length;
}

static bool has_input(struct terminal *terminal)
{
	bool has;

	pthread_mutex_lock(&terminal->input_lock);
	has = terminal->input_length > 0;
	pthread_mutex_unlock(&terminal->input_lock);
	return has;
}

/* Whoever was refused input is told that there is room again. */
static void tell_room(struct terminal *terminal)
{
	bool told;

	pthread_mutex_lock(&terminal->input_lock);
	told = terminal->wants_room && terminal->input_length < VIRTIO_CONSOLE_INPUT;
	if (told)
		terminal->wants_room = false;
	pthread_mutex_unlock(&terminal->input_lock);
	if (told && terminal->room)
		terminal->room(terminal->opaque);
}

static void serve_input(struct terminal *terminal)
{
	bool pushed = false;

	while (has_input(terminal) && virtio_next(&terminal->virtio, TO_GUEST, &terminal->buffer)) {
		uint32_t length = take_input(terminal);

		terminal->virtio.statistics.bytes_in += length;
		virtqueue_push(&terminal->virtio.queues[TO_GUEST], &terminal->buffer, length);
		pushed = true;
	}
	if (pushed)
		virtio_notify(&terminal->virtio, TO_GUEST);
	tell_room(terminal);
}

static void typed(void *arg)
{
	struct terminal *terminal = arg;

	virtio_serve_begin(&terminal->virtio);
	serve_input(terminal);
	virtio_serve_end(&terminal->virtio);
}

static void terminal_kicked(struct virtio *virtio, unsigned queue)
{
	if (queue == TO_GUEST)
		serve_input(terminal_of(virtio));
	else
		serve_output(terminal_of(virtio));
}

/* Emergency write (5.3.4): one character, before there are queues. */
static void terminal_config_written(struct virtio *virtio, uint32_t offset, uint32_t size)
{
	struct terminal *terminal = terminal_of(virtio);
	uint8_t *emergency = virtio->config + offsetof(struct terminal_config, emergency);

	if (offset == offsetof(struct terminal_config, emergency) && size > 0)
		(void)terminal->sink.write(terminal->sink.console, emergency, 1);
}

static uint64_t terminal_features(const struct virtio *virtio)
{
	(void)virtio;
	return F_SIZE | F_EMERGENCY | VIRTIO_F_IN_ORDER;
}

static const struct virtio_kind terminal_kind = {
	.id = DEVICE_ID,
	.features = terminal_features,
	.config_written = terminal_config_written,
	.kicked = terminal_kicked,
	.at_once = UINT32_C(1) << FROM_GUEST,
	.quiesce = terminal_quiesce,
};

size_t virtio_terminal_receive(struct virtio *virtio, const uint8_t *bytes, size_t length)
{
	struct terminal *terminal = terminal_of(virtio);
	size_t taken = 0;

	pthread_mutex_lock(&terminal->input_lock);
	for (; taken < length && terminal->input_length < VIRTIO_CONSOLE_INPUT; taken++) {
		size_t at = (terminal->input_start + terminal->input_length++) % VIRTIO_CONSOLE_INPUT;

		terminal->input[at] = bytes[taken];
	}
	terminal->wants_room = taken < length;
	pthread_mutex_unlock(&terminal->input_lock);
	if (taken)
		bell_ring(&terminal->input_bell);
	return taken;
}

void virtio_terminal_on_room(struct virtio *virtio, void (*room)(void *opaque), void *opaque)
{
	struct terminal *terminal = terminal_of(virtio);

	pthread_mutex_lock(&terminal->input_lock);
	terminal->room = room;
	terminal->opaque = opaque;
	pthread_mutex_unlock(&terminal->input_lock);
}

void virtio_terminal_room(struct virtio *virtio)
{
	bell_ring(&terminal_of(virtio)->output_bell);
}

void virtio_terminal_resize(struct virtio *virtio, uint16_t columns, uint16_t rows)
{
	const struct terminal_config config = {.columns = le16_put(columns), .rows = le16_put(rows)};

	virtio_config_change(virtio, 0, &config, offsetof(struct terminal_config, ports_max));
}

static void terminal_destroy(struct device *device)
{
	struct terminal *terminal = (struct terminal *)device;

	virtio_finish(&terminal->virtio);
	pthread_mutex_destroy(&terminal->input_lock);
	free(terminal);
}

static const struct state_field terminal_fields[] = {VIRTIO_STATE_FIELDS};

static const struct state_descriptor terminal_state = {
	.kind = "virtio-terminal",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct terminal),
	.fields = terminal_fields,
	.field_count = ARRAY_SIZE(terminal_fields),
	.validate = virtio_validate,
};

const struct device_type virtio_terminal_type = {
	.name = "virtio-terminal",
	.help = "a terminal for the guest, hvc0, whose size follows the host's",
	.state = &terminal_state,
	VIRTIO_DEVICE_OPS,
	.destroy = terminal_destroy,
};

int virtio_terminal_new(struct virtio **out, const char *name, struct worker *worker,
			struct virtio_terminal_sink sink, struct error *e)
{
	static const uint16_t sizes[QUEUE_COUNT] = {QUEUE_SIZE, QUEUE_SIZE};
	struct terminal *terminal = calloc(1, sizeof *terminal);
	int r;

	if (!terminal)
		return error_errno(e, -ENOMEM, "device %s", name);
	r = virtio_init(&terminal->virtio, &virtio_terminal_type, &terminal_kind, name, worker, sizes, QUEUE_COUNT,
			sizeof(struct terminal_config), e);
	if (r < 0) {
		free(terminal);
		return r;
	}
	pthread_mutex_init(&terminal->input_lock, NULL);
	terminal->sink = sink;
	terminal->output_bell = (struct bell){.loop = worker_loop(worker), .fn = has_room, .arg = terminal};
	terminal->input_bell = (struct bell){.loop = worker_loop(worker), .fn = typed, .arg = terminal};
	*out = &terminal->virtio;
	return 0;
}
