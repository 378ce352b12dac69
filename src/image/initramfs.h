/*
 * The initial file system of a guest: busybox, the programs of guest/, and kernel modules.
 *
 * It is not compressed: unpacking costs a translated or interpreted guest more than reading three megabytes
 * costs the host. Modules stay packed as Debian packs them; the guest's kernel unpacks one when it loads it.
 */
#ifndef DOPPEL_IMAGE_INITRAMFS_H
#define DOPPEL_IMAGE_INITRAMFS_H

#include "image/contents.h"

/* A file of guest/, compiled in. */
struct guest_file {
	const char *path; /* in the guest, without leading slash */
	unsigned mode;
	const unsigned char *bytes;
	const size_t *size;
	const char *arch; /* only for guests of this one; NULL: of any */
};
/* Whether it is for guests of the architecture. */
bool initramfs_carries(const struct guest_file *file, enum engine_arch arch);
extern const struct guest_file guest_files[];
extern const size_t guest_files_count;

/* *bytes is the caller's to free(). Complete contents of host's packages go in, a cpio archive comes out. */
MUST_USE int initramfs_make(const struct contents *contents, enum engine_arch arch, uint8_t **bytes, size_t *size,
			    struct error *e);

#endif
