/*
 * A property of several parts, which has two spellings: one text on the command line, and a mapping in a document.
 *
 *   COMMAS   FIRST[,NAME[=VALUE]]...      a.qcow2,ro,iops=500        {file: a.qcow2, ro: true, iops: 500}
 *            with `headed`, FIRST is WORD[=VALUE], and VALUE is the second part: tap=tap0,mac=...
 *   COLONS   FIRST[:SECOND]...            /srv:data:ro               {folder: /srv, tag: data, ro: true}
 *            a part that is not required may be left out, when one of words or a flag only where it does not fit
 *   EQUALS   FIRST=SECOND                 agent=/run/agent           {name: agent, socket: /run/agent}
 *
 * A comma or colon within a value is written twice; an address in brackets keeps its colons.
 *
 * Each part is a row like any option. Thread: any.
 */
#ifndef DOPPEL_CONFIG_FORM_H
#define DOPPEL_CONFIG_FORM_H

#include "config/option.h"

enum form_syntax { FORM_COMMAS, FORM_COLONS, FORM_EQUALS };

#define FORM_PARTS_MAX 16

struct option_form {
	enum form_syntax syntax;
	bool headed;
	const struct option_spec *parts; /* of COMMAS and EQUALS the first is required, of EQUALS both are all */
	size_t count;
	/* What must hold between parts, or NULL; its message does not name the option. `values` are by index of the parts. */
	int (*check)(const struct option_value *values, struct error *e);
};

struct form_values {
	struct option_value values[FORM_PARTS_MAX]; /* by index of the parts; of a flag `given` alone counts */
	char *text;                                 /* what they point into */
};

/* Reads the command line's spelling of an OPTION_FORM; form_finish is due after success. -EINVAL (ERROR_USAGE), -ENOMEM. */
MUST_USE int form_split(const struct option_spec *spec, const char *text, struct form_values *out, struct error *e);
/* Accepts a zeroed struct. */
void form_finish(struct form_values *values);

/* The command line's spelling of values that were parsed each by its row, the caller's to free(). -EINVAL (ERROR_USAGE)
 * also for the few that have none, such as a folder's tag with a colon at its beginning. */
MUST_USE int form_join(const struct option_spec *spec, const struct option_value *values, char **text, struct error *e);

#endif
