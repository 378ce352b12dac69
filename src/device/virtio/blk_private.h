/* What the halves of the disk share: blk.c (the device) and blk_request.c (its requests). */
#ifndef DOPPEL_DEVICE_VIRTIO_BLK_PRIVATE_H
#define DOPPEL_DEVICE_VIRTIO_BLK_PRIVATE_H

#include "device/virtio/blk.h"

#define QUEUE_SIZE     256
#define SEGMENTS_MAX   (QUEUE_SIZE - 2)
#define ENTRIES_MAX    (VIRTIO_BLK_QUEUES_MAX * QUEUE_SIZE) /* of all rings */
#define RANGES_MAX     64 /* of one discard or write-zeroes request */
#define RANGE_SECTORS  (UINT32_C(1) << 22) /* 2 GiB */
#define F_FLUSH        (UINT64_C(1) << 9)
#define F_CONFIG_WCE   (UINT64_C(1) << 11)
#define F_DISCARD      (UINT64_C(1) << 13)
#define F_WRITE_ZEROES (UINT64_C(1) << 14)

/* A range of a discard or write-zeroes (5.2.6). */
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
	uint32_t written; /* bytes of the guest's, without the status */
	bool flush_after;
	bool starved; /* it waits, or waited, for room */
};

/* A request that waits for room while the device is paused: how its buffer is popped again. */
struct kept_request {
	uint16_t head, descriptors, entries;
	uint8_t queue;
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
	int failure;      /* the last that was told */
	bool quiescing;
	/* Between quiesce and start; saved. The entries of each request follow those of the one before it. */
	uint32_t kept_count, kept_entries;
	struct kept_request kept[QUEUE_SIZE];
	struct virtqueue_descriptor entries[ENTRIES_MAX];
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

static inline struct virtio_blk *blk_of(struct virtio *virtio)
{
	return (struct virtio_blk *)virtio;
}

/* blk_request.c; all on the worker. */
/* Begins a request of what was popped into it. */
void blk_serve(struct virtio_blk *blk, struct request *request, unsigned queue);
/* Answers it with an I/O error. */
void blk_refuse(struct request *request);
/* Its place is free again. */
void blk_release(struct request *request);
/* Tries those that wait for room on the host once more: a function of the retry timer. */
void blk_retry(void *blk);
/* Tells the core, if it waits for that, once nothing is in flight. */
void blk_settle(struct virtio_blk *blk);
/* Every queue has its turn again. */
void blk_look_at_all(struct virtio_blk *blk);

/* blk_kept.c: requests that wait for room across a pause, or a save and a load; on the worker. */
/* Writes a request down and releases it. */
void blk_keep(struct request *request);
/* The same with all that wait. */
void blk_keep_waiting(struct virtio_blk *blk);
/* Service goes on: they are begun once more, but for those whose queue was reset meanwhile. */
void blk_serve_kept(struct virtio_blk *blk);
unsigned blk_kept(const struct virtio *virtio, unsigned queue);
/* Of a saved state, before virtio_validate: -EINVAL. */
MUST_USE int blk_check_kept(const struct virtio_blk *blk, struct error *e);

#endif
