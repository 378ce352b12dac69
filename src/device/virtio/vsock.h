/*
 * virtio-vsock (Virtio 1.2, 5.10): stream sockets between the guest and programs on the host, which meet them as Unix
 * sockets in one folder.
 *
 *   guest to host   the guest connects to CID 2, port N: the device connects to FOLDER/N, where a host's service
 *                   listens
 *   host to guest   a host's program connects to FOLDER/guest and writes "CONNECT N\n"; it reads "OK M\n" once the
 *                   guest's program at port N has accepted (M: the port it sees), or end of file if none did
 *
 * Credit both ways: the guest may send as much ahead as the device buffers (VSOCK_BUFFER), and gets no more than it
 * has room for. Who does not read holds up only his own connection. Connections do not survive a snapshot: after a load
 * the guest is told so.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_VSOCK_H
#define DOPPEL_DEVICE_VIRTIO_VSOCK_H

#include "device/virtio/virtio.h"

#define VSOCK_CID_MIN         3 /* below are the hypervisor's, the local and the host's */
#define VSOCK_CID_MAX         UINT32_C(0xfffffffe)
#define VSOCK_CONNECTIONS_MAX 512 /* a descriptor each, of the 1024 that a process has by default */
#define VSOCK_BUFFER          (256 * KIB)

/* Makes FOLDER when it is not there (mode 0700) and FOLDER/guest in it; a socket that a dead monitor left there is
 * replaced, one that is in use is not: -EADDRINUSE. */
MUST_USE int virtio_vsock_new(struct virtio **out, const char *name, struct worker *worker, uint32_t cid,
			      const char *folder, struct error *e);

/* Waits for the device's process, which is still on its way when virtio_vsock_new returns, and serves a guest that runs already
 * once it is behind its walls. When it fails, the device is only good to be destroyed. */
MUST_USE int virtio_vsock_await(struct virtio *virtio, struct error *e);
/* A stream socket as if it had connected to FOLDER/guest; non-blocking, close-on-exec, the caller's. Any thread but the
 * worker. */
MUST_USE int virtio_vsock_dial(struct virtio *virtio, int *fd);

extern const struct device_type virtio_vsock_type;

#endif
