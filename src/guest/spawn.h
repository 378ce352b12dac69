/*
 * Starts a command in the guest: as a user, in a folder, on pipes or a terminal, the leader of a session of its own.
 *
 * Thread: the session's, which is a process with one thread.
 */
#ifndef DOPPEL_GUEST_SPAWN_H
#define DOPPEL_GUEST_SPAWN_H

#include <sys/types.h>

#include "guest/account.h"
#include "guest/protocol.h"

struct spawned {
	pid_t pid; /* and its process group */
	int pidfd; /* readable when it has ended */
	/* Our ends, non-blocking; with a terminal `in` and `out` are its master, `err` is -1. */
	int in, out, err;
};

/* -ENOENT means that there is no such command; what else is not there (a user, a folder) is -EINVAL. */
MUST_USE int spawn(const struct guest_command *command, struct spawned *out, struct error *e);
/* Kills all that came of this process's children, which it must be the subreaper of, and returns when they are gone. */
void spawn_kill_all(void);

#endif
