/*
 * What an image takes out of its packages: the kernel, busybox and the modules.
 *
 * dpkg-deb unpacks each package into a pipe; only what is needed stays, in memory (some 150 MB until the modules
 * that nobody wants are freed). Thread: the owner's.
 */
#ifndef DOPPEL_IMAGE_CONTENTS_H
#define DOPPEL_IMAGE_CONTENTS_H

#include "image/image.h"
#include "image/module.h"

struct contents {
	uint8_t *kernel, *busybox;
	size_t kernel_size, busybox_size;
	char release[128]; /* as `uname -r` tells it in the guest; also the name of the modules' directory */
	struct module_set modules;
	uint64_t unpacked; /* bytes so far */
	/* Called as `unpacked` grows, when set. */
	void (*progress)(void *context, uint64_t unpacked);
	void *context;
};

/* Adds what is in the package at `path`; `keep` is inherited by dpkg-deb. Start from all zero but for the
 * progress. */
MUST_USE int contents_read(struct contents *contents, const char *path, int keep, struct error *e);
/* Whether all is there, and which modules are wanted. */
MUST_USE int contents_complete(struct contents *contents, const struct image_recipe *recipe, struct error *e);
void contents_finish(struct contents *contents);

#endif
