/* Whole reads and writes at a place of a file. Thread: any; async-signal-safe. */
#ifndef DOPPEL_SNAPSHOT_BYTES_H
#define DOPPEL_SNAPSHOT_BYTES_H

#include "base/error.h"
#include "base/types.h"

/* 0 or a negative errno; -EBADMSG: the file ends before. */
MUST_USE int snapshot_write_at(int fd, const void *bytes, size_t length, uint64_t offset);
MUST_USE int snapshot_read_at(int fd, void *bytes, size_t length, uint64_t offset);

#endif
