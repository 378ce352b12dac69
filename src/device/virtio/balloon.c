#include "device/virtio/balloon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define F_STATISTICS     (UINT64_C(1) << 1)
#define F_DEFLATE_ON_OOM (UINT64_C(1) << 2)
#define F_REPORTING      (UINT64_C(1) << 5)

#define LIST_MAX (64 * KIB) /* bytes of page numbers in one buffer; drivers send 1 KiB */
#define PART     256        /* numbers read at once */

enum { INFLATE, DEFLATE, STATISTICS, QUEUES = 5 };
enum { CONFIG_TARGET = 0, CONFIG_ACTUAL = 4, CONFIG_SIZE = 8 };

/* An entry of the statistics buffer. */
struct told {
	uint8_t tag[2];
	uint8_t value[8];
};
_Static_assert(sizeof(struct told) == 10, "as in 5.5.6.3");

struct balloon {
	struct virtio virtio;
	atomic_bool asked;                    /* for statistics */
	struct balloon_statistics statistics; /* under the device's lock */
	struct virtqueue_chain chain;
};

/* Pages that follow each other, given back in one call. */
struct run {
	uint64_t start, end; /* guest-physical */
};

static struct balloon *balloon_of(struct virtio *virtio)
{
	return (struct balloon *)virtio;
}

static uint64_t features(const struct virtio *virtio)
{
	(void)virtio;
	return F_STATISTICS | F_DEFLATE_ON_OOM | F_REPORTING | VIRTIO_F_IN_ORDER;
}

static uint32_t config_word(const struct virtio *virtio, uint32_t offset)
{
	le32_t word;

	memcpy(&word, virtio->config + offset, sizeof word);
	return le32_get(word);
}

static void put_config_word(struct virtio *virtio, uint32_t offset, uint32_t value)
{
	le32_t word = le32_put(value);

	memcpy(virtio->config + offset, &word, sizeof word);
}

/* Only `actual` is the driver's to write. */
static void config_written(struct virtio *virtio, uint32_t offset, uint32_t size)
{
	uint64_t target = balloon_of(virtio)->statistics.target_bytes;

	(void)offset;
	(void)size;
	put_config_word(virtio, CONFIG_TARGET, (uint32_t)(target >> GUEST_PAGE_SHIFT));
}

static void count(struct balloon *balloon, uint64_t *counter, uint64_t amount)
{
	pthread_mutex_lock(&balloon->virtio.device.lock);
	*counter += amount;
	pthread_mutex_unlock(&balloon->virtio.device.lock);
}

static void discard(struct balloon *balloon, struct run *run, uint64_t *counter)
{
	uint64_t length = run->end - run->start;

	if (length == 0)
		return;
	/* The host may refuse locked pages: then they stay. */
	if (memory_discard(balloon->virtio.memory, gpa(run->start), length) == 0)
		count(balloon, counter, length);
	*run = (struct run){0, 0};
}

/* Drivers hand out neighbours upwards or downwards. */
static void add_page(struct balloon *balloon, struct run *run, uint32_t number)
{
	uint64_t page = (uint64_t)number << GUEST_PAGE_SHIFT;

	if (!memory_find(balloon->virtio.memory, gpa(page), GUEST_PAGE_SIZE)) {
		count(balloon, &balloon->statistics.refused_pages, 1);
		log_guest(LOG_WARNING, "virtio", "%s: page 0x%x is not in RAM", balloon->virtio.device.name,
			  number);
		return;
	}
	if (run->end != run->start && page == run->end) {
		run->end += GUEST_PAGE_SIZE;
	} else if (run->end != run->start && page + GUEST_PAGE_SIZE == run->start) {
		run->start = page;
	} else {
		discard(balloon, run, &balloon->statistics.inflated_bytes);
		*run = (struct run){page, page + GUEST_PAGE_SIZE};
	}
}

static void inflate(struct balloon *balloon, const struct virtqueue_chain *chain)
{
	struct run run = {0, 0};
	le32_t numbers[PART];
	uint64_t at = 0;
	size_t got;

	while ((got = virtqueue_read(chain, at, numbers, sizeof numbers) / sizeof numbers[0]) > 0) {
		for (size_t i = 0; i < got; i++)
			add_page(balloon, &run, le32_get(numbers[i]));
		at += got * sizeof numbers[0];
	}
	discard(balloon, &run, &balloon->statistics.inflated_bytes);
}

/* The buffers are the free memory itself. */
static void report(struct balloon *balloon, const struct virtqueue_chain *chain)
{
	const uint64_t mask = GUEST_PAGE_SIZE - 1;

	for (unsigned i = 0; i < chain->writable; i++) {
		const struct iovec *span = &chain->spans[chain->readable + i];
		uint64_t start = memory_physical(balloon->virtio.memory, span->iov_base).value;
		struct run run = {(start + mask) & ~mask, (start + span->iov_len) & ~mask};

		if (run.start < run.end)
			discard(balloon, &run, &balloon->statistics.reported_bytes);
	}
}

/* One buffer of a queue that is served in order; false: the driver broke a rule. What no driver sends is refused, because
 * it would keep the worker from others. */
static bool handle(struct balloon *balloon, unsigned queue, const struct virtqueue_chain *chain)
{
	struct error e;

	if (chain->readable_bytes > LIST_MAX || chain->writable_bytes > memory_size(balloon->virtio.memory)) {
		(void)error_set(&e, ERROR_FAILED, -EBADMSG, "%llu bytes of page numbers, %llu of pages in one buffer",
				(unsigned long long)chain->readable_bytes,
				(unsigned long long)chain->writable_bytes);
		virtio_broken(&balloon->virtio, &e);
		return false;
	}
	if (queue == INFLATE)
		inflate(balloon, chain);
	else if (queue != DEFLATE)
		report(balloon, chain);
	return true;
}

static void serve(struct balloon *balloon, unsigned queue)
{
	struct virtio *virtio = &balloon->virtio;

	while (virtio_next(virtio, queue, &balloon->chain) && handle(balloon, queue, &balloon->chain))
		virtqueue_push(&virtio->queues[queue], &balloon->chain, 0);
	virtio_notify(virtio, queue);
}

static void take_statistics(struct balloon *balloon, const struct virtqueue_chain *chain)
{
	struct balloon_statistics *statistics = &balloon->statistics;
	struct told told[64];
	size_t got = virtqueue_read(chain, 0, told, sizeof told) / sizeof told[0];

	pthread_mutex_lock(&balloon->virtio.device.lock);
	statistics->at_ns = clock_host_ns();
	statistics->valid = 0;
	for (size_t i = 0; i < got; i++) {
		unsigned tag = told[i].tag[0] | (unsigned)told[i].tag[1] << 8;
		le64_t value;

		memcpy(&value, told[i].value, sizeof value);
		if (tag >= BALLOON_TAGS)
			continue;
		statistics->valid |= UINT32_C(1) << tag;
		statistics->values[tag] = le64_get(value);
	}
	pthread_mutex_unlock(&balloon->virtio.device.lock);
}

/*
 * The driver keeps one buffer with the device, which gives it back to ask for new statistics. It stays in the ring meanwhile
 * (read, and not taken), so there is nothing of it to save.
 */
static void serve_statistics(struct balloon *balloon)
{
	struct virtqueue *queue = &balloon->virtio.queues[STATISTICS];
	struct error e;
	int r = virtqueue_pop(queue, &balloon->chain, &e);

	if (r < 0)
		virtio_broken(&balloon->virtio, &e);
	if (r <= 0)
		return;
	if (!atomic_exchange(&balloon->asked, false)) {
		take_statistics(balloon, &balloon->chain);
		virtqueue_unpop(queue, &balloon->chain);
		return;
	}
	virtqueue_push(queue, &balloon->chain, 0);
	if (virtqueue_enable_kicks(queue))
		virtio_look_again(&balloon->virtio, STATISTICS);
	virtio_notify(&balloon->virtio, STATISTICS);
}

/* Drivers number only the queues whose feature was negotiated, so the one of reports may be any after deflate. */
static void kicked(struct virtio *virtio, unsigned queue)
{
	if (queue == STATISTICS && virtio_has(virtio, F_STATISTICS))
		serve_statistics(balloon_of(virtio));
	else if (queue <= DEFLATE || virtio_has(virtio, F_REPORTING))
		serve(balloon_of(virtio), queue);
}

static void reset(struct virtio *virtio)
{
	struct balloon *balloon = balloon_of(virtio);

	atomic_store(&balloon->asked, false);
	pthread_mutex_lock(&virtio->device.lock);
	put_config_word(virtio, CONFIG_ACTUAL, 0);
	balloon->statistics.valid = 0;
	balloon->statistics.at_ns = 0;
	pthread_mutex_unlock(&virtio->device.lock);
}

void virtio_balloon_set_target(struct virtio *virtio, uint64_t bytes)
{
	uint64_t pages = bytes >> GUEST_PAGE_SHIFT;
	le32_t word = le32_put(pages > UINT32_MAX ? UINT32_MAX : (uint32_t)pages);

	pthread_mutex_lock(&virtio->device.lock);
	balloon_of(virtio)->statistics.target_bytes = (uint64_t)le32_get(word) << GUEST_PAGE_SHIFT;
	pthread_mutex_unlock(&virtio->device.lock);
	virtio_config_change(virtio, CONFIG_TARGET, &word, sizeof word);
}

void virtio_balloon_get_statistics(struct virtio *virtio, struct balloon_statistics *out)
{
	pthread_mutex_lock(&virtio->device.lock);
	*out = balloon_of(virtio)->statistics;
	out->actual_bytes = (uint64_t)config_word(virtio, CONFIG_ACTUAL) << GUEST_PAGE_SHIFT;
	pthread_mutex_unlock(&virtio->device.lock);
}

void virtio_balloon_ask_statistics(struct virtio *virtio)
{
	atomic_store(&balloon_of(virtio)->asked, true);
	virtio_look_again(virtio, STATISTICS);
}

static void loaded(struct device *device)
{
	struct balloon *balloon = (struct balloon *)device;

	balloon->statistics.target_bytes = (uint64_t)config_word(&balloon->virtio, CONFIG_TARGET) << GUEST_PAGE_SHIFT;
	virtio_device_loaded(device);
}

static const struct virtio_kind kind = {
	.id = 5,
	.features = features,
	.config_written = config_written,
	.kicked = kicked,
	.reset = reset,
};

static const struct state_field fields[] = {VIRTIO_STATE_FIELDS};

static const struct state_descriptor state = {
	.kind = "virtio-balloon",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct balloon),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.validate = virtio_validate,
};

const struct device_type virtio_balloon_type = {
	.name = "virtio-balloon",
	.help = "balloon: memory that the guest gives back to the host",
	.state = &state,
	.is_virtio = true,
	.reset = virtio_device_reset,
	.pause = virtio_device_pause,
	.resume = virtio_device_resume,
	.loaded = loaded,
	.describe = virtio_device_describe,
	.destroy = virtio_device_destroy,
};

int virtio_balloon_new(struct virtio **out, const char *name, struct worker *worker, struct error *e)
{
	static const uint16_t sizes[QUEUES] = {128, 128, 16, 128, 128};
	struct balloon *balloon = calloc(1, sizeof *balloon);
	int r;

	if (!balloon)
		return error_errno(e, -ENOMEM, "device %s", name);
	r = virtio_init(&balloon->virtio, &virtio_balloon_type, &kind, name, worker, sizes, QUEUES, CONFIG_SIZE, e);
	if (r < 0) {
		free(balloon);
		return r;
	}
	*out = &balloon->virtio;
	return 0;
}
