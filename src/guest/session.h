/*
 * One session of the program in the guest: a connection, from HELLO to its end.
 *
 * Thread: a process of its own with one thread, which it changes for good: it becomes the subreaper of what it starts and
 * ignores SIGPIPE.
 */
#ifndef DOPPEL_GUEST_SESSION_H
#define DOPPEL_GUEST_SESSION_H

#include "guest/wire.h"

/* Serves the connection and returns when it is over: 0, or why it broke off. When the other side leaves amid a command,
 * nothing of the command is left. `power` (NULL: not allowed) switches the machine off. */
int session_serve(int fd, int (*power)(void), struct error *e);

/* The requests; the frame is what came with them. A request that fails has told the other side. */
MUST_USE int session_exec(struct wire *wire, const struct wire_frame *request, struct error *e);
MUST_USE int session_put(struct wire *wire, const struct wire_frame *request, struct error *e);
MUST_USE int session_get(struct wire *wire, const struct wire_frame *request, struct error *e);

/* Tells the other side "TEXT: the error", and returns `code`. */
int session_fail(struct wire *wire, int code, const char *text, struct error *e);

#endif
