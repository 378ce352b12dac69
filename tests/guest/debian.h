/*
 * Debian's kernel for tests in C: the files of the image debian-tiny, and a seed that can be given again.
 */
#ifndef DOPPEL_TESTS_DEBIAN_H
#define DOPPEL_TESTS_DEBIAN_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/engine.h"
#include "image/image.h"

#define DEBIAN_SKIPPED 77 /* exit status that meson knows */

/* Ends the test as skipped when the image is not there; `doppel image pull debian-tiny` makes it. */
static inline void debian_find(struct image *image)
{
	const struct image_recipe *recipe;
	struct error e;

	recipe = image_recipe_find("debian-tiny", NULL, &e);
	if (recipe && image_find(recipe, image, &e) == 0)
		return;
	printf("1..0 # SKIP %s\n", e.message);
	exit(DEBIAN_SKIPPED);
}

/* The engine, or NULL when it can not run here. */
static inline const struct engine *debian_engine(const char *name)
{
	const struct engine *engine = engine_find(name);
	struct engine_report report = {.usable = false};

	if (engine)
		engine->probe(&report);
	return report.usable ? engine : NULL;
}

/* DOPPEL_SEED, or a new one; told on standard error. */
static inline uint64_t debian_seed(void)
{
	const char *given = getenv("DOPPEL_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

	fprintf(stderr, "DOPPEL_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* splitmix64 */
static inline uint64_t debian_random(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

#endif
