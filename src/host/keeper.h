/*
 * A keeper: a process of its own that keeps the caller's powers, to do one thing when this process has ended, however
 * it ended: remove what a monitor behind its walls, or one that was killed, cannot remove. It hears nothing from the monitor
 * but its end.
 *
 * Thread: the main one, while the process has no other.
 */
#ifndef DOPPEL_HOST_KEEPER_H
#define DOPPEL_HOST_KEEPER_H

#include <sys/types.h>

#include "base/error.h"

struct keeper {
	pid_t pid;
	int socket; /* both 0: none */
};

/* Forks a process without descriptors and terminal, named `name` (at most 15 bytes). Once armed, it calls fn(context) on
 * its copy of memory when this process ends, or keeper_end is called. Not armed, it does nothing and ends as well. */
MUST_USE int keeper_start(struct keeper *keeper, const char *name, void (*fn)(void *context), void *context,
			  struct error *e);
/* Any time, also behind walls. Accepts a zeroed one. */
void keeper_arm(const struct keeper *keeper);
/* For `fn`: calls attempt(context) until that is not -EBUSY, for some seconds: what an ended process had is free a moment after it
 * ended. */
void keeper_insist(int (*attempt)(void *context), void *context);
/* It ends without having done anything; zeroes *keeper, and accepts a zeroed one. */
void keeper_dismiss(struct keeper *keeper);
/* Returns when it has done its work; zeroes *keeper, and accepts a zeroed one. */
void keeper_end(struct keeper *keeper);

#endif
