/*
 * Messages with which descriptors go to another process (SCM_RIGHTS, unix(7)).
 *
 * Thread: any.
 */
#ifndef DOPPEL_BASE_PASS_H
#define DOPPEL_BASE_PASS_H

#include "base/error.h"
#include "base/types.h"

#define PASS_MOST 4 /* descriptors with one message */

/* Sends the `size` (1 or more) bytes with `count` descriptors, which stay the caller's. 0, -EPIPE when only some of the
 * bytes went, or a negative errno. */
MUST_USE int pass_send(int socket, const void *bytes, size_t size, const int *fds, size_t count);

/* Receives `size` bytes with up to `most` descriptors, which are the caller's and close-on-exec; how many there are is
 * returned. flags: 0 or MSG_DONTWAIT. -EPROTO when fewer bytes or more descriptors came: none is kept then; a negative
 * errno. */
MUST_USE int pass_receive(int socket, void *bytes, size_t size, int *fds, size_t most, int flags);

#endif
