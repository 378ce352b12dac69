#include "block/block.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/counter.h"
#include "block/freeze.h"
#include "block/image.h"
#include "block/io.h"
#include "block/lock.h"
#include "block/moving.h"
#include "block/open.h"
#include "block/throttle.h"
#include "block/track.h"

#define TASK_EXTENTS 8  /* a request in more pieces than these is done by a thread */
#define TASKS_KEPT   64 /* for the next requests */

/* A request on its way. */
struct task {
	struct throttled throttled;
	struct block *block;
	struct block_request *request;
	struct pool_job job;
	unsigned ticket; /* of the image */
	unsigned pending;
	int result;
	struct io_op ops[TASK_EXTENTS];
	struct task *next; /* while kept */
};

struct block {
	struct image *image;
	bool foreign; /* a writable disk that is another process's */
	enum block_engine engine;
	struct loop *loop;
	struct io *io;
	struct throttle throttle;
	struct block_statistics statistics;
	struct track track;
	struct task *kept;
	unsigned kept_count;
	struct bell idle; /* for who waits in block_drain */
	loop_fn *drained;
	void *drained_arg;
};

static struct task *task_new(struct block *block, struct block_request *request)
{
	struct task *task = block->kept;

	if (task) {
		block->kept = task->next;
		block->kept_count--;
	} else {
		task = malloc(sizeof *task);
	}
	if (!task)
		return NULL;
	task->block = block;
	task->request = request;
	task->pending = 0;
	task->result = 0;
	return task;
}

static void task_free(struct task *task)
{
	struct block *block = task->block;

	if (block->kept_count == TASKS_KEPT) {
		free(task);
		return;
	}
	task->next = block->kept;
	block->kept = task;
	block->kept_count++;
}

static void count_done(struct block *block, const struct block_request *request, int result)
{
	struct block_statistics *statistics = &block->statistics;

	counter_add(&statistics->operations[request->operation], 1);
	if (result < 0)
		counter_add(&statistics->errors, 1);
	else if (request->operation == BLOCK_READ)
		counter_add(&statistics->bytes_read, request->length);
	else if (request->operation == BLOCK_WRITE)
		counter_add(&statistics->bytes_written, request->length);
}

static void task_done(struct task *task)
{
	struct block *block = task->block;
	struct block_request *request = task->request;
	int result = task->result;

	block->image->ops->leave(block->image, task->ticket);
	if (request->operation != BLOCK_READ && request->operation != BLOCK_FLUSH)
		track_mark(&block->track, request->offset, request->length);
	count_done(block, request, result);
	task_free(task);
	counter_add(&block->statistics.in_flight, UINT64_MAX);
	request->private = NULL;
	request->done(request, result);
	if (block->statistics.in_flight == 0 && block->drained)
		bell_ring(&block->idle);
}

static void part_done(struct task *task, int result)
{
	if (result < 0 && task->result == 0)
		task->result = result;
	if (--task->pending == 0)
		task_done(task);
}

static void op_done(struct io_op *op, int result)
{
	part_done((struct task *)((char *)(op - op->index) - offsetof(struct task, ops)), result);
}

static struct spans request_spans(const struct block_request *request)
{
	return (struct spans){request->spans, request->span_count, 0};
}

/* On a thread of the pool. */
static int run_blocking(void *arg)
{
	struct task *task = arg;
	const struct block_request *request = task->request;
	struct image *image = task->block->image;

	switch (request->operation) {
	case BLOCK_READ:
		return image->ops->read(image, request->offset, request_spans(request), request->length);
	case BLOCK_WRITE:
		return image->ops->write(image, request->offset, request_spans(request), request->length);
	case BLOCK_FLUSH:
		return image->ops->flush(image);
	case BLOCK_DISCARD:
		return image->ops->discard(image, request->offset, request->length);
	case BLOCK_ZERO:
		return image->ops->zero(image, request->offset, request->length, request->unmap);
	case BLOCK_OPERATIONS:
		break;
	}
	return -EINVAL;
}

static void blocking_done(void *arg, int result)
{
	struct task *task = arg;

	task->result = result;
	task_done(task);
}

static void start_blocking(struct task *task)
{
	task->job = (struct pool_job){.run = run_blocking, .done = blocking_done, .arg = task};
	io_job(task->block->io, &task->job);
}

/* Where the request's bytes are, as operations on stores; zeroes are filled in. False: not to be told here. */
static bool plan(struct task *task)
{
	const struct block_request *request = task->request;
	struct spans spans = request_spans(request);
	bool write = request->operation == BLOCK_WRITE;
	uint64_t done = 0;

	while (done < request->length) {
		struct extent extent;

		if (task->pending == TASK_EXTENTS)
			return false;
		image_lookup(task->block->image, request->offset + done, request->length - done, write, &extent);
		if (extent.kind == EXTENT_ZERO && !write)
			spans_fill(spans, 0, extent.length);
		else if (extent.kind == EXTENT_DATA)
			task->ops[task->pending++] = (struct io_op){.kind = write ? IO_WRITE : IO_READ,
								    .store = extent.store,
								    .offset = extent.offset,
								    .length = extent.length,
								    .spans = spans,
								    .done = op_done};
		else
			return false;
		done += extent.length;
		spans = spans_after(spans, extent.length);
	}
	return true;
}

static void start_planned(struct task *task)
{
	struct io *io = task->block->io;
	unsigned count = task->pending;

	/* One more, so that the task outlives this function. */
	task->pending++;
	if (count > 1)
		io_begin(io);
	for (unsigned i = 0; i < count; i++) {
		task->ops[i].index = i;
		io_submit(io, &task->ops[i]);
	}
	if (count > 1)
		io_commit(io);
	part_done(task, 0);
}

static void start_flush(struct task *task)
{
	struct image *image = task->block->image;

	if (image->ops->needs_flush(image)) {
		start_blocking(task);
		return;
	}
	task->ops[0] = (struct io_op){.kind = IO_SYNC, .store = image->store, .done = op_done};
	task->pending = 1;
	start_planned(task);
}

static void start(void *owner, struct throttled *throttled, uint64_t waited_ns)
{
	struct block *block = owner;
	struct task *task = (struct task *)((char *)throttled - offsetof(struct task, throttled));
	enum block_operation operation = task->request->operation;

	counter_add(&block->statistics.throttled_ns, waited_ns);
	task->ticket = block->image->ops->enter(block->image);
	if (operation == BLOCK_FLUSH) {
		start_flush(task);
	} else if ((operation == BLOCK_READ || operation == BLOCK_WRITE) && plan(task)) {
		start_planned(task);
	} else {
		task->pending = 0;
		start_blocking(task);
	}
}

static int check(const struct block *block, const struct block_request *request)
{
	if (request->operation >= BLOCK_OPERATIONS)
		return -EINVAL;
	if (request->operation == BLOCK_FLUSH)
		return 0;
	if ((request->offset | request->length) % BLOCK_SECTOR ||
	    !checked_span(request->offset, request->length, block->image->size))
		return -EINVAL;
	if (request->operation != BLOCK_READ && block->image->read_only)
		return -EROFS;
	if (request->operation > BLOCK_WRITE)
		return 0;
	return spans_length(request->spans, request->span_count) == request->length ? 0 : -EINVAL;
}

static void refuse(struct block *block, struct block_request *request, int result)
{
	counter_add(&block->statistics.errors, 1);
	request->done(request, result);
}

void block_submit(struct block *block, struct block_request *request)
{
	struct block_statistics *statistics = &block->statistics;
	bool moves = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;
	int r = check(block, request);
	struct task *task;

	assert(block->io);
	if (r < 0) {
		refuse(block, request, r);
		return;
	}
	task = task_new(block, request);
	if (!task) {
		refuse(block, request, -ENOMEM);
		return;
	}
	request->private = task;
	counter_add(&statistics->in_flight, 1);
	if (statistics->in_flight > statistics->in_flight_max)
		counter_add(&statistics->in_flight_max, 1);
	throttle_submit(&block->throttle, &task->throttled, moves ? request->length : 0);
}

void block_begin(struct block *block)
{
	io_begin(block->io);
}

void block_commit(struct block *block)
{
	io_commit(block->io);
}

static void tell_drained(void *arg)
{
	struct block *block = arg;
	loop_fn *fn = block->drained;

	if (!fn || block->statistics.in_flight)
		return;
	block->drained = NULL;
	fn(block->drained_arg);
}

void block_drain(struct block *block, loop_fn *fn, void *arg)
{
	assert(!block->drained);
	if (block->statistics.in_flight == 0) {
		fn(arg);
		return;
	}
	block->drained = fn;
	block->drained_arg = arg;
}

int block_look(const struct block_options *options, struct error *e)
{
	return store_look(options->path, e);
}

int block_open(struct block **out, const struct block_options *options, struct error *e)
{
	struct block *block = calloc(1, sizeof *block);
	int r;

	if (!block)
		return error_errno(e, -ENOMEM, "cannot open '%s'", options->path);
	r = open_stack(&block->image, options, e);
	if (r < 0) {
		free(block);
		return r;
	}
	/* A temporary overlay is nobody else's. */
	block->foreign = options->incoming && !options->read_only && block->image->read_only;
	block->engine = options->engine;
	throttle_init(&block->throttle, &options->limits, start, block);
	*out = block;
	return 0;
}

int block_attach(struct block *block, struct loop *loop, struct error *e)
{
	int r;

	assert(!block->io);
	r = io_new(&block->io, block->engine, loop, e);
	if (r < 0)
		return r;
	block->loop = loop;
	block->idle = (struct bell){.loop = loop, .fn = tell_drained, .arg = block};
	throttle_attach(&block->throttle, loop);
	return 0;
}

int block_close(struct block *block, struct error *e)
{
	int r;

	if (!block)
		return 0;
	assert(block->statistics.in_flight == 0);
	throttle_finish(&block->throttle);
	io_free(block->io);
	r = image_close(block->image, e);
	track_finish(&block->track);
	while (block->kept) {
		struct task *next = block->kept->next;

		free(block->kept);
		block->kept = next;
	}
	free(block);
	return r;
}

uint64_t block_size(const struct block *block)
{
	return block->image->size;
}

bool block_read_only(const struct block *block)
{
	return block->image->read_only && !block->foreign;
}

const char *block_format_name(const struct block *block)
{
	return block->image->ops->name;
}

const char *block_path(const struct block *block)
{
	return block->image->store->path;
}

uint32_t block_optimal(const struct block *block)
{
	return block->image->optimal;
}

int block_resize(struct block *block, uint64_t size, bool shrink, struct error *e)
{
	struct image *image = block->image;

	if (image->read_only)
		return error_set(e, ERROR_STATE, -EROFS, "'%s' is read-only", image->store->path);
	if (size == 0 || size % BLOCK_SECTOR || size > INT64_MAX)
		return error_set(e, ERROR_USAGE, -EINVAL, "a disk's size is a multiple of %d bytes", BLOCK_SECTOR);
	if (size < image->size && !shrink)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "'%s' would lose its end; that must be asked for (--shrink)", image->store->path);
	return image->ops->resize(image, size, shrink, e);
}

int block_freeze(struct block *block, int fd, const char *path, struct error *e)
{
	assert(block->statistics.in_flight == 0);
	return freeze_under(&block->image, fd, path, e);
}

int block_track_begin(struct block *block, struct error *e)
{
	int r = track_begin(&block->track, block->image->size);

	return r < 0 ? error_errno(e, r, "changes of '%s' can not be counted", block->image->store->path) : 0;
}

void block_track_end(struct block *block)
{
	track_end(&block->track);
}

void block_track_collect(struct block *block, uint64_t *bitmap)
{
	track_collect(&block->track, bitmap);
}

uint64_t block_track_words(const struct block *block)
{
	return track_words(block->image->size);
}

int block_mark(struct block *block, uint64_t place, bool on)
{
	return lock_mark(block->image->store, place, on);
}

int block_marked(const struct block *block, uint64_t place)
{
	return lock_marked(block->image->store, place);
}

int block_settle(struct block *block, struct error *e)
{
	int r = block->image->read_only ? 0 : block->image->ops->settle(block->image);

	return r < 0 ? error_errno(e, r, "writing back '%s' failed", block->image->store->path) : 0;
}

int block_refresh(struct block *block, bool alone, struct error *e)
{
	return block->foreign ? moving_refresh(&block->image, alone, e) : 0;
}

void block_own(struct block *block, bool own)
{
	if (own != block->foreign || block_read_only(block))
		return;
	block->image->read_only = !own;
	block->foreign = !own;
}

int block_peek(struct block *block, uint64_t offset, void *bytes, size_t length)
{
	const struct iovec part = {bytes, length};
	unsigned ticket = block->image->ops->enter(block->image);
	struct extent extent;
	int r = image_map(block->image, offset, length, &extent);

	if (r == 0)
		r = extent.kind == EXTENT_ZERO && extent.length == length
			    ? 1
			    : block->image->ops->read(block->image, offset, (struct spans){&part, 1, 0}, length);
	block->image->ops->leave(block->image, ticket);
	return r;
}

int block_poke(struct block *block, uint64_t offset, const void *bytes, size_t length)
{
	const struct iovec part = {(void *)bytes, length};
	unsigned ticket = block->image->ops->enter(block->image);
	int r = bytes ? block->image->ops->write(block->image, offset, (struct spans){&part, 1, 0}, length)
		      : block->image->ops->zero(block->image, offset, length, true);

	block->image->ops->leave(block->image, ticket);
	return r;
}

int block_sync(struct block *block)
{
	unsigned ticket = block->image->ops->enter(block->image);
	int r = block->image->ops->flush(block->image);

	block->image->ops->leave(block->image, ticket);
	return r;
}

void block_set_limits(struct block *block, const struct block_limits *limits)
{
	throttle_set(&block->throttle, limits);
}

void block_get_statistics(const struct block *block, struct block_statistics *out)
{
	counters_read(out, &block->statistics, sizeof *out);
}
