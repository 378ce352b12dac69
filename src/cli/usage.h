/*
 * What the command line says about itself: overview, help of a verb, manual page, completions. All of it is generated
 * from the table of verbs.
 *
 * Thread: any; each writes to `out` only.
 */
#ifndef DOPPEL_CLI_USAGE_H
#define DOPPEL_CLI_USAGE_H

#include <stdio.h>

#include "cli/verb.h"

#define USAGE_TITLE "run unmodified operating systems in virtual machines, on any host"

/* What doppel is and how it is used, in paragraphs. */
extern const char usage_description[];

/* All verbs with their summaries. */
void usage_overview(FILE *out);
/* One verb or group of verbs: usage, description, options, examples. */
void usage_verb(FILE *out, const struct verb *verb);
/* The manual page doppel(1) in roff (man macros). */
void usage_man(FILE *out);
/* To be sourced by the shell, or installed where it looks for completions. */
void usage_completion_bash(FILE *out);
void usage_completion_zsh(FILE *out);

/* "16M to 16T, default 512M": what an option's value may be and is; empty when there is nothing to tell. */
#define USAGE_VALUES_SIZE 256
void usage_values(const struct option_spec *spec, char out[USAGE_VALUES_SIZE]);

/* Environment variables, files and exit statuses, for the overview and the manual page; ends with {NULL, NULL}. */
struct usage_fact {
	const char *name, *meaning;
};
extern const struct usage_fact usage_statuses[], usage_environment[], usage_files[];

#endif
