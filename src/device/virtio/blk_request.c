/* The disk's requests (Virtio 1.2, 5.2.6): from the guest's buffer to the block stack and back. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "device/virtio/blk_private.h"

#define RETRY_NS       (UINT64_C(1000) * 1000 * 1000)

enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4, TYPE_GET_ID = 8, TYPE_DISCARD = 11, TYPE_WRITE_ZEROES = 13 };
enum { STATUS_OK = 0, STATUS_IO_ERROR = 1, STATUS_UNSUPPORTED = 2 };
struct header {
	le32_t type, reserved;
	le64_t sector;
};

void blk_release(struct request *request)
{
	struct virtio_blk *blk = request->blk;

	request->next = blk->free;
	blk->free = request;
	blk->in_flight--;
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
	blk_release(request);
}

void blk_refuse(struct request *request)
{
	finish(request, STATUS_IO_ERROR);
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

void blk_retry(void *arg)
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

void blk_settle(struct virtio_blk *blk)
{
	if (!blk->quiescing || blk->in_flight)
		return;
	blk->quiescing = false;
	virtio_quiet(&blk->virtio);
}

void blk_look_at_all(struct virtio_blk *blk)
{
	for (unsigned i = 0; i < blk->virtio.queue_count; i++)
		virtio_look_again(&blk->virtio, i);
}

/* A disk that fails every request is told of once. */
static void tell_failure(struct virtio_blk *blk, int code)
{
	if (code == blk->failure)
		return;
	blk->failure = code;
	log_line(LOG_WARNING, "blk", "%s: the host failed a request: %s", blk->virtio.device.name, strerrordesc_np(-code));
	if (blk->hooks.failed)
		blk->hooks.failed(blk->hooks.opaque, blk->virtio.device.name, code);
}

static bool is_full(int result)
{
	return result == -ENOSPC || result == -EDQUOT;
}

static void completed(struct block_request *block, int result)
{
	struct request *request = block->owner;
	struct virtio_blk *blk = request->blk;

	if (is_full(result)) {
		wait_for_room(request);
		if (blk->quiescing)
			blk_keep_waiting(blk);
		blk_settle(blk);
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
	if (result < 0)
		tell_failure(blk, result);
	finish(request, result == 0 ? STATUS_OK : STATUS_IO_ERROR);
	blk_settle(blk);
	/* There is a free request again, for a queue that was left for want of one. */
	if (blk->free && !blk->free->next)
		blk_look_at_all(blk);
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
	virtio_count(write ? &request->blk->virtio.statistics.bytes_out : &request->blk->virtio.statistics.bytes_in,
		     length);
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

void blk_serve(struct virtio_blk *blk, struct request *request, unsigned queue)
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
