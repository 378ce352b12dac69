/*
 * Split virtqueues (Virtio 1.2, 2.7).
 *
 * Driver area (available ring): flags, idx, ring[size], used_event. Device area (used ring): flags, idx,
 * ring[size] of id and length, avail_event. All but the ids are le16.
 */
#include <errno.h>
#include <string.h>

#include "device/virtio/queue_layout.h"

enum { NO_INTERRUPT = 1, NO_NOTIFY = 1 };
enum { RING_FLAGS = 0, RING_INDEX = 2, RING_ENTRIES = 4 };
#define USED_ENTRY 8

static uint8_t *used_event(const struct virtqueue *queue)
{
	return queue->host_driver + RING_ENTRIES + 2 * (size_t)queue->size;
}

static uint64_t available_event_offset(const struct virtqueue *queue)
{
	return RING_ENTRIES + USED_ENTRY * (uint64_t)queue->size;
}

static void split_areas(const struct virtqueue *queue, struct virtqueue_area areas[3])
{
	areas[0] = (struct virtqueue_area){queue->descriptors, DESCRIPTOR_SIZE * (uint64_t)queue->size, 16};
	areas[1] = (struct virtqueue_area){queue->driver, RING_ENTRIES + 2 * (uint64_t)queue->size + 2, 2};
	areas[2] = (struct virtqueue_area){queue->device, available_event_offset(queue) + 2, 4};
}

static void split_start(struct virtqueue *queue)
{
	queue->next_available = queue->next_used = 0;
}

static unsigned split_in_flight(const struct virtqueue *queue)
{
	return (uint16_t)(queue->next_available - queue->next_used);
}

static bool split_possible(const struct virtqueue *queue)
{
	return split_in_flight(queue) <= queue->size;
}

static bool split_available(const struct virtqueue *queue)
{
	return ring_load16(queue->host_driver + RING_INDEX) != queue->next_available;
}

static struct virtqueue_descriptor decode(uint64_t address, uint64_t rest)
{
	return (struct virtqueue_descriptor){
		.address = address,
		.length = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 32),
		.link = (uint16_t)(rest >> 48),
	};
}

static struct virtqueue_descriptor load(const uint8_t *at)
{
	return decode(ring_load64(at), ring_load64(at + 8));
}

/* An indirect table may be anywhere, so its entries need not be aligned. */
static struct virtqueue_descriptor load_indirect(const uint8_t *at)
{
	le64_t words[2];

	memory_copy(words, at, sizeof words);
	return decode(le64_get(words[0]), le64_get(words[1]));
}

/* Follows a chain inside a table: at most as many steps as the table has entries. */
static int split_add_table(struct virtqueue *queue, struct virtqueue_chain *chain,
			   const struct virtqueue_descriptor *indirect, struct error *e)
{
	const uint8_t *table = NULL;
	unsigned count = 0, at = 0;
	int r = virtqueue_open_table(queue, indirect, &count, &table, e);

	for (unsigned steps = 0; r == 0; steps++) {
		struct virtqueue_descriptor d;

		if (at >= count)
			return virtqueue_break(queue, e, "descriptor %u of an indirect table of %u", at, count);
		if (steps == count)
			return virtqueue_break(queue, e, "the chain of an indirect table is a loop");
		d = load_indirect(table + (size_t)at * DESCRIPTOR_SIZE);
		if (d.flags & DESCRIPTOR_INDIRECT)
			return virtqueue_break(queue, e, "an indirect table inside an indirect table");
		r = virtqueue_add(queue, chain, &d, e);
		if (!(d.flags & DESCRIPTOR_NEXT))
			break;
		at = d.link;
	}
	return r;
}

static int follow(struct virtqueue *queue, struct virtqueue_chain *chain, struct error *e)
{
	unsigned at = chain->head;

	for (unsigned steps = 0; steps < queue->size; steps++) {
		struct virtqueue_descriptor d;
		int r;

		if (at >= queue->size)
			return virtqueue_break(queue, e, "descriptor %u of a ring of %u", at, queue->size);
		d = load(queue->host_descriptors + (size_t)at * DESCRIPTOR_SIZE);
		r = virtqueue_add_entry(queue, chain, &d, e);
		if (r < 0 || (d.flags & DESCRIPTOR_INDIRECT) || !(d.flags & DESCRIPTOR_NEXT))
			return r;
		at = d.link;
	}
	return virtqueue_break(queue, e, "a chain of descriptors is a loop");
}

static int split_pop(struct virtqueue *queue, struct virtqueue_chain *chain, struct error *e)
{
	uint16_t index = ring_load16(queue->host_driver + RING_INDEX);
	size_t slot = queue->next_available & (queue->size - 1u);
	int r;

	/* From what was used on: a driver can not have more in flight than its ring has entries. */
	if ((uint16_t)(index - queue->next_used) > queue->size)
		return virtqueue_break(queue, e, "the available index %u is more than %u ahead of %u", index,
				       queue->size, queue->next_used);
	chain->head = ring_load16(queue->host_driver + RING_ENTRIES + 2 * slot);
	chain->descriptors = 1;
	r = follow(queue, chain, e);
	if (r < 0)
		return r;
	queue->next_available++;
	return 1;
}

static void split_unpop(struct virtqueue *queue, const struct virtqueue_chain *chain)
{
	(void)chain;
	queue->next_available--;
}

static void split_release(struct virtqueue *queue)
{
	ring_store16(queue->host_device + RING_INDEX, queue->next_used);
	virtqueue_mark(queue, queue->device + RING_INDEX, 2);
}

static void split_push(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written)
{
	uint64_t entry = RING_ENTRIES + USED_ENTRY * (queue->next_used & (queue->size - 1u));

	ring_store32(queue->host_device + entry, chain->head);
	ring_store32(queue->host_device + entry + 4, written);
	virtqueue_mark(queue, queue->device + entry, USED_ENTRY);
	queue->next_used++;
	queue->unsignalled++;
	if (!queue->holding)
		split_release(queue);
}

/* Whether the index passed `event` on its way from the last signal (2.7.7.1). */
static bool split_wants_interrupt(struct virtqueue *queue)
{
	uint16_t now = queue->next_used, before = queue->signalled_used, event;
	bool valid = queue->signalled_valid && queue->unsignalled < queue->size;

	if (!queue->event_index)
		return !(ring_load16(queue->host_driver + RING_FLAGS) & NO_INTERRUPT);
	queue->signalled_used = now;
	queue->signalled_valid = true;
	event = ring_load16(used_event(queue));
	return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - before);
}

static void store_device(struct virtqueue *queue, uint64_t offset, uint16_t value)
{
	ring_store16(queue->host_device + offset, value);
	virtqueue_mark(queue, queue->device + offset, 2);
}

static void split_enable_kicks(struct virtqueue *queue)
{
	if (queue->event_index)
		store_device(queue, available_event_offset(queue), queue->next_available);
	else
		store_device(queue, RING_FLAGS, 0);
}

/* With EVENT_IDX the index that was asked for lies behind, which says the same. */
static void split_disable_kicks(struct virtqueue *queue)
{
	if (!queue->event_index)
		store_device(queue, RING_FLAGS, NO_NOTIFY);
}

const struct virtqueue_layout virtqueue_split = {
	.power_of_two = true,
	.areas = split_areas,
	.start = split_start,
	.possible = split_possible,
	.in_flight = split_in_flight,
	.available = split_available,
	.pop = split_pop,
	.add_table = split_add_table,
	.unpop = split_unpop,
	.push = split_push,
	.release = split_release,
	.wants_interrupt = split_wants_interrupt,
	.enable_kicks = split_enable_kicks,
	.disable_kicks = split_disable_kicks,
};
