/*
 * Comma-separated values (RFC 4180): fields with commas, quotes or line ends are quoted, lines end with CRLF.
 *
 * The RFC has no way to write other control characters, which a terminal would obey: they become U+FFFD.
 */
#ifndef DOPPEL_CLI_CSV_H
#define DOPPEL_CLI_CSV_H

#include <stdbool.h>
#include <stdio.h>

/* Prints one field. */
void csv_field(FILE *out, const char *text);
/* What follows a field: a comma, or the end of the line. */
void csv_next(FILE *out, bool last);

#endif
