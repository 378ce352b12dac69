/*
 * What could not be written to a packet socket yet: a first-in, first-out queue with a limit.
 *
 * A reader that is slow for a moment costs no packet; one that stays slow loses its newest. Thread: the owner.
 */
#ifndef DOPPEL_NET_OUTBOX_H
#define DOPPEL_NET_OUTBOX_H

#include <sys/uio.h>

#include "base/error.h"
#include "base/types.h"

struct outbox_packet;

struct outbox {
	int fd; /* non-blocking; not the outbox's own */
	size_t bytes, limit;
	struct outbox_packet *first, **last;
	uint64_t sent, dropped;
};

void outbox_init(struct outbox *outbox, int fd, size_t limit);
void outbox_finish(struct outbox *outbox);
/* Writes the packet of `count` (at most 4) parts, keeps it for later, or drops it. 0, or -EPIPE when nobody
 * will read any more. */
int outbox_send(struct outbox *outbox, const struct iovec *parts, int count);
/* Writes what can be written now; as outbox_send. */
int outbox_flush(struct outbox *outbox);
static inline bool outbox_waits(const struct outbox *outbox)
{
	return outbox->first != NULL;
}

#endif
