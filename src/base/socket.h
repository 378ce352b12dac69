/*
 * Unix sockets in the file system.
 *
 * Thread: any. Descriptors are non-blocking and close-on-exec, and the caller's.
 */
#ifndef DOPPEL_BASE_SOCKET_H
#define DOPPEL_BASE_SOCKET_H

#include "base/error.h"
#include "base/types.h"

/* Listens at `path` (SOCK_STREAM); *fd is the socket, to be closed after the path was unlinked. What a dead process left
 * there is replaced; where somebody answers: -EADDRINUSE (ERROR_STATE). A path that is longer than an address takes:
 * -ENAMETOOLONG. Anything that is no socket stays: -EEXIST. */
MUST_USE int socket_listen(const char *path, int *fd, struct error *e);

/* Connects to `path` (SOCK_STREAM). -ECONNREFUSED, -ENOENT, -EAGAIN (its queue is full), -ENAMETOOLONG. */
MUST_USE int socket_connect(const char *path, int *fd);

/* As the two above for the socket `name` in a folder, an open descriptor, however long its path is (they go through
 * /proc/self/fd). Listening takes the place of whatever socket is there without asking whether it answers: for the only
 * one who may listen in that folder. Connecting waits `timeout_ms` (above 0) while the queue is full: -EAGAIN. */
MUST_USE int socket_listen_at(int folder, const char *name, int *fd, struct error *e);
MUST_USE int socket_connect_at(int folder, const char *name, int timeout_ms, int *fd);

#endif
