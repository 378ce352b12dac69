/*
 * The kernel modules that a system on a disk may want, out of the kernel's package.
 *
 * Only what is of use in a virtual machine: file systems, networks, cryptography, virtio; not the drivers of
 * hardware. They belong to no package in the guest, since the kernel is the host's to choose.
 */
#ifndef DOPPEL_IMAGE_MODULES_H
#define DOPPEL_IMAGE_MODULES_H

#include "image/ext4.h"

/* Adds those of the package in the file `path`, if there are any, to the file system; `keep` as in child.h. */
MUST_USE int modules_unpack(struct ext4 *ext4, const char *path, int keep, struct error *e);

#endif
