/*
 * SIGINT, SIGTERM and SIGHUP as events instead of the process's death, while somebody watches. Signals that the
 * process ignores stay ignored.
 *
 * Thread: the owner of the loop. Several loops may watch at once, each is told.
 */
#ifndef DOPPEL_MACHINE_SIGNALS_H
#define DOPPEL_MACHINE_SIGNALS_H

#include "base/loop.h"

struct signals_watch {
	struct loop *loop;
	struct loop_watch *watch;
	void (*fn)(void *opaque, int number);
	void *opaque;
};

/* Calls fn(opaque, number) from `loop` when a signal comes, once. The struct stays where it is until
 * signals_end. */
MUST_USE int signals_begin(struct signals_watch *watch, struct loop *loop, void (*fn)(void *opaque, int number),
			   void *opaque, struct error *e);
void signals_end(struct signals_watch *watch);
/* What came until now is dealt with: whoever watches from now on hears of the next one only. */
void signals_forget(void);

#endif
