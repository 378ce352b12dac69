/*
 * The log of a machine's console: a file that output is appended to, by a thread of its own.
 *
 * A file that has CONSOLE_LOG_SIZE bytes is put aside: copied over PATH.1, then emptied, so that both together hold at
 * least the latest CONSOLE_LOG_SIZE bytes and never more than twice that. Only descriptors that were opened at first are
 * used: walls that forbid to open or rename files do no harm. Who follows the file and sees it shrink finds the rest of
 * what it had not read yet in PATH.1.
 *
 * Nothing here ever slows the guest. What the host has no room for, or what comes faster than the disk takes it, is left
 * out, and a line in the log says how much.
 */
#ifndef DOPPEL_MACHINE_CONSOLE_LOG_H
#define DOPPEL_MACHINE_CONSOLE_LOG_H

#include "machine/tape.h"

#define CONSOLE_LOG_SIZE (4 * MIB)

struct console_log;

/* Appends what is written to the tape from now on to `path`, made with mode 0600 when it is not there. `size`: in place of
 * CONSOLE_LOG_SIZE; 0: that. The tape outlives it. -EINVAL for a path that is no regular file, -ELOOP for a link. */
MUST_USE int console_log_new(struct console_log **out, struct tape *tape, const char *path, uint64_t size,
			     struct error *e);
/* Writes what is on the tape first; accepts NULL. */
void console_log_free(struct console_log *log);

#endif
