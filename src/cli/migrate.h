/*
 * What the parts of the verb migrate share: where a machine goes, the connections to there, and what is done when it
 * has gone or may have.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_MIGRATE_H
#define DOPPEL_CLI_MIGRATE_H

#include <jansson.h>
#include <stdio.h>

#include "cli/endpoint.h"
#include "cli/named.h"

/* Of calls that are answered at once. */
#define MIGRATE_PATIENCE_MS 20000

/* Where it goes, as it was written and as it is reached. */
struct migrate_target {
	const char *to;
	struct endpoint *endpoint;
};

void migrate_pause(long ms);
/* Connections beside the first, for the next call that needs them. */
MUST_USE int migrate_pass_links(struct named *named, const struct migrate_target *target, unsigned count,
				struct error *e);
/* What is left of it here goes when its monitor is gone. */
MUST_USE int migrate_discard(struct named *named, struct error *e);
/* A move that took too long may be in doubt: only the destination can tell then, and is asked for some time. Else,
 * and when it does not answer, `e` stays as it is. *result: of the move. */
MUST_USE int migrate_settle_doubt(struct named *named, const struct migrate_target *target, json_t **result,
				  struct error *e);
/* The call "migrate" to the machine's monitor, which has the connection already; `with` is taken. Tells on stderr how it goes on,
 * unless `quiet`. *result: of the move, a new reference. */
MUST_USE int migrate_watch(struct named *named, json_t *with, bool quiet, json_t **result, struct error *e);
/* A line of what "migrate status" answers. */
void migrate_print(FILE *out, const json_t *progress);
/* A line of how it went. */
void migrate_report(const struct named *named, const char *to, const json_t *result);
/* migrate --recover, which tells the outcome. */
MUST_USE int migrate_recover(struct named *named, const struct migrate_target *target, struct error *e);

#endif
