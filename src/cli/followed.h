/*
 * The events of machines, of those that start later too: connected to the monitors that there are, looking out for new ones.
 *
 * Thread: one at a time.
 */
#ifndef DOPPEL_CLI_FOLLOWED_H
#define DOPPEL_CLI_FOLLOWED_H

#include <jansson.h>

#include "base/error.h"
#include "base/types.h"

struct followed;

/* Follows the machines that `names` mean (registry_find), or all when there are none. */
MUST_USE int followed_new(struct followed **out, const char *const *names, size_t count, struct error *e);
void followed_free(struct followed *followed); /* accepts NULL */
/* Waits for the next event: a new reference. -EPIPE (ERROR_FAILED): a monitor cut us off, because we were too slow. -ENODATA: all
 * that were named are removed, and nothing will come any more. */
MUST_USE int followed_next(struct followed *followed, json_t **event, struct error *e);

#endif
