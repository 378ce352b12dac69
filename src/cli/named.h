/*
 * A machine with a name, as a verb of the command line deals with it: found by what the user wrote, its record, and a
 * connection to its monitor when one is wanted.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_NAMED_H
#define DOPPEL_CLI_NAMED_H

#include "cli/arguments.h"
#include "control/client.h"
#include "registry/registry.h"

struct named {
	struct registry *registry;     /* the caller's */
	char name[REGISTRY_NAME_SIZE];
	struct record record;          /* as it was when the machine was found */
	struct control_client *client; /* NULL before named_connect */
};

/* `text` is a name or what only one name begins with. -ENOENT, -ENOTUNIQ. named_close is due after 0. */
MUST_USE int named_open(struct named *named, struct registry *registry, const char *text, struct error *e);
void named_close(struct named *named);

/* Without a monitor: -EBUSY (ERROR_STATE), "web is stopped and can not be <what>; ...". */
MUST_USE int named_connect(struct named *named, const char *what, struct error *e);
/* Connects if need be, and calls (control_request); `with` is taken. */
MUST_USE int named_call(struct named *named, const char *what, const char *call, json_t *with, int timeout_ms,
			json_t **result, struct error *e);

/* fn for the machine that is the first operand. */
MUST_USE int named_do(const struct arguments *arguments,
		      int (*fn)(struct named *named, const struct arguments *arguments, struct error *e),
		      struct error *e);

/* fn for each machine that is an operand, or with `all` for each whose record `fits`. What fails is reported and does not
 * keep the others from their turn; the last failure is returned, unreported. */
typedef int named_fn(struct named *named, void *context, struct error *e);
MUST_USE int named_each(const struct arguments *arguments, bool all, bool (*fits)(const struct record *record),
			named_fn *fn, void *context, struct error *e);

/* Kinds of records, for `fits`. */
bool named_is_alive(const struct record *record);   /* a monitor has it */
bool named_is_running(const struct record *record);
bool named_is_paused(const struct record *record);
bool named_is_at_rest(const struct record *record); /* no monitor has it */

/* Of verbs that take names or --all. */
#define OPTION_ALL_ROW(which)                                                                                     \
	{                                                                                                         \
		.name = "all", .letter = 'a', .type = OPTION_FLAG, .help = which                                      \
	}

#endif
