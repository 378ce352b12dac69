/*
 * Which mirror of Debian this host uses.
 *
 * apt itself is asked, so every form of sources and every setting of the host counts, and nothing is parsed
 * twice: first the index files that it has, by origin; when it has none (a fresh container), what an update
 * would fetch.
 */
#ifndef DOPPEL_IMAGE_MIRROR_H
#define DOPPEL_IMAGE_MIRROR_H

#include "base/error.h"
#include "base/types.h"

#define MIRROR_SIZE 512

/* The base URI of a repository with Debian's component main. -ENOENT, ERROR_NOT_FOUND: this host has none. */
MUST_USE int mirror_find(char uri[MIRROR_SIZE], struct error *e);

/* The two judgements, on the text that apt printed; false when nothing fits. */
bool mirror_from_targets(const char *text, char uri[MIRROR_SIZE]);
bool mirror_from_update(const char *text, char uri[MIRROR_SIZE]);

#endif
