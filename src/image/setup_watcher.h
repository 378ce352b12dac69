/*
 * What the guest of the second stage says, as it comes: how far it is, and whether it got to the end.
 *
 * Thread: the owner's. Ownership: the caller's; nothing to release.
 */
#ifndef DOPPEL_IMAGE_SETUP_WATCHER_H
#define DOPPEL_IMAGE_SETUP_WATCHER_H

#include "image/cache.h"
#include "image/image.h"

#define SETUP_COMMAND_LINE "console=ttyS0 loglevel=4 root=/dev/vda rw doppel.setup"
#define SETUP_MEMORY       (1024 * MIB)
#define SETUP_LIMIT_MS     (60 * 60 * 1000) /* it takes minutes */

struct setup_watcher {
	const char *step; /* as image_progress has it */
	size_t packages, done;
	char line[256];
	size_t used;
	char last[256]; /* the last line that says something */
	bool complete;  /* the guest said so */
	image_progress_fn *progress;
	void *context;
};

void setup_watcher_see(struct setup_watcher *watcher, const void *bytes, size_t size);
void setup_watcher_tell(const struct setup_watcher *watcher);
/* The guest has ended, and well as far as its machine knows: 0, or -EIO with its last words. */
MUST_USE int setup_watcher_judge(const struct setup_watcher *watcher, const char *log, struct error *e);

/* Whether this host has a program that emulates x86-64 machines. */
bool setup_can_emulate(void);
/* As disk_setup's machine, by that program: for hosts whose own engine for x86-64 is missing or emulates. */
MUST_USE int setup_emulate(struct setup_watcher *watcher, const struct cache *cache, const char *disk, const char *log,
			   struct error *e);

#endif
