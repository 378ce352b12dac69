/*
 * An image that is written goes under an overlay, while it is open.
 */
#ifndef DOPPEL_BLOCK_FREEZE_H
#define DOPPEL_BLOCK_FREEZE_H

#include "block/image.h"

/* As block_freeze; on success *image is the overlay, and has the former one as its backing. */
MUST_USE int freeze_under(struct image **image, int fd, const char *path, struct error *e);

#endif
