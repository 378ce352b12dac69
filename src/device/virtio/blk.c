#include "device/virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define DEVICE_ID      2
#define QUEUE_SIZE     256
#define SEGMENTS_MAX   (QUEUE_SIZE - 2)
#define RANGES_MAX     64 /* of one discard or write-zeroes request */
#define RANGE_SECTORS  (UINT32_C(1) << 22) /* 2 GiB */
#define RETRY_NS       (UINT64_C(1000) * 1000 * 1000)
#define F_SEG_MAX      (UINT64_C(1) << 2)
#define F_RO           (UINT64_C(1) << 5)
#define F_BLK_SIZE     (UINT64_C(1) << 6)
#define F_FLUSH        (UINT64_C(1) << 9)
#define F_TOPOLOGY     (UINT64_C(1) << 10)
#define F_CONFIG_WCE   (UINT64_C(1) << 11)
#define F_MQ           (UINT64_C(1) << 12)
#define F_DISCARD      (UINT64_C(1) << 13)
#define F_WRITE_ZEROES (UINT64_C(1) << 14)

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

/* A request (5.2.6). */
enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4, TYPE_GET_ID = 8, TYPE_DISCARD = 11, TYPE_WRITE_ZEROES = 13 };
enum { STATUS_OK = 0, STATUS_IO_ERROR = 1, STATUS_UNSUPPORTED = 2 };
struct header {
	le32_t type, reserved;
	le64_t sector;
};
struct range {
	le64_t sector;
	le32_t sectors, flags; /* 1: may be unmapped */
};

struct virtio_blk;

struct request {
	struct virtio_blk *blk;
	struct request *next; /* among the free, or those that wait for room */
	unsigned queue;
	struct virtqueue_chain chain;
	struct iovec spans[VIRTQUEUE_SIZE_MAX];
	struct block_request block;
	struct range ranges[RANGES_MAX]; /* of a discard or write-zeroes; from `range` on they are still to do */
	unsigned range, range_count;
	uint32_t type;
	uint32_t written; /* bytes of the guest's, without the status */
	bool flush_after;
	bool starved; /* it waits, or waited, for room */
};

struct virtio_blk {
	struct virtio virtio;
	struct block *block;
	struct virtio_blk_hooks hooks;
	char serial[VIRTIO_BLK_SERIAL_MAX];
	struct request *requests, *free;
	unsigned in_flight; /* popped and not pushed, those that wait for room included */
	struct request *waiting; /* for room on the host's disk */
	struct loop_timer retry;
	unsigned starved; /* requests that are */
	bool quiescing;
	_Atomic uint64_t size; /* of the block, which changes on the worker while vCPUs write to the configuration */
	atomic_bool writeback; /* as the driver configured it */

	/* One resize at a time; who has set `resizing` owns the rest until it is done. */
	atomic_bool resizing;
	struct bell resize_bell;
	uint64_t resize_to;
	bool resize_shrink;
	void (*resize_done)(void *opaque, int result, const struct error *e);
	void *resize_opaque;
};

static struct virtio_blk *blk_of(struct virtio *virtio)
{
	return (struct virtio_blk *)virtio;
}

/* The status is the last writable byte. */
static void finish(struct request *request, uint8_t status)
{
	struct virtio_blk *blk = request->blk;
	struct virtqueue_chain *chain = &request->chain;
	uint32_t written = status == STATUS_OK ? request->written : 0;

	if (status == STATUS_IO_ERROR)
		blk->virtio.statistics.errors++;
	if (chain->writable_bytes) {
		(void)virtqueue_write(chain, chain->writable_bytes - 1, &status, 1);
		/* `written` counts from the start, so bytes between the data and the status count, too. */
		written = chain->writable_bytes - 1 == written ? written + 1 : (uint32_t)chain->writable_bytes;
	}
	virtqueue_push(&blk->virtio.queues[request->queue], chain, written);
	virtio_notify(&blk->virtio, request->queue);
	request->next = blk->free;
	blk->free = request;
	blk->in_flight--;
}

static void submit(struct request *request)
{
	block_submit(request->blk->block, &request->block);
}

/* The next range of a discard or write-zeroes; false when all are done. */
static bool next_range(struct request *request)
{
	const struct range *range = &request->ranges[request->range];

	if (request->range == request->range_count)
		return false;
	request->range++;
	request->block.offset = le64_get(range->sector) * BLOCK_SECTOR;
	request->block.length = (uint64_t)le32_get(range->sectors) * BLOCK_SECTOR;
	request->block.unmap = le32_get(range->flags) & 1;
	return true;
}

static void retry_waiting(void *arg)
{
	struct virtio_blk *blk = arg;
	struct request *request = blk->waiting;

	blk->waiting = NULL;
	while (request) {
		struct request *next = request->next;

		submit(request);
		request = next;
	}
}

/* The host's disk is full: the request is tried again later. */
static void wait_for_room(struct request *request)
{
	struct virtio_blk *blk = request->blk;

	blk->starved += !request->starved;
	if (!request->starved && blk->starved == 1) {
		log_line(LOG_WARNING, "blk", "%s: the host has no room for what the guest writes; it waits for some",
			 blk->virtio.device.name);
		if (blk->hooks.full)
			blk->hooks.full(blk->hooks.opaque, blk->virtio.device.name);
	}
	request->starved = true;
	request->next = blk->waiting;
	blk->waiting = request;
	loop_timer_set(worker_loop(blk->virtio.worker), &blk->retry, clock_host_ns() + RETRY_NS);
}

static void no_longer_starved(struct request *request)
{
	struct virtio_blk *blk = request->blk;

	if (!request->starved || --blk->starved > 0)
		return;
	log_line(LOG_WARNING, "blk", "%s: there is room again", blk->virtio.device.name);
	if (blk->hooks.room)
		blk->hooks.room(blk->hooks.opaque, blk->virtio.device.name);
}

static void settle(struct virtio_blk *blk)
{
	if (!blk->quiescing || blk->in_flight)
		return;
	blk->quiescing = false;
	virtio_quiet(&blk->virtio);
}

static void look_at_all(struct virtio_blk *blk)
{
	for (unsigned i = 0; i < blk->virtio.queue_count; i++)
		virtio_look_again(&blk->virtio, i);
}

static void completed(struct block_request *block, int result)
{
	struct request *request = block->owner;
	struct virtio_blk *blk = request->blk;

	if (result == -ENOSPC && !blk->quiescing) {
		wait_for_room(request);
		return;
	}
	if (result == 0 && next_range(request)) {
		submit(request);
		return;
	}
	if (result == 0 && request->flush_after) {
		request->flush_after = false;
		block->operation = BLOCK_FLUSH;
		submit(request);
		return;
	}
	no_longer_starved(request);
	finish(request, result == 0 ? STATUS_OK : STATUS_IO_ERROR);
	settle(blk);
	/* There is a free request again, for a queue that was left for want of one. */
	if (blk->free && !blk->free->next)
		look_at_all(blk);
}

/* Whether a write must be on stable storage before it is answered (5.2.6.2). */
static bool is_write_through(const struct virtio_blk *blk)
{
	if (virtio_has(&blk->virtio, F_CONFIG_WCE))
		return !atomic_load(&blk->writeback);
	return !virtio_has(&blk->virtio, F_FLUSH);
}

/* Each of these begins a request and returns a status, or a negative number when it is under way. */
#define UNDER_WAY (-1)

static int begin_transfer(struct request *request, const struct header *header, bool write)
{
	struct virtqueue_chain *chain = &request->chain;
	uint64_t length = write ? chain->readable_bytes - sizeof *header : chain->writable_bytes - 1;
	uint64_t sectors = block_size(request->blk->block) / BLOCK_SECTOR, sector = le64_get(header->sector);
	int count = virtqueue_slice(chain, !write, write ? sizeof *header : 0, length, request->spans,
				    ARRAY_SIZE(request->spans));

	if (write && block_read_only(request->blk->block))
		return STATUS_IO_ERROR;
	if (count < 0 || length == 0 || length % BLOCK_SECTOR || sector > sectors ||
	    length / BLOCK_SECTOR > sectors - sector)
		return STATUS_IO_ERROR;
	request->block.operation = write ? BLOCK_WRITE : BLOCK_READ;
	request->block.offset = sector * BLOCK_SECTOR;
	request->block.length = length;
	request->block.spans = request->spans;
	request->block.span_count = (unsigned)count;
	request->written = write ? 0 : (uint32_t)length;
	request->flush_after = write && is_write_through(request->blk);
	atomic_fetch_add_explicit(write ? &request->blk->virtio.statistics.bytes_out :
					  &request->blk->virtio.statistics.bytes_in,
				  length, memory_order_relaxed);
	return UNDER_WAY;
}

static int begin_in(struct request *request, const struct header *header)
{
	return begin_transfer(request, header, false);
}

static int begin_out(struct request *request, const struct header *header)
{
	return begin_transfer(request, header, true);
}

static int begin_flush(struct request *request, const struct header *header)
{
	(void)header;
	request->block.operation = BLOCK_FLUSH;
	return UNDER_WAY;
}

static int begin_get_id(struct request *request, const struct header *header)
{
	(void)header;
	request->written = (uint32_t)virtqueue_write(&request->chain, 0, request->blk->serial,
						     sizeof request->blk->serial);
	return STATUS_OK;
}

static bool range_fits(const struct virtio_blk *blk, const struct range *range)
{
	uint64_t sectors = block_size(blk->block) / BLOCK_SECTOR, sector = le64_get(range->sector);
	uint32_t count = le32_get(range->sectors);

	return count > 0 && count <= RANGE_SECTORS && sector <= sectors && count <= sectors - sector;
}

static int begin_ranges(struct request *request, bool zero)
{
	struct virtqueue_chain *chain = &request->chain;
	uint64_t bytes = chain->readable_bytes - sizeof(struct header);

	if (block_read_only(request->blk->block) || bytes == 0 || bytes % sizeof(struct range) ||
	    bytes > sizeof request->ranges)
		return STATUS_IO_ERROR;
	request->range_count = (unsigned)(bytes / sizeof(struct range));
	(void)virtqueue_read(chain, sizeof(struct header), request->ranges, bytes);
	for (unsigned i = 0; i < request->range_count; i++)
		if (le32_get(request->ranges[i].flags) & ~(zero ? 1u : 0u))
			return STATUS_UNSUPPORTED;
	for (unsigned i = 0; i < request->range_count; i++)
		if (!range_fits(request->blk, &request->ranges[i]))
			return STATUS_IO_ERROR;
	request->block.operation = zero ? BLOCK_ZERO : BLOCK_DISCARD;
	request->flush_after = is_write_through(request->blk);
	(void)next_range(request);
	return UNDER_WAY;
}

static int begin_discard(struct request *request, const struct header *header)
{
	(void)header;
	return begin_ranges(request, false);
}

static int begin_zero(struct request *request, const struct header *header)
{
	(void)header;
	return begin_ranges(request, true);
}

static int begin(struct request *request)
{
	static const struct {
		uint32_t type;
		uint64_t feature;
		int (*begin)(struct request *request, const struct header *header);
	} types[] = {
		{TYPE_IN, 0, begin_in},
		{TYPE_OUT, 0, begin_out},
		{TYPE_FLUSH, 0, begin_flush},
		{TYPE_GET_ID, 0, begin_get_id},
		{TYPE_DISCARD, F_DISCARD, begin_discard},
		{TYPE_WRITE_ZEROES, F_WRITE_ZEROES, begin_zero},
	};
	struct header header;

	if (virtqueue_read(&request->chain, 0, &header, sizeof header) < sizeof header ||
	    request->chain.writable_bytes < 1)
		return STATUS_IO_ERROR;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (le32_get(header.type) == types[i].type &&
		    (!types[i].feature || virtio_has(&request->blk->virtio, types[i].feature)))
			return types[i].begin(request, &header);
	return STATUS_UNSUPPORTED;
}

/* Makes a request of what was popped into it. */
static void serve(struct virtio_blk *blk, struct request *request, unsigned queue)
{
	int status;

	blk->in_flight++;
	request->queue = queue;
	request->block = (struct block_request){.done = completed, .owner = request};
	request->range = request->range_count = 0;
	request->written = 0;
	request->flush_after = request->starved = false;
	status = begin(request);
	if (status == UNDER_WAY)
		submit(request);
	else
		finish(request, (uint8_t)status);
}

static void blk_kicked(struct virtio *virtio, unsigned queue)
{
	struct virtio_blk *blk = blk_of(virtio);
	struct request *request;

	block_begin(blk->block);
	while ((request = blk->free) && !atomic_load(&blk->resizing) && virtio_next(virtio, queue, &request->chain)) {
		blk->free = request->next;
		serve(blk, request, queue);
	}
	block_commit(blk->block);
}

static void blk_quiesce(struct virtio *virtio)
{
	struct virtio_blk *blk = blk_of(virtio);

	blk->quiescing = true;
	loop_timer_cancel(worker_loop(virtio->worker), &blk->retry);
	/* A last try; what still finds no room is answered with an error. */
	retry_waiting(blk);
	settle(blk);
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

/* The cache mode is as after power-on again. */
static void blk_reset(struct virtio *virtio)
{
	pthread_mutex_lock(&virtio->device.lock);
	fill_config(blk_of(virtio), true);
	pthread_mutex_unlock(&virtio->device.lock);
}

static const struct virtio_kind blk_kind = {
	.id = DEVICE_ID,
	.features = blk_features,
	.config_written = blk_config_written,
	.kicked = blk_kicked,
	.quiesce = blk_quiesce,
	.reset = blk_reset,
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
	look_at_all(blk);
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

static const struct state_field blk_fields[] = {VIRTIO_STATE_FIELDS};

static const struct state_descriptor blk_state = {
	.kind = "virtio-blk",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct virtio_blk),
	.fields = blk_fields,
	.field_count = ARRAY_SIZE(blk_fields),
	.validate = virtio_validate,
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
	.ops = &virtio_mmio_ops,
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
	struct worker *worker;
	int result;
	struct error *e;
};

static void attach_block(void *arg)
{
	struct attachment *attachment = arg;

	attachment->result = block_attach(attachment->block, worker_loop(attachment->worker), attachment->e);
}

static int set_up(struct virtio_blk *blk, const char *name, struct worker *worker,
		  const struct virtio_blk_options *options, struct error *e)
{
	static const uint16_t sizes[VIRTIO_BLK_QUEUES_MAX] = {[0 ... VIRTIO_BLK_QUEUES_MAX - 1] = QUEUE_SIZE};
	const char *serial = options->serial ? options->serial : name;
	unsigned queues = options->queues < 1 ? 1 : options->queues;
	struct attachment attachment = {.block = blk->block, .worker = worker, .e = e};
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
	worker_call(worker, attach_block, &attachment);
	r = attachment.result;
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
		blk->retry = (struct loop_timer){.fn = retry_waiting, .arg = blk};
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
