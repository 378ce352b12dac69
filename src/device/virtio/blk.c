#include "device/virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "device/virtio/blk_private.h"

#define DEVICE_ID      2
#define F_SEG_MAX      (UINT64_C(1) << 2)
#define F_RO           (UINT64_C(1) << 5)
#define F_BLK_SIZE     (UINT64_C(1) << 6)
#define F_TOPOLOGY     (UINT64_C(1) << 10)
#define F_MQ           (UINT64_C(1) << 12)

/* Configuration space (5.2.4). */
struct blk_config {
	le64_t capacity; /* in sectors */
	le32_t size_max, seg_max;
	uint8_t geometry[4];
	le32_t block_size;
	uint8_t physical_block_exponent, alignment_offset;
	le16_t min_io_size; /* in blocks of block_size */
	le32_t optimal_io_size;
	uint8_t writeback, unused0;
	le16_t queues;
	le32_t discard_sectors_max, discard_ranges_max, discard_alignment;
	le32_t zero_sectors_max, zero_ranges_max;
	uint8_t zero_may_unmap, unused1[3];
} __attribute__((packed));
_Static_assert(sizeof(struct blk_config) == 60, "as on the wire");

static void blk_kicked(struct virtio *virtio, unsigned queue)
{
	struct virtio_blk *blk = blk_of(virtio);
	struct request *request;

	block_begin(blk->block);
	if (blk->kept_count && !atomic_load(&blk->resizing))
		blk_serve_kept(blk);
	while ((request = blk->free) && !atomic_load(&blk->resizing) && virtio_next(virtio, queue, &request->chain)) {
		blk->free = request->next;
		blk_serve(blk, request, queue);
	}
	block_commit(blk->block);
}

static void blk_quiesce(struct virtio *virtio)
{
	struct virtio_blk *blk = blk_of(virtio);

	blk->quiescing = true;
	loop_timer_cancel(worker_loop(virtio->worker), &blk->retry);
	blk_keep_waiting(blk);
	blk_settle(blk);
}

static uint64_t blk_features(const struct virtio *virtio)
{
	const struct virtio_blk *blk = (const struct virtio_blk *)virtio;
	uint64_t writable = block_read_only(blk->block) ? F_RO : F_DISCARD | F_WRITE_ZEROES;

	return F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_CONFIG_WCE | writable |
	       (virtio->queue_count > 1 ? F_MQ : 0);
}

/* Only the cache mode may be written; the rest is put right. */
static void fill_config(struct virtio_blk *blk, bool writeback)
{
	uint32_t optimal = block_optimal(blk->block);
	const struct blk_config config = {
		.capacity = le64_put(atomic_load(&blk->size) / BLOCK_SECTOR),
		.seg_max = le32_put(SEGMENTS_MAX),
		.block_size = le32_put(BLOCK_SECTOR),
		.physical_block_exponent = optimal >= 4096 ? 3 : 0,
		.min_io_size = le16_put(optimal >= 4096 ? 8 : 1),
		.optimal_io_size = le32_put(optimal / BLOCK_SECTOR),
		.writeback = writeback,
		.queues = le16_put((uint16_t)blk->virtio.queue_count),
		.discard_sectors_max = le32_put(RANGE_SECTORS),
		.discard_ranges_max = le32_put(RANGES_MAX),
		.discard_alignment = le32_put(optimal / BLOCK_SECTOR),
		.zero_sectors_max = le32_put(RANGE_SECTORS),
		.zero_ranges_max = le32_put(RANGES_MAX),
		.zero_may_unmap = 1,
	};

	memcpy(blk->virtio.config, &config, sizeof config);
	atomic_store(&blk->writeback, writeback);
}

static void blk_config_written(struct virtio *virtio, uint32_t offset, uint32_t size)
{
	struct blk_config *config = (void *)virtio->config;

	(void)offset;
	(void)size;
	fill_config(blk_of(virtio), config->writeback != 0);
}

/* The cache mode is as after power-on again, and the driver has taken its buffers back. */
static void blk_reset(struct virtio *virtio)
{
	struct virtio_blk *blk = blk_of(virtio);

	blk->kept_count = blk->kept_entries = 0;
	pthread_mutex_lock(&virtio->device.lock);
	fill_config(blk, true);
	pthread_mutex_unlock(&virtio->device.lock);
}

static const struct virtio_kind blk_kind = {
	.id = DEVICE_ID,
	.features = blk_features,
	.config_written = blk_config_written,
	.kicked = blk_kicked,
	.quiesce = blk_quiesce,
	.reset = blk_reset,
	.kept = blk_kept,
};

static void resize_drained(void *arg)
{
	struct virtio_blk *blk = arg;
	struct error e = {.kind = ERROR_NONE};
	int r = block_resize(blk->block, blk->resize_to, blk->resize_shrink, &e);
	const le64_t capacity = le64_put(block_size(blk->block) / BLOCK_SECTOR);

	atomic_store(&blk->size, block_size(blk->block));
	if (r == 0)
		virtio_config_change(&blk->virtio, offsetof(struct blk_config, capacity), &capacity, sizeof capacity);
	blk->resize_done(blk->resize_opaque, r, &e);
	atomic_store(&blk->resizing, false);
	blk_look_at_all(blk);
}

static void begin_resize(void *arg)
{
	struct virtio_blk *blk = arg;

	block_drain(blk->block, resize_drained, blk);
}

int virtio_blk_resize(struct virtio *virtio, uint64_t size, bool shrink,
		      void (*done)(void *opaque, int result, const struct error *e), void *opaque)
{
	struct virtio_blk *blk = blk_of(virtio);

	if (atomic_exchange(&blk->resizing, true))
		return -EBUSY;
	blk->resize_to = size;
	blk->resize_shrink = shrink;
	blk->resize_done = done;
	blk->resize_opaque = opaque;
	bell_ring(&blk->resize_bell);
	return 0;
}

struct block *virtio_blk_block(struct virtio *virtio)
{
	return blk_of(virtio)->block;
}

static void close_block(void *arg)
{
	struct virtio_blk *blk = arg;
	struct error e;

	loop_timer_cancel(worker_loop(blk->virtio.worker), &blk->retry);
	if (block_close(blk->block, &e) < 0)
		log_line(LOG_ERROR, "blk", "%s: %s", blk->virtio.device.name, e.message);
}

static void blk_destroy(struct device *device)
{
	struct virtio_blk *blk = (struct virtio_blk *)device;
	struct worker *worker = blk->virtio.worker;

	/* The other way round the block could still be in use. Its last writes need the loop. */
	virtio_device_pause(device);
	worker_call(worker, close_block, blk);
	virtio_finish(&blk->virtio);
	free(blk->requests);
	free(blk);
}

static const struct state_field blk_fields[] = {
	VIRTIO_STATE_FIELDS,
	STATE_FIELD(struct virtio_blk, kept_count, STATE_U32),
	STATE_FIELD(struct virtio_blk, kept_entries, STATE_U32),
	STATE_FIELD_EACH(struct virtio_blk, kept, head, STATE_U16),
	STATE_FIELD_EACH(struct virtio_blk, kept, descriptors, STATE_U16),
	STATE_FIELD_EACH(struct virtio_blk, kept, entries, STATE_U16),
	STATE_FIELD_EACH(struct virtio_blk, kept, queue, STATE_U8),
	STATE_FIELD_EACH(struct virtio_blk, entries, address, STATE_U64),
	STATE_FIELD_EACH(struct virtio_blk, entries, length, STATE_U32),
	STATE_FIELD_EACH(struct virtio_blk, entries, flags, STATE_U16),
	STATE_FIELD_EACH(struct virtio_blk, entries, link, STATE_U16),
};

static int blk_validate(const void *shadow, struct error *e)
{
	int r = blk_check_kept(shadow, e);

	return r < 0 ? r : virtio_validate(shadow, e);
}

static const struct state_descriptor blk_state = {
	.kind = "virtio-blk",
	.version = 2,
	.oldest = 2,
	.object_size = sizeof(struct virtio_blk),
	.fields = blk_fields,
	.field_count = ARRAY_SIZE(blk_fields),
	.validate = blk_validate,
};

static void blk_loaded(struct device *device)
{
	struct virtio_blk *blk = (struct virtio_blk *)device;
	const struct blk_config *config = (const void *)blk->virtio.config;

	/* All but the cache mode is this disk's own, whatever was saved. */
	fill_config(blk, config->writeback != 0);
	virtio_device_loaded(device);
}

const struct device_type virtio_blk_type = {
	.name = "virtio-blk",
	.help = "a disk",
	.state = &blk_state,
	.is_virtio = true,
	.reset = virtio_device_reset,
	.pause = virtio_device_pause,
	.resume = virtio_device_resume,
	.loaded = blk_loaded,
	.describe = virtio_device_describe,
	.destroy = blk_destroy,
};

static void make_requests(struct virtio_blk *blk)
{
	for (unsigned i = 0; i < QUEUE_SIZE; i++) {
		struct request *request = &blk->requests[i];

		request->blk = blk;
		request->next = blk->free;
		blk->free = request;
	}
}

/* The block's I/O belongs to the worker's loop, which runs already, with other devices on it. */
struct attachment {
	struct block *block;
	struct loop *loop;
};

static int attach_block(void *arg, struct error *e)
{
	const struct attachment *attachment = arg;

	return block_attach(attachment->block, attachment->loop, e);
}

static int set_up(struct virtio_blk *blk, const char *name, struct worker *worker,
		  const struct virtio_blk_options *options, struct error *e)
{
	static const uint16_t sizes[VIRTIO_BLK_QUEUES_MAX] = {[0 ... VIRTIO_BLK_QUEUES_MAX - 1] = QUEUE_SIZE};
	const char *serial = options->serial ? options->serial : name;
	unsigned queues = options->queues < 1 ? 1 : options->queues;
	struct attachment attachment = {blk->block, worker_loop(worker)};
	int r;

	if (strlen(serial) > sizeof blk->serial)
		return error_set(e, ERROR_USAGE, -EINVAL, "\"%.60s\" is too long for a disk's serial number; %d bytes fit",
				 serial, VIRTIO_BLK_SERIAL_MAX);
	memcpy(blk->serial, serial, strlen(serial));
	/* Large, but only touched as far as it is used. */
	blk->requests = calloc(QUEUE_SIZE, sizeof *blk->requests);
	if (!blk->requests)
		return error_errno(e, -ENOMEM, "device %s", name);
	make_requests(blk);
	r = worker_try(worker, attach_block, &attachment, e);
	if (r == 0)
		r = virtio_init(&blk->virtio, &virtio_blk_type, &blk_kind, name, worker, sizes,
				queues < VIRTIO_BLK_QUEUES_MAX ? queues : VIRTIO_BLK_QUEUES_MAX,
				sizeof(struct blk_config), e);
	return r;
}

static void drop_block(void *block)
{
	(void)block_close(block, NULL);
}

int virtio_blk_new(struct virtio **out, const char *name, struct worker *worker, struct block *block,
		   const struct virtio_blk_options *options, struct error *e)
{
	struct virtio_blk *blk = calloc(1, sizeof *blk);
	int r = blk ? 0 : error_errno(e, -ENOMEM, "device %s", name);

	if (r == 0) {
		blk->block = block;
		blk->hooks = options->hooks;
		blk->retry = (struct loop_timer){.fn = blk_retry, .arg = blk};
		blk->resize_bell = (struct bell){.loop = worker_loop(worker), .fn = begin_resize, .arg = blk};
		r = set_up(blk, name, worker, options, e);
	}
	if (r < 0) {
		worker_call(worker, drop_block, block);
		free(blk ? blk->requests : NULL);
		free(blk);
		return r;
	}
	atomic_init(&blk->size, block_size(block));
	fill_config(blk, true);
	*out = &blk->virtio;
	return 0;
}
