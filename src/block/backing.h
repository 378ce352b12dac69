/*
 * Backing files: where the name in an image leads to, and how far it may.
 */
#ifndef DOPPEL_BLOCK_BACKING_H
#define DOPPEL_BLOCK_BACKING_H

#include "block/image.h"

/* Opens, read-only, what the image at `path` calls its backing file. A name is relative to the image's folder
 * and, unless options->backing_anywhere, must stay inside it: not by "..", not by an absolute path, not through
 * a symbolic link (-EACCES, ERROR_PERMISSION). -ELOOP: the chain is too long. */
MUST_USE int backing_open(struct image **out, const char *path, const char *name, enum block_format format,
			  const struct image_options *options, struct error *e);
/* The name's path as seen from here, in heap memory; NULL: no memory. */
char *backing_path(const char *path, const char *name);

#endif
