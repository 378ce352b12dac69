/*
 * Connecting to FOLDER/N for a guest: done by a process that can do nothing else (wall/wall.h), as a monitor behind its
 * walls connects nowhere. Sockets are looked up inside the folder only: links lead nowhere else.
 *
 * Thread: start and end as wall_spawn wants it; connect on one thread.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_VSOCK_HOST_H
#define DOPPEL_DEVICE_VIRTIO_VSOCK_HOST_H

#include "wall/wall.h"

/* wall_await is due. */
MUST_USE int vsock_host_start(struct wall_process *process, const char *folder, struct error *e);
/* A connected socket (non-blocking, close-on-exec, the caller's), or a negative errno: -ENOENT, -ECONNREFUSED, ...; -EPIPE: the
 * process is gone; -ETIMEDOUT: it did not answer. `number` is another one than that of the call before, whose answer may come
 * late. */
MUST_USE int vsock_host_connect(const struct wall_process *process, uint32_t number, uint32_t port);

#endif
