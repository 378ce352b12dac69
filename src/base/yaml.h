/*
 * A JSON tree written as YAML 1.2 (block style), such that a YAML parser, of 1.1 too, reads the same tree back: text that
 * would be taken for a number, a truth or null is quoted, and so is all that is not plainly harmless.
 *
 * Thread: any.
 */
#ifndef DOPPEL_BASE_YAML_H
#define DOPPEL_BASE_YAML_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

/* Writes one document without "---", ending with a newline. Members come in the order they were added. -EIO. */
MUST_USE int yaml_print(FILE *out, const json_t *value);

/* The text may stand in YAML as it is: no quotes are needed for it to be read back as this text. */
bool yaml_is_plain(const char *text, size_t length);

#endif
