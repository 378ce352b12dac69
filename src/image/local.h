/*
 * Imported images: their files in the cache, and recipes that stand for them. Thread: one at a time.
 */
#ifndef DOPPEL_IMAGE_LOCAL_H
#define DOPPEL_IMAGE_LOCAL_H

#include "image/image.h"
#include "image/manifest.h"

/* What stands where other images have the hash of their recipe: imported ones are never stale. */
#define LOCAL_RECIPE "696d706f727465640000000000000000"

/* The recipe of the imported image `name`, which lives as long as the program; NULL when there is none of that
 * name. */
const struct image_recipe *local_find(const char *name);

#endif
