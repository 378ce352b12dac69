/*
 * Clusters that lost a reference, on their way to being free.
 *
 * Two things keep such a cluster from being used anew. On disk the reference may still be there, and a crash would
 * bring it back: so refcounts go down only after the table without it was synced. And a request in flight may have
 * looked it up before: so they go down only when all requests that were in flight at that sync have ended.
 * Requests are counted by the parity of the epoch in which they began; the epoch ends when those of the one before
 * it are gone.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2.h"

#define RUNS_DUE 4096              /* then they are written back without waiting for a flush */
#define RUNS_MAX ((size_t)1 << 20) /* then the room is lost until a repair */

unsigned qcow2_enter(struct image *image)
{
	struct qcow2 *q = qcow2_of(image);
	unsigned ticket;

	pthread_mutex_lock(&q->lock);
	ticket = (unsigned)(q->epoch & 1);
	q->in_flight[ticket]++;
	pthread_mutex_unlock(&q->lock);
	return ticket;
}

void qcow2_leave(struct image *image, unsigned ticket)
{
	struct qcow2 *q = qcow2_of(image);

	pthread_mutex_lock(&q->lock);
	q->in_flight[ticket]--;
	pthread_mutex_unlock(&q->lock);
}

/* Room for one more. Without memory the clusters stay counted: lost room, but nothing worse. */
static struct released *list_next(struct release_list *list)
{
	if (list->count == RUNS_MAX)
		return NULL;
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		struct released *runs = realloc(list->runs, room * sizeof *runs);

		if (!runs)
			return NULL;
		list->runs = runs;
		list->room = room;
	}
	return &list->runs[list->count++];
}

static void list_add(struct release_list *list, uint64_t first, uint64_t count)
{
	struct released *last = list->count ? &list->runs[list->count - 1] : NULL;

	if (last && last->first + last->count == first) {
		last->count += count;
		return;
	}
	last = list_next(list);
	if (last)
		*last = (struct released){first, count};
}

void release_list_finish(struct release_list *list)
{
	free(list->runs);
	*list = (struct release_list){0};
}

void qcow2_release(struct qcow2 *q, uint64_t first, uint64_t count)
{
	list_add(&q->unlinked, first, count);
	atomic_store(&q->dirty, true);
}

bool qcow2_release_is_due(const struct qcow2 *q)
{
	return q->unlinked.count >= RUNS_DUE && q->synced.count == 0;
}

/* While earlier ones wait for requests to end, these wait for them: else a steady flow would never let any
 * through. */
void qcow2_release_synced(struct qcow2 *q)
{
	struct release_list empty = q->synced;

	if (q->synced.count)
		return;
	q->synced = q->unlinked;
	q->unlinked = empty;
	q->synced.epoch = q->epoch;
}

static void advance(struct qcow2 *q)
{
	pthread_mutex_lock(&q->lock);
	if (q->in_flight[(q->epoch + 1) & 1] == 0)
		q->epoch++;
	pthread_mutex_unlock(&q->lock);
}

/* Whether the cluster is free now. */
static bool count_down(struct qcow2 *q, uint64_t cluster)
{
	uint64_t count;

	if (qcow2_refcount_get(q, cluster, &count) < 0 || count == 0)
		return false;
	return qcow2_refcount_set(q, cluster, count - 1) == 0 && count == 1;
}

static void give_back(struct qcow2 *q, uint64_t first, uint64_t count)
{
	if (count == 0)
		return;
	/* A file system that can not punch keeps the room for later clusters. */
	if (store_punch(q->image.store, first << q->cluster_bits, count << q->cluster_bits) < 0)
		return;
}

static void apply_run(struct qcow2 *q, const struct released *run)
{
	uint64_t freed = 0;

	for (uint64_t i = 0; i < run->count; i++) {
		if (count_down(q, run->first + i)) {
			freed++;
			if (run->first + i < q->free_hint)
				q->free_hint = run->first + i;
			continue;
		}
		give_back(q, run->first + i - freed, freed);
		freed = 0;
	}
	give_back(q, run->first + run->count - freed, freed);
}

void qcow2_release_apply(struct qcow2 *q, bool all)
{
	if (!q->synced.count)
		return;
	advance(q);
	if (!all && q->epoch < q->synced.epoch + 2)
		return;
	for (size_t i = 0; i < q->synced.count; i++)
		apply_run(q, &q->synced.runs[i]);
	q->synced.count = 0;
}
