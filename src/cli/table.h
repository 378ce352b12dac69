/*
 * A result with rows and columns, printed for a person, or as JSON, YAML or CSV for a program.
 *
 * Cells are appended row by row, each in the order and of the type of its column. For a person: a heading line and
 * aligned columns. As JSON and YAML: an array of objects, keys as the columns' names, numbers unrounded. As CSV (RFC
 * 4180): a line of keys, then the same values. Quiet: one column alone, which names the rows, without a heading.
 *
 * A verb with a table has the two options of TABLE_OPTION_ROWS and ends in table_show.
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

enum column_type {
	COLUMN_TEXT,
	COLUMN_LIST,    /* words with a blank between; an array of text in JSON and YAML */
	COLUMN_COUNT,   /* table_number, taken as an int64_t */
	COLUMN_BYTES,   /* table_number; "31.2M" for a person */
	COLUMN_SECONDS, /* table_number; "3h12m" for a person */
	COLUMN_YES_NO,  /* table_number, 0 or 1 */
	COLUMN_REAL,    /* table_real; one digit after the point for a person */
};

struct column {
	const char *key; /* for programs; in capitals it is the heading */
	enum column_type type;
	bool joined; /* for a person, added to the column before after "; " when not empty (last column only) */
	bool programs; /* not shown to a person */
	bool names;  /* what is printed when quiet; without such a column, the first */
};

#define TABLE_COLUMNS_MAX 20

struct table;

/* `columns` (at most TABLE_COLUMNS_MAX) must outlive the table. NULL when there is no memory. */
struct table *table_new(const struct column *columns, size_t count);
/* Accepts NULL. */
void table_free(struct table *table);

void table_text(struct table *table, const char *text);
void table_tinted(struct table *table, const char *text, enum text_tint tint);
void table_number(struct table *table, uint64_t number);
void table_real(struct table *table, double number);
/* A cell of any type that has no value: "-" for a person, null in JSON and YAML, empty in CSV. */
void table_nothing(struct table *table);

/* -ENOMEM, or -EIO when writing failed. */
MUST_USE int table_print(const struct table *table, enum output_format format, bool quiet, FILE *out, struct error *e);

/* --format and --quiet, at two indices of a verb's options. */
enum { TABLE_OPTION_FORMAT, TABLE_OPTION_QUIET, TABLE_OPTIONS };
#define TABLE_OPTION_ROWS(first)                                                                                  \
	[(first) + TABLE_OPTION_FORMAT] = OPTION_FORMAT_ROW, [(first) + TABLE_OPTION_QUIET] = OPTION_QUIET_ROW
/* Prints on standard output as those two options say; `first` is the value of the first. */
MUST_USE int table_show(const struct table *table, const struct option_value *first, struct error *e);

/* A number of bytes as a person reads it: "31.2M". */
#define TABLE_BYTES_SIZE 16
void table_format_bytes(uint64_t bytes, char out[TABLE_BYTES_SIZE]);
/* A time span as a person reads it, in its two largest units: "42s", "3h12m", "20d1h". */
#define TABLE_SECONDS_SIZE 32
void table_format_seconds(uint64_t seconds, char out[TABLE_SECONDS_SIZE]);

#endif
