/*
 * Packed virtqueues (Virtio 1.2, 2.8): one ring of descriptors, which each side overwrites in turn.
 *
 * The second word of a descriptor holds length, id and flags, so one load tells whether it is available and what it
 * is. Driver and device area are event suppression structures (2.8.14): offset and wrap counter, then flags.
 */
#include <errno.h>
#include <string.h>

#include "device/virtio/queue_layout.h"

#define FLAG_AVAILABLE (1u << 7)
#define FLAG_USED      (1u << 15)
#define EVENT_WRAP     0x8000u

enum { EVENTS_ENABLE = 0, EVENTS_DISABLE = 1, EVENTS_AT = 2 };

static void packed_areas(const struct virtqueue *queue, struct virtqueue_area areas[3])
{
	areas[0] = (struct virtqueue_area){queue->descriptors, DESCRIPTOR_SIZE * (uint64_t)queue->size, 16};
	areas[1] = (struct virtqueue_area){queue->driver, 4, 4};
	areas[2] = (struct virtqueue_area){queue->device, 4, 4};
}

static void packed_start(struct virtqueue *queue)
{
	queue->next_available = queue->next_used = 0;
	queue->available_wrap = queue->used_wrap = true;
}

/* A position with its wrap counter, as one in a ring of twice the size. */
static unsigned unroll(const struct virtqueue *queue, unsigned at, bool wrap)
{
	return wrap ? at : at + queue->size;
}

/* How many entries were taken and not given back. */
static unsigned packed_in_flight(const struct virtqueue *queue)
{
	unsigned around = 2u * queue->size;

	return (unroll(queue, queue->next_available, queue->available_wrap) + around -
		unroll(queue, queue->next_used, queue->used_wrap)) %
	       around;
}

static bool packed_possible(const struct virtqueue *queue)
{
	return queue->next_available < queue->size && queue->next_used < queue->size &&
	       packed_in_flight(queue) <= queue->size &&
	       (!queue->signalled_valid || queue->signalled_used < 2u * queue->size);
}

/* Of the descriptor at `at`. */
static uint64_t load_rest(const struct virtqueue *queue, unsigned at)
{
	return ring_load64(queue->host_descriptors + (size_t)at * DESCRIPTOR_SIZE + 8);
}

static bool is_available(uint64_t rest, bool wrap)
{
	unsigned flags = (unsigned)(rest >> 48);

	return !!(flags & FLAG_AVAILABLE) == wrap && !!(flags & FLAG_USED) != wrap;
}

static bool packed_available(const struct virtqueue *queue)
{
	return is_available(load_rest(queue, queue->next_available), queue->available_wrap);
}

static struct virtqueue_descriptor decode(uint64_t address, uint64_t rest)
{
	return (struct virtqueue_descriptor){
		.address = address,
		.length = (uint32_t)rest,
		.link = (uint16_t)(rest >> 32),
		.flags = (uint16_t)(rest >> 48),
	};
}

/* `count` entries on, modulo the ring's size; the wrap counter flips when the end is passed. */
static uint16_t advance(const struct virtqueue *queue, uint16_t at, unsigned count, bool *wrap)
{
	unsigned next = at + count;

	if (next < queue->size)
		return (uint16_t)next;
	*wrap = !*wrap;
	return (uint16_t)(next - queue->size);
}

/* A table's entries are used in their order; of their flags only WRITE counts (2.8.7). */
static int packed_add_table(struct virtqueue *queue, struct virtqueue_chain *chain,
			    const struct virtqueue_descriptor *indirect, struct error *e)
{
	const uint8_t *table = NULL;
	unsigned count = 0;
	int r = virtqueue_open_table(queue, indirect, &count, &table, e);

	for (unsigned i = 0; r == 0 && i < count; i++) {
		struct virtqueue_descriptor d;
		le64_t words[2];

		memory_copy(words, table + (size_t)i * DESCRIPTOR_SIZE, sizeof words);
		d = decode(le64_get(words[0]), le64_get(words[1]));
		if (d.flags & DESCRIPTOR_INDIRECT)
			return virtqueue_break(queue, e, "an indirect table inside an indirect table");
		r = virtqueue_add(queue, chain, &d, e);
	}
	return r;
}

/* One descriptor of the ring. The driver makes the first of a chain available last, so each must be by now. */
static int take(struct virtqueue *queue, struct virtqueue_chain *chain, unsigned at, bool wrap,
		struct virtqueue_descriptor *d, struct error *e)
{
	uint64_t rest = load_rest(queue, at);

	if (!is_available(rest, wrap))
		return virtqueue_break(queue, e, "descriptor %u of a chain is not available", at);
	*d = decode(ring_load64(queue->host_descriptors + (size_t)at * DESCRIPTOR_SIZE), rest);
	return virtqueue_add_entry(queue, chain, d, e);
}

static int packed_pop(struct virtqueue *queue, struct virtqueue_chain *chain, struct error *e)
{
	uint16_t at = queue->next_available;
	bool wrap = queue->available_wrap;
	struct virtqueue_descriptor d = {.flags = DESCRIPTOR_NEXT};
	unsigned count = 0, room = queue->size - packed_in_flight(queue);

	while (d.flags & DESCRIPTOR_NEXT) {
		int r;

		if (count++ == room)
			return virtqueue_break(queue, e, "more in flight than a ring of %u holds", queue->size);
		r = take(queue, chain, at, wrap, &d, e);
		if (r < 0)
			return r;
		at = advance(queue, at, 1, &wrap);
	}
	chain->head = d.link;
	chain->descriptors = (uint16_t)count;
	queue->next_available = at;
	queue->available_wrap = wrap;
	return 1;
}

static void packed_unpop(struct virtqueue *queue, const struct virtqueue_chain *chain)
{
	if (chain->descriptors > queue->next_available) {
		queue->next_available = (uint16_t)(queue->next_available + queue->size);
		queue->available_wrap = !queue->available_wrap;
	}
	queue->next_available = (uint16_t)(queue->next_available - chain->descriptors);
}

/* The driver looks at used descriptors in their order, so the first one hides those behind it. */
static void store_used(struct virtqueue *queue, uint64_t offset, uint64_t word)
{
	if (queue->holding && !queue->held) {
		queue->held = true;
		queue->held_offset = offset;
		queue->held_word = word;
		return;
	}
	ring_store64(queue->host_descriptors + offset, word);
	virtqueue_mark(queue, queue->descriptors + offset, 8);
}

static void packed_release(struct virtqueue *queue)
{
	if (queue->held)
		store_used(queue, queue->held_offset, queue->held_word);
	queue->held = false;
}

static void packed_push(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written)
{
	uint64_t offset = (uint64_t)queue->next_used * DESCRIPTOR_SIZE + 8;
	uint64_t flags = queue->used_wrap ? FLAG_AVAILABLE | FLAG_USED : 0;

	if (chain->writable)
		flags |= DESCRIPTOR_WRITE;
	store_used(queue, offset, written | (uint64_t)chain->head << 32 | flags << 48);
	queue->next_used = advance(queue, queue->next_used, chain->descriptors, &queue->used_wrap);
	queue->unsignalled += chain->descriptors;
}

/* Whether the ring's use passed position `event` on its way from the last signal. */
static bool passed(const struct virtqueue *queue, uint16_t event, unsigned before, unsigned now)
{
	unsigned at = event & ~EVENT_WRAP, around = 2u * queue->size;
	unsigned since_event, since_signal;

	if (at >= queue->size)
		return true;
	at = unroll(queue, at, event & EVENT_WRAP);
	since_event = (now + around - at) % around;
	since_signal = (now + around - before) % around;
	return since_event >= 1 && since_event <= since_signal;
}

static bool packed_wants_interrupt(struct virtqueue *queue)
{
	uint32_t wish = ring_load32(queue->host_driver);
	unsigned before = queue->signalled_used, now = unroll(queue, queue->next_used, queue->used_wrap);
	bool valid = queue->signalled_valid && queue->unsignalled < queue->size;

	queue->signalled_used = (uint16_t)now;
	queue->signalled_valid = true;
	switch (wish >> 16 & 3) {
	case EVENTS_DISABLE:
		return false;
	case EVENTS_AT:
		return !queue->event_index || !valid || passed(queue, (uint16_t)wish, before, now);
	default:
		return true;
	}
}

static void tell_driver(struct virtqueue *queue, uint32_t flags)
{
	uint32_t at = queue->next_available | (queue->available_wrap ? EVENT_WRAP : 0);

	ring_store32(queue->host_device, at | flags << 16);
	virtqueue_mark(queue, queue->device, 4);
}

static void packed_enable_kicks(struct virtqueue *queue)
{
	tell_driver(queue, queue->event_index ? EVENTS_AT : EVENTS_ENABLE);
}

static void packed_disable_kicks(struct virtqueue *queue)
{
	tell_driver(queue, EVENTS_DISABLE);
}

const struct virtqueue_layout virtqueue_packed = {
	.areas = packed_areas,
	.start = packed_start,
	.possible = packed_possible,
	.in_flight = packed_in_flight,
	.available = packed_available,
	.pop = packed_pop,
	.add_table = packed_add_table,
	.unpop = packed_unpop,
	.push = packed_push,
	.release = packed_release,
	.wants_interrupt = packed_wants_interrupt,
	.enable_kicks = packed_enable_kicks,
	.disable_kicks = packed_disable_kicks,
};
