/*
 * Overlays: a qcow2 image over a base that stays untouched.
 */
#ifndef DOPPEL_BLOCK_OVERLAY_H
#define DOPPEL_BLOCK_OVERLAY_H

#include "block/image.h"

/* The base belongs to the overlay on success. `path`: of the overlay, made when absent; NULL: a temporary file. Of
 * `as`, direct and incoming count. The base's path and format are written into a new one. ERROR_STATE: there is
 * one, of another base. */
MUST_USE int overlay_open(struct image **out, struct image *base, enum block_format base_format, const char *path,
			  const struct image_options *as, struct error *e);

#endif
