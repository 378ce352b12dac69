/*
 * Text for a terminal: paragraphs, safe quoting, and whether to use colour.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_TEXT_H
#define DOPPEL_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TEXT_WIDTH 80

/* Prints words of `text` with `indent` spaces before each line, lines no longer than TEXT_WIDTH where words allow.
 * `column` is where the cursor stands already: below `indent` it is filled up with spaces. Ends with a newline. An empty
 * line in `text` separates paragraphs. */
void text_wrap(FILE *out, const char *text, size_t indent, size_t column);

/* Prints `text` with control characters as \xNN, so that what came from outside can not move the cursor or break a
 * line in two. */
void text_plain(FILE *out, const char *text);

/* Columns that text_plain takes up, UTF-8 characters counted as one. */
size_t text_columns(const char *text);

enum text_tint { TINT_NONE, TINT_GOOD, TINT_DOUBTFUL, TINT_BAD, TINT_STRONG };

/* Colour is for terminals, where NO_COLOR is not set (or empty) and TERM is not "dumb". */
bool text_colour_wanted(FILE *out);
/* Escape sequences that start and end a tint; both "" without `colour`. */
const char *text_tint(enum text_tint tint, bool colour);
const char *text_tint_end(enum text_tint tint, bool colour);

#endif
