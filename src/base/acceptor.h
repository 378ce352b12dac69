/*
 * Takes the clients of a listening socket, on a loop.
 *
 * When the host has no descriptor or memory for one more, clients wait in the socket's queue and are looked at again
 * after a second: the socket stays readable meanwhile, and a loop that asked again at once would do nothing else.
 *
 * Thread: the loop's.
 */
#ifndef DOPPEL_BASE_ACCEPTOR_H
#define DOPPEL_BASE_ACCEPTOR_H

#include "base/loop.h"

/* Memory of the caller, which sets the first three and never touches the rest. */
struct acceptor {
	struct loop *loop;
	void (*came)(void *arg, int fd); /* `fd`: non-blocking, close-on-exec, the callee's */
	void *arg;

	int listener;
	struct loop_watch *watch; /* NULL: it is not started */
	struct loop_timer rest;
	bool wanted;
};

/* The listener stays the caller's. Clients are wanted from now on. */
MUST_USE int acceptor_start(struct acceptor *acceptor, int listener, struct error *e);
/* Harmless when it is not started. */
void acceptor_stop(struct acceptor *acceptor);
/* Whether clients are taken, or wait. Also from `came`. Harmless when it is not started. */
void acceptor_want(struct acceptor *acceptor, bool wanted);

#endif
