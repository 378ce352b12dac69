#include "cli/table.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"
#include "base/yaml.h"
#include "cli/csv.h"

struct cell {
	char *text; /* as printed for a person; NULL: no value */
	uint64_t number;
	double real;
	enum text_tint tint;
};

struct table {
	const struct column *columns;
	size_t column_count;
	struct cell *cells;
	size_t cell_count, capacity;
	bool out_of_memory;
};

struct table *table_new(const struct column *columns, size_t count)
{
	struct table *table = calloc(1, sizeof *table);

	assert(count > 0 && count <= TABLE_COLUMNS_MAX);
	if (!table)
		return NULL;
	table->columns = columns;
	table->column_count = count;
	return table;
}

void table_free(struct table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i].text);
	free(table->cells);
	free(table);
}

/* `text` is copied; NULL stays NULL. */
static void append(struct table *table, const char *text, struct cell cell)
{
	cell.text = text ? strdup(text) : NULL;
	if (table->cell_count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 32;
		struct cell *cells = reallocarray(table->cells, capacity, sizeof *cells);

		if (cells) {
			table->cells = cells;
			table->capacity = capacity;
		}
	}
	if ((text && !cell.text) || table->cell_count == table->capacity) {
		table->out_of_memory = true;
		free(cell.text);
		return;
	}
	table->cells[table->cell_count++] = cell;
}

void table_text(struct table *table, const char *text)
{
	append(table, text, (struct cell){.tint = TINT_NONE});
}

void table_tinted(struct table *table, const char *text, enum text_tint tint)
{
	append(table, text, (struct cell){.tint = tint});
}

void table_nothing(struct table *table)
{
	append(table, NULL, (struct cell){.tint = TINT_NONE});
}

void table_format_bytes(uint64_t bytes, char out[TABLE_BYTES_SIZE])
{
	static const char units[] = "BKMGTPE";
	double value = (double)bytes;
	size_t unit = 0;

	for (; value >= 1023.95; value /= 1024)
		unit++;
	if (unit == 0)
		snprintf(out, TABLE_BYTES_SIZE, "%" PRIu64 "B", bytes);
	else
		snprintf(out, TABLE_BYTES_SIZE, "%.1f%c", value, units[unit]);
}

void table_format_seconds(uint64_t seconds, char out[TABLE_SECONDS_SIZE])
{
	static const struct {
		uint64_t seconds;
		char name;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	size_t unit = 0;
	uint64_t rest;

	while (unit + 1 < ARRAY_SIZE(units) && seconds < units[unit].seconds)
		unit++;
	rest = seconds % units[unit].seconds;
	if (unit + 1 == ARRAY_SIZE(units))
		snprintf(out, TABLE_SECONDS_SIZE, "%" PRIu64 "s", seconds);
	else
		snprintf(out, TABLE_SECONDS_SIZE, "%" PRIu64 "%c%" PRIu64 "%c", seconds / units[unit].seconds,
			 units[unit].name, rest / units[unit + 1].seconds, units[unit + 1].name);
}

static enum column_type next_type(const struct table *table)
{
	return table->columns[table->cell_count % table->column_count].type;
}

void table_number(struct table *table, uint64_t number)
{
	enum column_type type = next_type(table);
	char text[32];

	if (type == COLUMN_YES_NO)
		snprintf(text, sizeof text, "%s", number ? "yes" : "no");
	else if (type == COLUMN_BYTES)
		table_format_bytes(number, text);
	else if (type == COLUMN_SECONDS)
		table_format_seconds(number, text);
	else
		snprintf(text, sizeof text, "%" PRId64, (int64_t)number);
	append(table, text, (struct cell){.number = number});
}

void table_real(struct table *table, double number)
{
	char text[32];

	snprintf(text, sizeof text, "%.1f", number);
	append(table, text, (struct cell){.real = number});
}

static const char *shown(const struct cell *cell)
{
	return cell->text && *cell->text ? cell->text : "-";
}

/* How a table is laid out on a terminal. */
struct layout {
	FILE *out;
	bool colour;
	size_t columns; /* with a place of their own: all but a joined last one */
	size_t last;    /* of those that are shown */
	size_t widths[TABLE_COLUMNS_MAX];
};

static struct layout lay_out(const struct table *table, FILE *out)
{
	struct layout layout = {.out = out, .colour = text_colour_wanted(out)};

	layout.columns = table->column_count - table->columns[table->column_count - 1].joined;
	for (size_t c = 0; c < layout.columns; c++) {
		layout.widths[c] = strlen(table->columns[c].key);
		layout.last = table->columns[c].programs ? layout.last : c;
	}
	for (size_t i = 0; i < table->cell_count; i++) {
		size_t *widest = &layout.widths[i % table->column_count];
		size_t width = text_columns(shown(&table->cells[i]));

		*widest = width > *widest ? width : *widest;
	}
	return layout;
}

/* Numbers stand to the right of their column; nothing is padded at the end of a line. */
static void print_cell(const struct table *table, const struct layout *layout, size_t c, const char *text,
		       enum text_tint tint)
{
	enum column_type type = table->columns[c].type;
	int room = (int)(layout->widths[c] - text_columns(text));
	bool right = type >= COLUMN_COUNT && type != COLUMN_YES_NO;
	bool last = c == layout->last;

	if (table->columns[c].programs)
		return;
	fprintf(layout->out, "%*s%s", right ? room : 0, "", text_tint(tint, layout->colour));
	text_plain(layout->out, text);
	fprintf(layout->out, "%s%*s", text_tint_end(tint, layout->colour), last ? 0 : 2 + (right ? 0 : room), "");
}

static void print_heading(const struct table *table, const struct layout *layout)
{
	for (size_t c = 0; c < layout->columns; c++) {
		char heading[32];
		size_t i = 0;

		for (const char *k = table->columns[c].key; *k && i + 1 < sizeof heading; k++)
			heading[i++] = *k == '_' ? ' ' : (char)toupper((unsigned char)*k);
		heading[i] = '\0';
		print_cell(table, layout, c, heading, TINT_STRONG);
	}
	fputc('\n', layout->out);
}

static void print_row(const struct table *table, const struct layout *layout, const struct cell *row)
{
	for (size_t c = 0; c < layout->columns; c++)
		print_cell(table, layout, c, shown(&row[c]), row[c].tint);
	if (layout->columns < table->column_count && row[layout->columns].text && *row[layout->columns].text) {
		fputs("; ", layout->out);
		text_plain(layout->out, row[layout->columns].text);
	}
	fputc('\n', layout->out);
}

static void print_text(const struct table *table, FILE *out)
{
	struct layout layout = lay_out(table, out);

	print_heading(table, &layout);
	for (size_t i = 0; i + table->column_count <= table->cell_count; i += table->column_count)
		print_row(table, &layout, &table->cells[i]);
}

/* Words with a blank between. */
static json_t *list_json(const char *text)
{
	json_t *array = json_array();

	while (*(text += strspn(text, " "))) {
		size_t length = strcspn(text, " ");

		json_array_append_new(array, json_stringn(text, length));
		text += length;
	}
	return array;
}

/* Text that is no UTF-8 (a file name, say) becomes null: jansson refuses it. */
static json_t *cell_json(const struct column *column, const struct cell *cell)
{
	json_t *value = NULL;

	if (cell->text && column->type == COLUMN_YES_NO)
		value = json_boolean(cell->number);
	else if (cell->text && column->type == COLUMN_REAL)
		value = json_real(cell->real);
	else if (cell->text && column->type == COLUMN_LIST)
		value = list_json(cell->text);
	else if (cell->text && column->type == COLUMN_TEXT)
		value = json_string(cell->text);
	else if (cell->text)
		value = json_integer((json_int_t)cell->number);
	return value ? value : json_null();
}

static size_t naming_column(const struct table *table)
{
	for (size_t c = 0; c < table->column_count; c++)
		if (table->columns[c].names)
			return c;
	return 0;
}

static json_t *row_json(const struct table *table, const struct cell *row)
{
	json_t *object = json_object();

	for (size_t c = 0; c < table->column_count; c++) {
		if (json_object_set_new(object, table->columns[c].key, cell_json(&table->columns[c], &row[c])) <
		    0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static int print_tree(const struct table *table, enum output_format format, bool quiet, FILE *out)
{
	size_t naming = naming_column(table);
	json_t *array = json_array();
	int r = 0;

	for (size_t i = 0; r == 0 && i + table->column_count <= table->cell_count; i += table->column_count) {
		const struct cell *row = &table->cells[i];
		json_t *value = quiet ? cell_json(&table->columns[naming], &row[naming]) : row_json(table, row);

		if (json_array_append_new(array, value) < 0)
			r = -ENOMEM;
	}
	if (r == 0 && format == FORMAT_YAML)
		r = yaml_print(out, array);
	else if (r == 0)
		r = json_dumpf(array, out, JSON_INDENT(2)) < 0 || fputc('\n', out) == EOF ? -EIO : 0;
	json_decref(array);
	return r;
}

static void print_csv_cell(const struct column *column, const struct cell *cell, FILE *out)
{
	char number[32];

	if (!cell->text)
		return;
	if (column->type == COLUMN_REAL)
		snprintf(number, sizeof number, "%.6g", cell->real);
	else
		snprintf(number, sizeof number, "%" PRId64, (int64_t)cell->number);
	if (column->type == COLUMN_TEXT || column->type == COLUMN_LIST)
		csv_field(out, cell->text);
	else if (column->type == COLUMN_YES_NO)
		csv_field(out, cell->number ? "true" : "false");
	else
		csv_field(out, number);
}

static void print_csv(const struct table *table, bool quiet, FILE *out)
{
	size_t from = quiet ? naming_column(table) : 0, to = quiet ? from + 1 : table->column_count;

	for (size_t c = from; !quiet && c < to; c++) {
		csv_field(out, table->columns[c].key);
		csv_next(out, c + 1 == to);
	}
	for (size_t i = 0; i + table->column_count <= table->cell_count; i += table->column_count) {
		for (size_t c = from; c < to; c++) {
			print_csv_cell(&table->columns[c], &table->cells[i + c], out);
			csv_next(out, c + 1 == to);
		}
	}
}

static void print_names(const struct table *table, FILE *out)
{
	size_t naming = naming_column(table);

	for (size_t i = 0; i + table->column_count <= table->cell_count; i += table->column_count) {
		text_plain(out, shown(&table->cells[i + naming]));
		fputc('\n', out);
	}
}

int table_print(const struct table *table, enum output_format format, bool quiet, FILE *out, struct error *e)
{
	int r = table->out_of_memory ? -ENOMEM : 0;

	assert(r < 0 || table->cell_count % table->column_count == 0);
	if (r == 0 && (format == FORMAT_JSON || format == FORMAT_YAML))
		r = print_tree(table, format, quiet, out);
	else if (r == 0 && format == FORMAT_CSV)
		print_csv(table, quiet, out);
	else if (r == 0 && quiet)
		print_names(table, out);
	else if (r == 0)
		print_text(table, out);
	if (r == 0 && ferror(out))
		r = -EIO;
	return r < 0 ? error_errno(e, r, "printing the table") : 0;
}

int table_show(const struct table *table, const struct option_value *first, struct error *e)
{
	return table_print(table, (enum output_format)first[TABLE_OPTION_FORMAT].number,
			   first[TABLE_OPTION_QUIET].given, stdout, e);
}
