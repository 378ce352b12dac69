/*
 * What machines tell about their load, asked again and again. A monitor may be in its guest's hands: nobody waits for one
 * that does not answer, and what one says is judged by who reads it (figures.h).
 *
 * All are asked at once, and poll tells who answers. A machine that did not is asked less and less often; an answer that is
 * late counts in a later round.
 *
 * Thread: one at a time.
 */
#ifndef DOPPEL_CLI_WATCH_H
#define DOPPEL_CLI_WATCH_H

#include <jansson.h>

#include "registry/registry.h"

struct watch;

/* What is known about a machine. */
struct watched {
	struct record record;
	json_t *before, *now; /* the last two answers; NULL: not yet */
	char trouble[160];    /* why there is no fresh one; empty otherwise */
};

/* Of the machines that these mean (as registry_find), or of all that live in each round when there are none. -ENOENT,
 * -ENOTUNIQ. */
MUST_USE int watch_new(struct watch **out, const char *const *names, size_t count, struct error *e);
/* Accepts NULL. */
void watch_free(struct watch *watch);
/* Asks all machines once, and waits until they have answered, but no longer than that. */
MUST_USE int watch_round(struct watch *watch, unsigned patience_ms, struct error *e);
/* By name; valid until the next round. */
size_t watch_count(const struct watch *watch);
const struct watched *watch_machine(const struct watch *watch, size_t index);

#endif
