/*
 * The log of a machine's console, or of its monitor, as it is read while it is written: its end, and what comes.
 *
 * Files are put aside as machine/console_log.h says: FILE.1 has what came before FILE.
 *
 * Thread: one at a time.
 */
#ifndef DOPPEL_CLI_LOG_TAIL_H
#define DOPPEL_CLI_LOG_TAIL_H

#include <sys/types.h>

#include "base/error.h"
#include "base/types.h"

struct log_tail;

/* -ENOENT (ERROR_NOT_FOUND) when there is no such file in the folder, a descriptor that stays the caller's. */
MUST_USE int log_tail_open(struct log_tail **out, int folder, const char *file, struct error *e);
void log_tail_close(struct log_tail *tail); /* accepts NULL */

/* Begins with the last `lines` lines of what there is; else with all. */
void log_tail_skip(struct log_tail *tail, uint64_t lines);
/* The next bytes, `room` at most; 0: no more now. Negative errno. */
MUST_USE ssize_t log_tail_read(struct log_tail *tail, uint8_t *bytes, size_t room, struct error *e);

#endif
