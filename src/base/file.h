/*
 * Whole files: read into memory with a limit, written so that a reader sees the old file or the new one. And whole reads and
 * writes at a place of one.
 *
 * Messages name the path, the reason and the remedy. Thread: any.
 */
#ifndef DOPPEL_BASE_FILE_H
#define DOPPEL_BASE_FILE_H

#include "base/error.h"
#include "base/types.h"

/* Reads all of `path` into fresh heap memory, *bytes, the caller's to free(); it is never NULL on success and has a NUL
 * byte after the last. -EFBIG when the file is longer than `limit` bytes, -EISDIR for a directory, other
 * negative errno. Regular files, pipes and devices are all read to their end. */
MUST_USE int file_read(const char *path, size_t limit, uint8_t **bytes, size_t *size, struct error *e);

/* Replaces `path` by a file of mode `mode` with these bytes, or makes it: written aside in the same directory, flushed
 * to disk, renamed. On failure the old file is as it was and nothing is left behind. */
MUST_USE int file_write(const char *path, const void *bytes, size_t size, unsigned mode, struct error *e);

/* All of the bytes at `offset` of an open file: 0 or a negative errno; -EBADMSG: the file ends before. Async-signal-safe. */
MUST_USE int file_read_at(int fd, void *bytes, size_t length, uint64_t offset);
MUST_USE int file_write_at(int fd, const void *bytes, size_t length, uint64_t offset);

#endif
