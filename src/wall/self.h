/*
 * Walls around this process: what a monitor gives up once its machine is made, thread by thread.
 *
 * Every thread gets no new privileges, no capabilities, an own user when the process began as root, Landlock, and the
 * seccomp filter of its kind (base/threads.h; self_calls.c says which calls and why). Any other call is not made, is told in
 * one line of the log, and ends the process by SIGSYS.
 * Descriptors that are open stay; no path is reachable any more. The process is not dumpable: no core dump, and
 * nobody but root traces it or reads its memory. Threads started later are behind the same walls, and their own
 * kind's filter.
 *
 * Some calls fail instead of ending the process, where libraries or destructors make them: openat, unlink and kill
 * (ENOSYS). What must be done with the caller's powers afterwards is done by a keeper (host/keeper.h) from before.
 *
 * Thread: the main one, while the process has no threads but those of thread_start; once in a process.
 */
#ifndef DOPPEL_WALL_SELF_H
#define DOPPEL_WALL_SELF_H

#include <stdbool.h>

#include "base/error.h"
#include "base/threads.h"
#include "base/types.h"

/* Best before other threads are started, which then need not: no program that this process could execute has any power any
 * more. What the process itself may do stays. */
void wall_self_begin(void);
/* `folder`: a descriptor of the one folder where the main thread can still make, write and remove files, by that
 * descriptor; as root it becomes the new user's. -1: none. `last` (may be NULL): called in a signal handler, on any thread,
 * before a forbidden call ends the process. Fails only where power would be kept that can be given up. What
 * the host does not give is missing in wall_self_parts. */
MUST_USE int wall_self_put_up(int folder, void (*last)(void), struct error *e);
bool wall_self_is_up(void);

/* WALL_* (wall.h) that hold on every thread of the kind, and their number so far; 0 before wall_self_put_up. Any
 * thread. */
unsigned wall_self_parts(enum thread_kind kind, unsigned *threads);
/* Those that hold on all threads so far. */
unsigned wall_self_parts_of_all(void);
/* What there is to hold: WALL_* without those that are for processes apart. */
#define WALL_SELF_ALL                                                                                              \
	(WALL_NO_NEW_PRIVILEGES | WALL_SECCOMP | WALL_LANDLOCK | WALL_CAPABILITIES | WALL_USER | WALL_LIMITS)

#endif
