/*
 * The directory of one image in the user's cache, and the lock that whoever changes it holds.
 *
 * $XDG_CACHE_HOME/doppel/images/NAME holds the files kernel, initramfs and manifest, packages/ with what was
 * downloaded, and apt/ (apt's private root) while a pull is under way. The lock file .NAME.lock beside it stays.
 * Thread: the owner's.
 */
#ifndef DOPPEL_IMAGE_CACHE_H
#define DOPPEL_IMAGE_CACHE_H

#include <limits.h>

#include "base/error.h"
#include "base/types.h"

struct cache {
	char directory[PATH_MAX - 256]; /* room for the names within it */
	int lock;                       /* -1: not held */
};

/* Works out where the image is; touches nothing. Fails when there is neither an absolute XDG_CACHE_HOME nor
 * HOME. */
MUST_USE int cache_open(struct cache *cache, const char *name, struct error *e);
/* Makes the directory and takes the lock. When someone else has it: waits, or fails with -EAGAIN. */
MUST_USE int cache_lock(struct cache *cache, bool wait, struct error *e);
/* Releases the lock, if it is held. */
void cache_close(struct cache *cache);

/* The path of `name` in the image's directory; `name` has at most 200 bytes. */
void cache_path(const struct cache *cache, const char *name, char out[PATH_MAX]);
/* Makes the directory `name` in it, when it is not there; its parent must be. */
MUST_USE int cache_directory(const struct cache *cache, const char *name, struct error *e);

/* Removes what is at `name` in it ("": all of it), recursively, without following links or leaving its file
 * system. -ENOENT when nothing is there. */
MUST_USE int cache_remove(const struct cache *cache, const char *name, struct error *e);
/* Bytes on disk of all in it; 0 when it is not there. */
uint64_t cache_bytes(const struct cache *cache);
/* Fails with the remedy when the file system has less than `bytes` left. */
MUST_USE int cache_room(const struct cache *cache, uint64_t bytes, struct error *e);

#endif
