/*
 * Makes an ext4 file system in a sparse file and fills it, as an ordinary user and without mounting anything.
 *
 * mke2fs makes it, libext2fs fills it. Paths are relative to its top, without a leading slash; symbolic links on
 * the way are followed within the file system, "" is the top itself. Parents must be there. A file or link
 * replaces what had its name, unless that is a directory.
 *
 * Functions that fill return 0 or a negative errno: -ENOSPC when the file system is full, -ENOENT without the
 * parent, -ENOTDIR, -EISDIR, -ELOOP, -ENAMETOOLONG, -EIO. Thread: the owner's.
 */
#ifndef DOPPEL_IMAGE_EXT4_H
#define DOPPEL_IMAGE_EXT4_H

#include "base/error.h"
#include "base/types.h"

struct ext4;

struct ext4_attributes {
	uint32_t mode; /* permissions: 07777 at most */
	uint32_t user, group;
	int64_t modified; /* seconds since 1970 */
};

/* Makes (or replaces) the file `path` of `size` bytes with an empty file system called `label`; `keep` is
 * inherited by mke2fs, see child.h. -ENOENT, ERROR_NOT_FOUND: there is no mke2fs. */
MUST_USE int ext4_new(struct ext4 **out, const char *path, uint64_t size, const char *label, int keep,
		      struct error *e);
/* Writes what is not yet on disk and closes. The struct is gone, also after a failure. */
MUST_USE int ext4_finish(struct ext4 *ext4, struct error *e);
/* Closes a file system that nobody will use. Accepts NULL. */
void ext4_free(struct ext4 *ext4);

/* A directory that is there, or a link to one, stays as it is, but for the top, which gets the attributes. */
MUST_USE int ext4_directory(struct ext4 *ext4, const char *path, const struct ext4_attributes *attributes);
MUST_USE int ext4_file(struct ext4 *ext4, const char *path, const struct ext4_attributes *attributes,
		       const void *bytes, size_t size);
MUST_USE int ext4_link(struct ext4 *ext4, const char *path, const struct ext4_attributes *attributes,
		       const char *target);
/* Another name for the file that is at `target`. */
MUST_USE int ext4_hard_link(struct ext4 *ext4, const char *path, const char *target);

#endif
