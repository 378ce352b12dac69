/*
 * The arguments of one verb, read by the one parser.
 *
 * `--name value`, `--name=value`, `-n value`, `-nvalue`; flags without a value, their letters may be joined; options and
 * operands in any order; `--` ends the options; `-` alone is an operand. `--help` and `-h` belong to every verb.
 *
 * Ownership: the struct holds pointers into argv and arrays of its own, freed by arguments_finish.
 */
#ifndef DOPPEL_CLI_ARGUMENTS_H
#define DOPPEL_CLI_ARGUMENTS_H

#include "config/option.h"

#define ARGUMENTS_OPTIONS_MAX 48

struct verb;

struct occurrence {
	size_t option;
	const char *text;
};

struct arguments {
	const struct verb *verb;
	bool help;                                         /* --help was given; the rest was not looked at */
	struct option_value values[ARGUMENTS_OPTIONS_MAX]; /* by index into the verb's options */
	const char **operands;
	size_t operand_count;
	struct occurrence *occurrences; /* every value given, in order */
	size_t occurrence_count;
	char **own; /* what it points into, when that is its own */
	size_t own_count;
};

/* Reads `count` arguments that follow the verb. -EINVAL with ERROR_USAGE, or -ENOMEM; `out` needs no finish then. */
MUST_USE int arguments_parse(struct arguments *out, const struct verb *verb, size_t count, char *const *argv,
			     struct error *e);
/* The same with texts and an array on the heap, which are taken in any case. */
MUST_USE int arguments_parse_own(struct arguments *out, const struct verb *verb, size_t count, char **argv,
				 struct error *e);
/* Also of a zeroed struct. */
void arguments_finish(struct arguments *arguments);

/* Each value given for `option`: start with *cursor = 0; NULL after the last. */
const char *arguments_next(const struct arguments *arguments, size_t option, size_t *cursor);

#endif
