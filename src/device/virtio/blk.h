/*
 * virtio-blk (Virtio 1.2, 5.2): a disk.
 *
 * Requests go to a block stack (block/block.h) straight from and to the guest's spans, many at once, and finish in any
 * order. An error of the host is an I/O error in the guest, with one exception: when the host's disk is full, requests
 * wait and are tried again, and `full` tells the machine, so that a guest does not see its file system break for want of
 * room elsewhere. They wait on across a pause, and in a saved state: `room` is called when the device is paused, and
 * `full` again after it was resumed if they still find none.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_BLK_H
#define DOPPEL_DEVICE_VIRTIO_BLK_H

#include "block/block.h"
#include "device/virtio/virtio.h"

#define VIRTIO_BLK_QUEUES_MAX 8
#define VIRTIO_BLK_SERIAL_MAX 20

/* On the worker. */
struct virtio_blk_hooks {
	void (*full)(void *opaque, const char *device); /* the first request waits for room on the host */
	void (*room)(void *opaque, const char *device); /* none does any more */
	/* The host failed a request, which is an I/O error in the guest now: its negative errno (-ESTALE: the image was
	 * cut). Once for each errno that follows another. */
	void (*failed)(void *opaque, const char *device, int code);
	void *opaque;
};

struct virtio_blk_options {
	unsigned queues;    /* 1 to VIRTIO_BLK_QUEUES_MAX; best one a CPU */
	const char *serial; /* at most VIRTIO_BLK_SERIAL_MAX bytes; NULL: the device's name */
	struct virtio_blk_hooks hooks;
};

/* `block`, not attached to a loop yet, becomes the device's, also on failure. */
MUST_USE int virtio_blk_new(struct virtio **out, const char *name, struct worker *worker, struct block *block,
			    const struct virtio_blk_options *options, struct error *e);

/* The disk gets another size while the guest runs, once what is in flight is done; then `done` is called on the worker
 * with 0 or a negative errno and its message. Any thread. -EBUSY while another resize is under way: `done` is not called
 * then. */
MUST_USE int virtio_blk_resize(struct virtio *blk, uint64_t size, bool shrink,
			       void (*done)(void *opaque, int result, const struct error *e), void *opaque);
/* For display and limits; what is called on it: as block.h says. */
struct block *virtio_blk_block(struct virtio *blk);

extern const struct device_type virtio_blk_type;

#endif
