/*
 * virtio-fs (Virtio 1.2, 5.11): carries FUSE between the guest and a shared folder's server, and knows nothing of it.
 *
 * A request goes to the server straight from the guest's spans, its reply straight into them; what the server says is
 * checked as what the guest says is. When the server dies, what is in flight fails with EIO and the device asks for a
 * reset; after that it answers EIO to all. The machine lives on. So it does when a pause or a reset waits for a server that
 * does not answer (the host's file system hangs): after five seconds the server is ended.
 *
 * The server's knowledge (which number is which file) is not part of the machine's state: after a load the guest's open
 * files and cached names answer "stale file handle" until it mounts again.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_FS_H
#define DOPPEL_DEVICE_VIRTIO_FS_H

#include "device/virtio/virtio.h"
#include "share/share.h"

#define VIRTIO_FS_TAG_BYTES 36

/* `tag`: what the guest mounts, 1 to 36 bytes. `share` becomes the device's, also on failure. */
MUST_USE int virtio_fs_new(struct virtio **out, const char *name, struct worker *worker, const char *tag,
			   struct share *share, struct error *e);

extern const struct device_type virtio_fs_type;

#endif
