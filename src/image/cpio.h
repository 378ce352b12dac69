/*
 * Writes a cpio archive in the "new ASCII" form (magic 070701), which kernels unpack as initial file system.
 *
 * Parents come before what is in them. Owner is root, times are 0: equal contents make equal archives.
 * Errors are sticky: the calls after a failure do nothing, and cpio_finish tells. Thread: the caller's.
 */
#ifndef DOPPEL_IMAGE_CPIO_H
#define DOPPEL_IMAGE_CPIO_H

#include "base/error.h"
#include "base/types.h"

struct cpio;

struct cpio *cpio_new(void); /* NULL when memory is short */
void cpio_free(struct cpio *cpio);

/* `path` is relative, without "./": "bin/busybox". */
void cpio_directory(struct cpio *cpio, const char *path, unsigned mode);
void cpio_file(struct cpio *cpio, const char *path, unsigned mode, const void *bytes, size_t size);
void cpio_link(struct cpio *cpio, const char *path, const char *target);
void cpio_character_device(struct cpio *cpio, const char *path, unsigned mode, unsigned major, unsigned minor);

/* Ends the archive, padded to 512 bytes: *bytes is the caller's to free(). -EFBIG: a name or content too long
 * for the form; -ENOMEM. Nothing may be added after it. */
MUST_USE int cpio_finish(struct cpio *cpio, uint8_t **bytes, size_t *size);

#endif
