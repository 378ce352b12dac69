/*
 * An image whose machine moves between processes, or hosts that share its file: opened beside the one that writes
 * it, read again when that has written all, and written by this one when it is its own. See block.h.
 */
#ifndef DOPPEL_BLOCK_MOVING_H
#define DOPPEL_BLOCK_MOVING_H

#include "block/image.h"

/* Opens the image anew over the same file and locks it: `alone`, or beside whoever has it. It can not be written
 * yet. */
MUST_USE int moving_refresh(struct image **image, bool alone, struct error *e);

#endif
