/*
 * Copies large files of which most is holes: a disk, say. Thread: any.
 */
#ifndef DOPPEL_IMAGE_COPY_H
#define DOPPEL_IMAGE_COPY_H

#include "base/error.h"
#include "base/types.h"

/* Makes `to`, which must not be there (-EEXIST), a copy of the regular file `from`; what is a hole there
 * becomes one here. Where the file system can share blocks they are shared. It gets its name when it is whole.
 * `progress` (may be NULL) is called with bytes copied, out of those that are no holes. */
MUST_USE int copy_file(const char *from, const char *to, void (*progress)(void *context, uint64_t done, uint64_t total),
		       void *context, struct error *e);

#endif
