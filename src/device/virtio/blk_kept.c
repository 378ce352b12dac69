/* Requests that wait for room on the host across a pause: kept as what the ring said, so that they can be saved. */
#include <errno.h>
#include <string.h>

#include "device/virtio/blk_private.h"

void blk_keep(struct request *request)
{
	struct virtio_blk *blk = request->blk;
	const struct virtqueue_chain *chain = &request->chain;

	/* Rings have room for no more, but that a hostile driver names an entry many times. */
	if (chain->entry_count > ENTRIES_MAX - blk->kept_entries) {
		blk_refuse(request);
		return;
	}
	memcpy(blk->entries + blk->kept_entries, chain->entries, chain->entry_count * sizeof *chain->entries);
	blk->kept_entries += chain->entry_count;
	blk->kept[blk->kept_count++] = (struct kept_request){
		.head = chain->head,
		.descriptors = chain->descriptors,
		.entries = chain->entry_count,
		.queue = (uint8_t)request->queue,
	};
	blk_release(request);
}

/* Nothing waits any more, as far as the machine is concerned: whether there is room turns out when they are served. */
void blk_keep_waiting(struct virtio_blk *blk)
{
	struct request *request = blk->waiting, *next;

	blk->waiting = NULL;
	for (; request; request = next) {
		next = request->next;
		blk->starved--;
		blk_keep(request);
		if (blk->starved == 0 && blk->hooks.room)
			blk->hooks.room(blk->hooks.opaque, blk->virtio.device.name);
	}
}

unsigned blk_kept(const struct virtio *virtio, unsigned queue)
{
	const struct virtio_blk *blk = (const struct virtio_blk *)virtio;
	unsigned sum = 0;

	for (unsigned i = 0; i < blk->kept_count; i++)
		if (blk->kept[i].queue == queue)
			sum += blk->kept[i].descriptors;
	return sum;
}

static int serve_again(struct virtio_blk *blk, const struct kept_request *kept,
		       const struct virtqueue_descriptor *entries, struct error *e)
{
	struct request *request = blk->free;
	struct virtqueue_chain *chain = &request->chain;
	int r;

	chain->head = kept->head;
	chain->descriptors = kept->descriptors;
	chain->entry_count = kept->entries;
	memcpy(chain->entries, entries, kept->entries * sizeof *entries);
	r = virtqueue_recall(&blk->virtio.queues[kept->queue], chain, e);
	if (r < 0)
		return r;
	blk->free = request->next;
	blk_serve(blk, request, kept->queue);
	return 0;
}

void blk_serve_kept(struct virtio_blk *blk)
{
	const struct virtqueue_descriptor *entries = blk->entries;
	unsigned count = blk->kept_count;
	bool current[VIRTIO_BLK_QUEUES_MAX];
	struct error e;
	int r = 0;

	/* A queue that was reset has nothing in flight. */
	for (unsigned i = 0; i < VIRTIO_BLK_QUEUES_MAX; i++)
		current[i] = virtqueue_in_flight(&blk->virtio.queues[i]) > 0;
	blk->kept_count = blk->kept_entries = 0;
	for (unsigned i = 0; r == 0 && i < count; entries += blk->kept[i++].entries)
		if (current[blk->kept[i].queue])
			r = serve_again(blk, &blk->kept[i], entries, &e);
	if (r < 0)
		virtio_broken(&blk->virtio, &e);
}

static bool is_possible(const struct virtio_blk *blk, const struct kept_request *kept)
{
	return kept->queue < blk->virtio.queue_count && kept->descriptors >= 1 && kept->descriptors <= kept->entries &&
	       kept->entries <= QUEUE_SIZE;
}

int blk_check_kept(const struct virtio_blk *blk, struct error *e)
{
	uint32_t entries = 0;
	bool possible = blk->kept_count <= QUEUE_SIZE && blk->kept_entries <= ENTRIES_MAX;

	for (unsigned i = 0; possible && i < blk->kept_count; i++) {
		possible = is_possible(blk, &blk->kept[i]);
		entries += blk->kept[i].entries;
	}
	if (possible && entries == blk->kept_entries)
		return 0;
	return error_set(e, ERROR_FAILED, -EINVAL, "the saved state of %s has requests that can not be",
			 blk->virtio.device.name);
}
