/*
 * The image of a machine with a name, in the machine's own folder: its disk, to be written to, and what belongs to it. So the
 * machine stays as it was created when the image is made anew, deleted, or updated: a kernel and the modules on the disk
 * fit together. The files are named as image_export names them; `append` is there when all of them are.
 *
 * Thread: the main one; whoever holds the machine's lock.
 */
#ifndef DOPPEL_CLI_MACHINE_IMAGE_H
#define DOPPEL_CLI_MACHINE_IMAGE_H

#include <stdbool.h>

#include "image/image.h"

/* What is not the disk. */
#define MACHINE_IMAGE_FILES 3
extern const char *const machine_image_files[MACHINE_IMAGE_FILES];

/* Copies the files of `image` into `folder`: what is not written to without room, by a link, where that is possible. Goes on
 * where another call was cut off. */
MUST_USE int machine_image_make(const struct image *image, const char *folder, struct error *e);

/* 1 with *out, to which image_finish is due; 0 when the folder does not hold all of an image. */
MUST_USE int machine_image_find(const char *folder, struct image *out, struct error *e);

#endif
