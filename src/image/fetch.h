/*
 * Runs apt's programs that transfer something, with progress, and downloads archives that an index lists.
 *
 * A part of an archive that is there from before is continued where the mirror can do that; a whole one counts
 * only when its SHA-256 is that of the signed index. Thread: the owner's.
 */
#ifndef DOPPEL_IMAGE_FETCH_H
#define DOPPEL_IMAGE_FETCH_H

#include "image/apt.h"
#include "image/cache.h"
#include "image/image.h"

struct fetch {
	const struct cache *cache;
	image_progress_fn *progress; /* may be NULL */
	void *context;
	struct image_progress now;
	uint64_t size; /* of what is transferred; 0: not known */
};

/* Runs a program of apt that was told APT::Status-Fd=3, in the cache's packages/, as the step `step`, which
 * transfers `size` bytes (0: unknown). A failure tells what to do about it. */
MUST_USE int fetch_run(struct fetch *fetch, const char *const *arguments, const char *step, uint64_t size,
		       struct error *e);

/* Brings every archive into the cache's packages/, verified. `conf` is apt's configuration. */
MUST_USE int fetch_packages(struct fetch *fetch, const char *conf, const struct apt_packages *packages,
			    struct error *e);

/* For tests: the percentage of a line on apt's status descriptor, in thousandths; -1 when it has none. */
int fetch_parse_status(const char *line);

#endif
