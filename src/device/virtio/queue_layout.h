/*
 * What split and packed rings do differently, and what both use; only queue*.c include this.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_QUEUE_LAYOUT_H
#define DOPPEL_DEVICE_VIRTIO_QUEUE_LAYOUT_H

#include "device/virtio/queue.h"

/* Descriptor flags (2.7.5, 2.8.1): the same bits in both layouts. */
enum { DESCRIPTOR_NEXT = 1, DESCRIPTOR_WRITE = 2, DESCRIPTOR_INDIRECT = 4 };
#define DESCRIPTOR_SIZE 16

struct virtqueue_area {
	uint64_t address;
	uint64_t bytes;
	uint64_t alignment;
};

struct virtqueue_layout {
	bool power_of_two; /* that is what sizes must be */
	/* The three areas, in the order descriptors, driver, device. */
	void (*areas)(const struct virtqueue *queue, struct virtqueue_area areas[3]);
	/* Sets positions to those of a fresh ring. */
	void (*start)(struct virtqueue *queue);
	/* Whether positions are such as a ring can have. */
	bool (*possible)(const struct virtqueue *queue);
	unsigned (*in_flight)(const struct virtqueue *queue);
	bool (*available)(const struct virtqueue *queue);
	int (*pop)(struct virtqueue *queue, struct virtqueue_chain *chain, struct error *e);
	/* Adds what an indirect table has. */
	int (*add_table)(struct virtqueue *queue, struct virtqueue_chain *chain, const struct virtqueue_descriptor *d,
			 struct error *e);
	void (*unpop)(struct virtqueue *queue, const struct virtqueue_chain *chain);
	void (*push)(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written);
	/* Shows what was pushed while the queue was holding. */
	void (*release)(struct virtqueue *queue);
	bool (*wants_interrupt)(struct virtqueue *queue);
	void (*enable_kicks)(struct virtqueue *queue);
	void (*disable_kicks)(struct virtqueue *queue);
};

extern const struct virtqueue_layout virtqueue_split, virtqueue_packed;

/* The queue is broken; the message says why. Returns -EBADMSG. */
int virtqueue_break(struct virtqueue *queue, struct error *e, const char *format, ...) PRINTF_LIKE(3, 4);
/* Adds what the descriptor points to, after judging it. */
MUST_USE int virtqueue_add(struct virtqueue *queue, struct virtqueue_chain *chain, const struct virtqueue_descriptor *d,
			   struct error *e);
/* The same for an entry of the ring, which may be a table. */
MUST_USE int virtqueue_add_entry(struct virtqueue *queue, struct virtqueue_chain *chain,
				 const struct virtqueue_descriptor *d, struct error *e);
/* How many descriptors the table that `d` points to has, judged. *table: where it is. */
MUST_USE int virtqueue_open_table(struct virtqueue *queue, const struct virtqueue_descriptor *d, unsigned *count,
				  const uint8_t **table, struct error *e);
void virtqueue_mark(struct virtqueue *queue, uint64_t address, uint64_t length);

/* Words that both sides use at once, little-endian; each is read and written whole. */
static inline uint16_t ring_load16(const uint8_t *at)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE));
}

static inline void ring_store16(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, htole16(value), __ATOMIC_RELEASE);
}

static inline uint32_t ring_load32(const uint8_t *at)
{
	return le32toh(__atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_ACQUIRE));
}

static inline void ring_store32(uint8_t *at, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)at, htole32(value), __ATOMIC_RELEASE);
}

static inline uint64_t ring_load64(const uint8_t *at)
{
	return le64toh(__atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_ACQUIRE));
}

static inline void ring_store64(uint8_t *at, uint64_t value)
{
	__atomic_store_n((uint64_t *)(void *)at, htole64(value), __ATOMIC_RELEASE);
}

/* Between publishing to the other side and looking at what it wants: neither side may miss the other. */
static inline void ring_fence(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

#endif
