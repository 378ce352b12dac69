/*
 * Whole files: read into memory with a limit, written so that a reader sees the old file or the new one. Whole reads and
 * writes at a place of one. And the end of writing one by hand.
 *
 * Messages name the path, the reason and the remedy. Thread: any.
 */
#ifndef DOPPEL_BASE_FILE_H
#define DOPPEL_BASE_FILE_H

#include <limits.h>

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

/* FOLDER/NAME. -ENAMETOOLONG when that does not fit; `path` is untouched then. */
MUST_USE int file_path(const char *folder, const char *name, char path[PATH_MAX], struct error *e);

/* After the last byte of a file: flushes it to disk and closes `fd`, which it does in any case. `r`: how the writing went; a
 * negative one, which has told *e why, is returned, and nothing is flushed. `path` is for the message. */
MUST_USE int file_finish(int fd, const char *path, int r, struct error *e);

/* Flushes the names in a folder to disk: without this a crash of the host could forget a rename. A file system that can not
 * do it has nothing better, so nothing is told. */
void file_flush_folder(const char *folder);

#endif
