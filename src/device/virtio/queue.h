/*
 * A virtqueue, seen from the device: split and packed rings (Virtio 1.2, 2.7 and 2.8), with indirect descriptors,
 * EVENT_IDX and IN_ORDER.
 *
 * The rings are in guest RAM and hostile: each descriptor is copied once, validated, and turned into host spans. A
 * ring that breaks a rule (a loop, a length that overflows, an address outside RAM, an indirect table inside another,
 * an index that ran ahead) makes the queue broken: pop says -EBADMSG with the reason, the device asks for a reset
 * (virtio_broken) and the machine lives on.
 *
 * Thread: the device's worker (virtio.h), for pop, push and what belongs to them. Set-up comes from the transport,
 * under the device's lock, while the worker does not use the queue.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_QUEUE_H
#define DOPPEL_DEVICE_VIRTIO_QUEUE_H

#include <sys/uio.h>

#include "base/error.h"
#include "base/types.h"
#include "memory/memory.h"

#define VIRTQUEUE_SIZE_MAX 1024 /* descriptors of a ring, and of a chain */

struct virtqueue_layout; /* split or packed: queue_layout.h */

/* What the driver set up (2.6.1, 4.2.2) and how far both sides are. Saved with the device. */
struct virtqueue {
	uint64_t descriptors, driver, device; /* guest-physical addresses of the three areas */
	uint16_t size;                        /* a power of two for split rings */
	uint16_t size_max;                    /* offered; a constant of the device type, not saved */
	bool ready;
	bool broken;
	uint16_t next_available; /* split: free running; packed: a position */
	uint16_t next_used;
	bool available_wrap, used_wrap; /* packed ring's wrap counters */
	uint16_t signalled_used;        /* next_used (packed: in a ring of twice the size) at the last interrupt */
	bool signalled_valid;

	/* Not saved: from the negotiated features, and host addresses of the areas. */
	const struct virtqueue_layout *layout;
	struct memory *memory;
	bool event_index, in_order, indirect;
	uint8_t *host_descriptors, *host_driver, *host_device;
	uint32_t unsignalled; /* ring entries used since the last look at what the driver wants */
	bool holding;         /* between virtqueue_hold and virtqueue_release */
	bool held;            /* packed: the first descriptor of the group is still to be stored */
	uint64_t held_offset, held_word;
};

/* An entry of the ring or of an indirect table, copied. */
struct virtqueue_descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags;
	uint16_t link; /* split: the next one; packed: the buffer's id */
};

/* One buffer of the driver: spans that the device reads, then spans that it writes. */
struct virtqueue_chain {
	struct iovec spans[VIRTQUEUE_SIZE_MAX]; /* host addresses in guest RAM, which changes under the reader */
	unsigned readable, writable;            /* counts: spans[0..readable) and the `writable` after them */
	uint64_t readable_bytes, writable_bytes;
	uint16_t head;        /* id for push */
	uint16_t descriptors; /* ring entries that it took (packed) */
	/* The ring's entries, as pop found them: a device that keeps a buffer across a save makes it again of them. */
	uint16_t entry_count;
	struct virtqueue_descriptor entries[VIRTQUEUE_SIZE_MAX];
};

/* Checks what the driver set up: sizes, alignment, the whole areas in RAM; changes nothing. -EINVAL and a message. */
MUST_USE int virtqueue_check(const struct virtqueue *queue, const struct memory *memory, uint64_t features,
			     struct error *e);
/* Checks, and makes the queue ready, at its start. -EINVAL: it is then not ready. `features`: as negotiated. */
MUST_USE int virtqueue_start(struct virtqueue *queue, struct memory *memory, uint64_t features, struct error *e);
/* What validate of a saved state asks: besides virtqueue_check of a ready queue, that positions are possible and that
 * what was in flight (virtqueue_in_flight) is what the device says that it keeps. -EINVAL. */
MUST_USE int virtqueue_check_saved(const struct virtqueue *queue, const struct memory *memory, uint64_t features,
				   unsigned in_flight, struct error *e);
/* After its saved fields were loaded and checked: addresses and features are resolved again. */
void virtqueue_loaded(struct virtqueue *queue, struct memory *memory, uint64_t features);
/* As after power-on, size_max kept. */
void virtqueue_reset(struct virtqueue *queue);

/* Takes the next buffer: 1, 0 when there is none (or the queue is not ready), or -EBADMSG, then the queue is broken
 * (also later calls). The chain is large: it belongs to the device, not to a stack. */
MUST_USE int virtqueue_pop(struct virtqueue *queue, struct virtqueue_chain *chain, struct error *e);
/* Puts the last popped buffer back as if it was never taken (a receive queue without a packet); then the one before it,
 * and so on: only `descriptors` of each chain is looked at. */
void virtqueue_unpop(struct virtqueue *queue, const struct virtqueue_chain *chain);
/* Makes a buffer that was popped before the device was saved again, of its head, descriptors and entries, which may come
 * from a hostile state: -EBADMSG as in pop. */
MUST_USE int virtqueue_recall(struct virtqueue *queue, struct virtqueue_chain *chain, struct error *e);
/* Popped and not pushed: the sum of `descriptors` of those chains. 0 for a queue that is not ready. */
unsigned virtqueue_in_flight(const struct virtqueue *queue);
/* Gives a buffer back; `written` bytes at the start of its writable spans are new. Marks them dirty. With IN_ORDER,
 * buffers are given back in the order of pop: the device's promise. */
void virtqueue_push(struct virtqueue *queue, const struct virtqueue_chain *chain, uint32_t written);
/* Buffers pushed between the two are seen by the driver all at once, at the end (a packet that takes several). */
void virtqueue_hold(struct virtqueue *queue);
void virtqueue_release(struct virtqueue *queue);
/* Whether the driver wants an interrupt for what was pushed since the last call (2.7.7, 2.7.10, 2.8.10). */
MUST_USE bool virtqueue_wants_interrupt(struct virtqueue *queue);
/* Asks for a kick when there is more, or for none. After enabling, look once more: true when there is something. */
MUST_USE bool virtqueue_enable_kicks(struct virtqueue *queue);
void virtqueue_disable_kicks(struct virtqueue *queue);

/* Copies between a chain's spans and host memory; the number of bytes that were there. `offset`: into the readable
 * (writable) part. Marks nothing dirty: push does. */
size_t virtqueue_read(const struct virtqueue_chain *chain, uint64_t offset, void *to, size_t length);
size_t virtqueue_write(const struct virtqueue_chain *chain, uint64_t offset, const void *from, size_t length);
/* The part [offset, offset + length) of the readable (writable) spans as spans of their own in `out` (room for
 * `room`); how many, or -EINVAL when the part is not wholly there or takes more than `room`. */
MUST_USE int virtqueue_slice(const struct virtqueue_chain *chain, bool writable, uint64_t offset, uint64_t length,
			     struct iovec *out, unsigned room);

#endif
