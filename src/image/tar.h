/*
 * Reads a tar stream as it arrives and hands over the regular files that someone wants.
 *
 * Knows what dpkg-deb writes: ustar headers and GNU long names. Headers are checked by their checksum; POSIX
 * extended headers (which could rename what follows) and sparse files are refused, everything that is not a
 * regular file is passed over. A file that is wanted may have TAR_FILE_MAX bytes. Thread: the caller's.
 */
#ifndef DOPPEL_IMAGE_TAR_H
#define DOPPEL_IMAGE_TAR_H

#include "base/error.h"
#include "base/types.h"

#define TAR_FILE_MAX ((uint64_t)256 << 20)

struct tar_visitor {
	/* Whether `take` shall be called for the regular file `path` (a leading "./" is gone). */
	bool (*want)(void *context, const char *path);
	/* `bytes` is now the visitor's to free(), never NULL. A negative errno ends the reading with it. */
	int (*take)(void *context, const char *path, uint8_t *bytes, size_t size);
	void *context;
};

struct tar;

struct tar *tar_new(const struct tar_visitor *visitor); /* NULL when memory is short */
void tar_free(struct tar *tar);

/* The next piece of the stream, of any size. -EBADMSG: no tar; -EFBIG, -ENOMEM; what `take` returned. */
MUST_USE int tar_feed(struct tar *tar, const void *bytes, size_t size);
/* Whether the stream ended where an archive may: 0 or -EBADMSG. */
MUST_USE int tar_end(const struct tar *tar);

#endif
