/*
 * Runs another program, without a shell, and reads what it says.
 *
 * The program is found in PATH and runs in the C locale with standard input from /dev/null. Its standard output
 * goes to `output`, lines that it writes on descriptor CHILD_STATUS_FD go to `status`; of its standard error the
 * first complaint becomes the message of the failure. Thread: any; blocks until the program has ended.
 */
#ifndef DOPPEL_IMAGE_CHILD_H
#define DOPPEL_IMAGE_CHILD_H

#include "base/error.h"
#include "base/types.h"

#define CHILD_STATUS_FD 3

struct child {
	const char *const *arguments; /* arguments[0] is the program; NULL after the last */
	const char *directory;        /* where it runs; NULL: here */
	int keep; /* a descriptor that it inherits, so that a lock outlives us with it; -1: none */
	/* A negative errno ends the program and becomes the result. NULL: output is dropped. */
	int (*output)(void *context, const uint8_t *bytes, size_t size);
	/* One line without its newline; longer ones than 1 KiB are dropped. NULL: no such descriptor. */
	void (*status)(void *context, const char *line);
	void *context;
};

/* 0 when it exited with status 0. -ENOENT, ERROR_NOT_FOUND: there is no such program; -EIO: it failed, the
 * message is "<program>: <its complaint>"; what `output` returned (`e` is left to that function). */
MUST_USE int child_run(const struct child *child, struct error *e);

/* Runs it and collects its standard output, at most `limit` bytes (-EFBIG above), as a string: *text is
 * the caller's to free(). `output`, `status` and `context` of the child are not used. */
MUST_USE int child_read(const struct child *child, size_t limit, char **text, struct error *e);

#endif
