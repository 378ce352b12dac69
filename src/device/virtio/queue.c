/* What split and packed rings have in common; queue_split.c and queue_packed.c are the rest. */
#include "device/virtio/queue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "device/virtio/queue_layout.h"
#include "device/virtio/virtio.h"

static const struct virtqueue_layout *layout_for(uint64_t features)
{
	return features & VIRTIO_F_RING_PACKED ? &virtqueue_packed : &virtqueue_split;
}

int virtqueue_check(const struct virtqueue *queue, const struct memory *memory, uint64_t features, struct error *e)
{
	static const char *const names[] = {"descriptor", "driver", "device"};
	const struct virtqueue_layout *layout = layout_for(features);
	struct virtqueue_area areas[3];

	if (queue->size == 0 || queue->size > queue->size_max ||
	    (layout->power_of_two && (queue->size & (queue->size - 1))))
		return error_set(e, ERROR_USAGE, -EINVAL, "a ring of %u descriptors is not possible; %u at most",
				 queue->size, queue->size_max);
	layout->areas(queue, areas);
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		if (areas[i].address & (areas[i].alignment - 1))
			return error_set(e, ERROR_USAGE, -EINVAL, "the %s area at 0x%" PRIx64 " is misaligned",
					 names[i], areas[i].address);
		if (!memory_host(memory, gpa(areas[i].address), areas[i].bytes))
			return error_set(e, ERROR_USAGE, -EINVAL, "the %s area at 0x%" PRIx64 " is not in RAM",
					 names[i], areas[i].address);
	}
	return 0;
}

void virtqueue_loaded(struct virtqueue *queue, struct memory *memory, uint64_t features)
{
	struct virtqueue_area areas[3];

	queue->layout = layout_for(features);
	queue->memory = memory;
	queue->event_index = features & VIRTIO_F_EVENT_IDX;
	queue->in_order = features & VIRTIO_F_IN_ORDER;
	queue->indirect = features & VIRTIO_F_INDIRECT_DESC;
	queue->unsignalled = 0;
	queue->host_descriptors = queue->host_driver = queue->host_device = NULL;
	if (!queue->ready)
		return;
	queue->layout->areas(queue, areas);
	queue->host_descriptors = memory_host(memory, gpa(areas[0].address), areas[0].bytes);
	queue->host_driver = memory_host(memory, gpa(areas[1].address), areas[1].bytes);
	queue->host_device = memory_host(memory, gpa(areas[2].address), areas[2].bytes);
}

int virtqueue_start(struct virtqueue *queue, struct memory *memory, uint64_t features, struct error *e)
{
	int r = virtqueue_check(queue, memory, features, e);

	if (r < 0)
		return r;
	queue->ready = true;
	queue->broken = false;
	queue->signalled_valid = false;
	virtqueue_loaded(queue, memory, features);
	queue->layout->start(queue);
	return 0;
}

unsigned virtqueue_in_flight(const struct virtqueue *queue)
{
	return queue->ready ? queue->layout->in_flight(queue) : 0;
}

int virtqueue_check_saved(const struct virtqueue *queue, const struct memory *memory, uint64_t features,
			  unsigned in_flight, struct error *e)
{
	int r;

	if (!queue->ready && (queue->size > queue->size_max || in_flight))
		return error_set(e, ERROR_USAGE, -EINVAL, "a ring of %u descriptors, not in use, with %u of them taken",
				 queue->size, in_flight);
	if (!queue->ready)
		return 0;
	r = virtqueue_check(queue, memory, features, e);
	if (r == 0 && !layout_for(features)->possible(queue))
		r = error_set(e, ERROR_USAGE, -EINVAL, "the ring's positions %u and %u can not be",
			      queue->next_available, queue->next_used);
	if (r == 0 && layout_for(features)->in_flight(queue) != in_flight)
		r = error_set(e, ERROR_USAGE, -EINVAL, "%u descriptors between the ring's positions, and %u taken",
			      layout_for(features)->in_flight(queue), in_flight);
	return r;
}

void virtqueue_reset(struct virtqueue *queue)
{
	*queue = (struct virtqueue){.size_max = queue->size_max};
}

int virtqueue_break(struct virtqueue *queue, struct error *e, const char *format, ...)
{
	char why[160];
	va_list arguments;

	queue->broken = true;
	va_start(arguments, format);
	vsnprintf(why, sizeof why, format, arguments);
	va_end(arguments);
	return error_set(e, ERROR_FAILED, -EBADMSG, "%s", why);
}

int virtqueue_add(struct virtqueue *queue, struct virtqueue_chain *chain, const struct virtqueue_descriptor *d,
		  struct error *e)
{
	bool writable = d->flags & DESCRIPTOR_WRITE;
	struct iovec *span = &chain->spans[chain->readable + chain->writable];
	void *host;

	if (chain->writable && !writable)
		return virtqueue_break(queue, e, "a buffer to read comes after one to write");
	if (d->length == 0)
		return 0;
	if (chain->readable + chain->writable == VIRTQUEUE_SIZE_MAX)
		return virtqueue_break(queue, e, "a chain of more than %d buffers", VIRTQUEUE_SIZE_MAX);
	host = memory_host(queue->memory, gpa(d->address), d->length);
	if (!host)
		return virtqueue_break(queue, e, "a buffer of %" PRIu32 " bytes at 0x%" PRIx64 " is not in RAM",
				       d->length, d->address);
	*span = (struct iovec){.iov_base = host, .iov_len = d->length};
	if (writable) {
		chain->writable++;
		chain->writable_bytes += d->length;
	} else {
		chain->readable++;
		chain->readable_bytes += d->length;
	}
	return 0;
}

int virtqueue_open_table(struct virtqueue *queue, const struct virtqueue_descriptor *d, unsigned *count,
			 const uint8_t **table, struct error *e)
{
	if (!queue->indirect)
		return virtqueue_break(queue, e, "an indirect table, which was not negotiated");
	if (d->flags & DESCRIPTOR_NEXT)
		return virtqueue_break(queue, e, "an indirect table is not the end of its chain");
	if (d->length == 0 || d->length % DESCRIPTOR_SIZE || d->length / DESCRIPTOR_SIZE > VIRTQUEUE_SIZE_MAX)
		return virtqueue_break(queue, e, "an indirect table of %" PRIu32 " bytes", d->length);
	*table = memory_host(queue->memory, gpa(d->address), d->length);
	if (!*table)
		return virtqueue_break(queue, e, "an indirect table at 0x%" PRIx64 " is not in RAM", d->address);
	*count = d->length / DESCRIPTOR_SIZE;
	return 0;
}

void virtqueue_mark(struct virtqueue *queue, uint64_t address, uint64_t length)
{
	memory_mark_dirty(queue->memory, gpa(address), length);
}

static void empty(struct virtqueue_chain *chain)
{
	chain->readable = chain->writable = 0;
	chain->readable_bytes = chain->writable_bytes = 0;
}

static int add_any(struct virtqueue *queue, struct virtqueue_chain *chain, const struct virtqueue_descriptor *d,
		   struct error *e)
{
	return d->flags & DESCRIPTOR_INDIRECT ? queue->layout->add_table(queue, chain, d, e)
					      : virtqueue_add(queue, chain, d, e);
}

/* A chain has no more entries than the ring, so there is a place for each. */
int virtqueue_add_entry(struct virtqueue *queue, struct virtqueue_chain *chain, const struct virtqueue_descriptor *d,
			struct error *e)
{
	chain->entries[chain->entry_count++] = *d;
	return add_any(queue, chain, d, e);
}

int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain, struct error *e)
{
	if (queue->broken)
		return error_set(e, ERROR_FAILED, -EBADMSG, "the queue is broken");
	if (!queue->ready || !queue->layout->available(queue))
		return 0;
	empty(chain);
	chain->entry_count = 0;
	return queue->layout->pop(queue, chain, e);
}

int virtqueue_recall(struct virtqueue *queue, struct virtqueue_chain *chain, struct error *e)
{
	int r = 0;

	empty(chain);
	for (unsigned i = 0; r == 0 && i < chain->entry_count; i++)
		r = add_any(queue, chain, &chain->entries[i], e);
	return r;
}

void virtqueue_unpop(struct virtqueue *queue, const struct virtqueue_chain *chain)
{
	queue->layout->unpop(queue, chain);
}

/* The first `written` bytes of what the device may write. */
static void mark_written(struct virtqueue *queue, const struct virtqueue_chain *chain, uint64_t written)
{
	const struct iovec *span = chain->spans + chain->readable;

	for (unsigned i = 0; i < chain->writable && written; i++) {
		uint64_t length = span[i].iov_len < written ? span[i].iov_len : written;

		memory_mark_dirty(queue->memory, memory_physical(queue->memory, span[i].iov_base), length);
		written -= length;
	}
}

void virtqueue_push(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written)
{
	if (memory_tracking(queue->memory))
		mark_written(queue, chain, written);
	queue->layout->push(queue, chain, written);
}

void virtqueue_hold(struct virtqueue *queue)
{
	queue->holding = true;
}

void virtqueue_release(struct virtqueue *queue)
{
	queue->holding = false;
	if (queue->ready)
		queue->layout->release(queue);
}

bool virtqueue_wants_interrupt(struct virtqueue *queue)
{
	bool wanted;

	if (!queue->unsignalled)
		return false;
	ring_fence();
	wanted = queue->layout->wants_interrupt(queue);
	queue->unsignalled = 0;
	return wanted;
}

bool virtqueue_enable_kicks(struct virtqueue *queue)
{
	if (!queue->ready || queue->broken)
		return false;
	queue->layout->enable_kicks(queue);
	ring_fence();
	return queue->layout->available(queue);
}

void virtqueue_disable_kicks(struct virtqueue *queue)
{
	if (queue->ready && !queue->broken)
		queue->layout->disable_kicks(queue);
}

int virtqueue_slice(const struct virtqueue_chain *chain, bool writable, uint64_t offset, uint64_t length,
		    struct iovec *out, unsigned room)
{
	const struct iovec *span = chain->spans + (writable ? chain->readable : 0);
	const struct iovec *end = span + (writable ? chain->writable : chain->readable);
	unsigned count = 0;

	for (; span < end && offset >= span->iov_len; span++)
		offset -= span->iov_len;
	for (; span < end && length; span++) {
		uint64_t part = span->iov_len - offset < length ? span->iov_len - offset : length;

		if (count == room)
			return -EINVAL;
		out[count++] = (struct iovec){.iov_base = (uint8_t *)span->iov_base + offset, .iov_len = part};
		offset = 0;
		length -= part;
	}
	return length ? -EINVAL : (int)count;
}

/* Moves up to `length` bytes between the spans from `offset` on and `host`. */
static size_t move(const struct iovec *span, unsigned count, uint64_t offset, uint8_t *host, size_t length,
		   bool to_guest)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < length; i++) {
		uint8_t *guest = span[i].iov_base;
		size_t part;

		if (offset >= span[i].iov_len) {
			offset -= span[i].iov_len;
			continue;
		}
		part = span[i].iov_len - offset < length - done ? span[i].iov_len - offset : length - done;
		if (to_guest)
			memory_copy(guest + offset, host + done, part);
		else
			memory_copy(host + done, guest + offset, part);
		done += part;
		offset = 0;
	}
	return done;
}

size_t virtqueue_read(const struct virtqueue_chain *chain, uint64_t offset, void *to, size_t length)
{
	return move(chain->spans, chain->readable, offset, to, length, false);
}

size_t virtqueue_write(const struct virtqueue_chain *chain, uint64_t offset, const void *from, size_t length)
{
	return move(chain->spans + chain->readable, chain->writable, offset, (uint8_t *)(uintptr_t)from, length,
		    true);
}
