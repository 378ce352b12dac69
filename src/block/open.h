/*
 * Which image a disk's options mean: the format, the overlay over it, the locks.
 */
#ifndef DOPPEL_BLOCK_OPEN_H
#define DOPPEL_BLOCK_OPEN_H

#include "block/image.h"

MUST_USE int open_stack(struct image **out, const struct block_options *options, struct error *e);

/* AUTO becomes what a file is: ERROR_USAGE where its name and its bytes do not tell it beyond doubt. `trusted`:
 * the bytes alone decide (nobody writes them as long as they are used, and no guest's disk came first). */
MUST_USE int open_find_format(const char *path, bool trusted, enum block_format *format, struct error *e);

/* By the end of the name: .qcow2, .raw, .img; else AUTO. */
enum block_format open_format_of_name(const char *path);

#endif
