/*
 * A tree of values (jansson) printed for a person, or as JSON, YAML or CSV for a program: what is not a table of rows.
 *
 * For a person: a line "key  value" for each member, values below each other, members of members indented. As CSV: a line
 * "key,value" for each leaf, its key the path to it ("disks.0.path").
 *
 * Thread: any; each writes to `out` only.
 */
#ifndef DOPPEL_CLI_DOCUMENT_H
#define DOPPEL_CLI_DOCUMENT_H

#include <jansson.h>

#include "cli/verb.h"

/* `format` is the value of a verb's OPTION_FORMAT_ROW. -EIO, -ENOMEM. */
MUST_USE int document_print(const json_t *tree, enum output_format format, FILE *out, struct error *e);

#endif
