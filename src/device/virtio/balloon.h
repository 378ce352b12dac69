/*
 * Virtio traditional memory balloon (Virtio 1.2, 5.5): the guest gives memory back to the host, on demand (inflate,
 * deflate) and by itself (free page reporting). Pages that it gives really leave the monitor's resident memory.
 *
 * Offered: statistics, deflate on out-of-memory, free page reporting. A guest needs no leave to use a page again: the
 * host provides a fresh one at the first touch.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_BALLOON_H
#define DOPPEL_DEVICE_VIRTIO_BALLOON_H

#include "device/virtio/virtio.h"

/* What a guest tells about its memory (5.5.6.3): tags 0 to 9. Sizes in bytes, the rest are counts. */
enum balloon_tag {
	BALLOON_SWAP_IN,
	BALLOON_SWAP_OUT,
	BALLOON_MAJOR_FAULTS,
	BALLOON_MINOR_FAULTS,
	BALLOON_FREE,
	BALLOON_TOTAL,
	BALLOON_AVAILABLE,
	BALLOON_CACHES,
	BALLOON_HUGE_ALLOCATED,
	BALLOON_HUGE_FAILED,
	BALLOON_TAGS,
};

struct balloon_statistics {
	uint64_t at_ns; /* clock_host_ns when they came; 0: never */
	uint32_t valid; /* bit `tag`: the guest told values[tag] */
	uint64_t values[BALLOON_TAGS];
	uint64_t target_bytes;    /* that the balloon is to hold */
	uint64_t actual_bytes;    /* that the guest says it holds: a hostile guest says anything */
	uint64_t inflated_bytes;  /* given by inflation, ever */
	uint64_t reported_bytes;  /* given by free page reporting, ever */
	uint64_t refused_pages;   /* page numbers outside RAM */
};

/* -ENOMEM. Released with device_free. */
MUST_USE int virtio_balloon_new(struct virtio **out, const char *name, struct worker *worker, struct error *e);
/* Any thread: how many bytes the guest shall give, rounded down to pages. It does so in its own time, or not at all. */
void virtio_balloon_set_target(struct virtio *balloon, uint64_t bytes);
/* Any thread: what was last told. */
void virtio_balloon_get_statistics(struct virtio *balloon, struct balloon_statistics *out);
/* Any thread: asks the guest to tell its statistics anew; they arrive when it gets to it. */
void virtio_balloon_ask_statistics(struct virtio *balloon);

extern const struct device_type virtio_balloon_type;

#endif
