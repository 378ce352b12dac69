/*
 * A result with rows and columns, printed for a person or as JSON.
 *
 * Cells are appended row by row, each in the order and of the type of its column. For a person: a heading line and
 * aligned columns. As JSON: an array of objects, keys as the columns' names, numbers unrounded.
 *
 * Ownership: cells are copied. Memory running out while cells are added is remembered and told by table_print.
 */
#ifndef DOPPEL_CLI_TABLE_H
#define DOPPEL_CLI_TABLE_H

#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/text.h"
#include "cli/verb.h"

enum column_type { COLUMN_TEXT, COLUMN_COUNT, COLUMN_BYTES, COLUMN_YES_NO };

struct column {
	const char *key; /* in JSON; in capitals it is the heading */
	enum column_type type;
	bool joined; /* in print, added to the column before after "; " when not empty (last column only) */
};

#define TABLE_COLUMNS_MAX 12

struct table;

/* `columns` (at most TABLE_COLUMNS_MAX) must outlive the table. NULL when there is no memory. */
struct table *table_new(const struct column *columns, size_t count);
/* Accepts NULL. */
void table_free(struct table *table);

void table_text(struct table *table, const char *text);
void table_tinted(struct table *table, const char *text, enum text_tint tint);
/* COUNT, BYTES, YES_NO (0 or 1). */
void table_number(struct table *table, uint64_t number);

/* -ENOMEM, or -EIO when writing failed. */
MUST_USE int table_print(const struct table *table, enum output_format format, FILE *out, struct error *e);

/* A number of bytes as a person reads it: "31.2M". */
#define TABLE_BYTES_SIZE 16
void table_format_bytes(uint64_t bytes, char out[TABLE_BYTES_SIZE]);

#endif
