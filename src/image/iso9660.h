/*
 * Writes a small ISO 9660 file system (ECMA-119): one directory, names as they are by Rock Ridge (IEEE P1282).
 *
 * Equal contents make equal images: there are no times in it. Thread: any.
 */
#ifndef DOPPEL_IMAGE_ISO9660_H
#define DOPPEL_IMAGE_ISO9660_H

#include "base/error.h"
#include "base/types.h"

#define ISO9660_FILES_MAX 8

struct iso9660_file {
	const char *name; /* at most 64 bytes, no slash */
	const void *bytes;
	size_t size;
};

/* *bytes is the caller's to free(), a multiple of 2048 in size. `label`: at most 32 capital letters, digits and
 * underscores. -E2BIG: too many files; -ENAMETOOLONG; -EFBIG: more than 64 MiB; -ENOMEM. */
MUST_USE int iso9660_make(const char *label, const struct iso9660_file *files, size_t count, uint8_t **bytes,
			  size_t *size);

#endif
