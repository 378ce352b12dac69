/*
 * What a console opens for itself: a pseudo terminal, or a file for its output. Thread: any.
 */
#ifndef DOPPEL_MACHINE_ENDS_H
#define DOPPEL_MACHINE_ENDS_H

#include "base/error.h"
#include "base/types.h"

/* A new pseudo terminal in raw mode: returns the master and writes the slave's path to `path`; or a negative
 * errno. Nobody has the slave open: poll on the master says POLLHUP until somebody does. */
MUST_USE int pty_open(char *path, size_t size, struct error *e);
/* Opens `path` to append to it, made with mode 0600 when it is not there; or a negative errno. -ENXIO for a
 * named pipe that nobody reads. */
MUST_USE int output_file_open(const char *path, struct error *e);

#endif
