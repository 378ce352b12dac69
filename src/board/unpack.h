/*
 * Decompression of boot files, into at most as many bytes as the caller has a use for.
 *
 * Concatenated gzip members and zstd frames are one file, as their formats say; other bytes after the last one are
 * ignored (build systems append sizes and signatures). RFC 1952, RFC 8878.
 * Thread: any.
 */
#ifndef DOPPEL_BOARD_UNPACK_H
#define DOPPEL_BOARD_UNPACK_H

#include "board/blob.h"

/* -EBADMSG: damaged or truncated; -EFBIG: more than `limit` bytes; both ERROR_USAGE. -ENOMEM. */
MUST_USE int gzip_unpack(struct blob *out, const uint8_t *bytes, size_t length, uint64_t limit, struct error *e);
MUST_USE int zstd_unpack(struct blob *out, const uint8_t *bytes, size_t length, uint64_t limit, struct error *e);

#endif
