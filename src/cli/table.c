#include "cli/table.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct cell {
	char *text; /* as printed */
	uint64_t number;
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

static void append(struct table *table, const char *text, uint64_t number, enum text_tint tint)
{
	char *copy = strdup(text);

	if (copy && table->cell_count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 32;
		struct cell *cells = reallocarray(table->cells, capacity, sizeof *cells);

		if (cells) {
			table->cells = cells;
			table->capacity = capacity;
		}
	}
	if (!copy || table->cell_count == table->capacity) {
		table->out_of_memory = true;
		free(copy);
		return;
	}
	table->cells[table->cell_count++] = (struct cell){copy, number, tint};
}

void table_text(struct table *table, const char *text)
{
	append(table, text, 0, TINT_NONE);
}

void table_tinted(struct table *table, const char *text, enum text_tint tint)
{
	append(table, text, 0, tint);
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

void table_number(struct table *table, uint64_t number)
{
	enum column_type type = table->columns[table->cell_count % table->column_count].type;
	char text[32];

	if (type == COLUMN_YES_NO)
		snprintf(text, sizeof text, "%s", number ? "yes" : "no");
	else if (type == COLUMN_BYTES)
		table_format_bytes(number, text);
	else
		snprintf(text, sizeof text, "%" PRIu64, number);
	append(table, text, number, TINT_NONE);
}

static const char *shown(const struct cell *cell)
{
	return *cell->text ? cell->text : "-";
}

/* How a table is laid out on a terminal. */
struct layout {
	FILE *out;
	bool colour;
	size_t columns; /* with a place of their own: all but a joined last one */
	size_t widths[TABLE_COLUMNS_MAX];
};

static struct layout lay_out(const struct table *table, FILE *out)
{
	struct layout layout = {.out = out, .colour = text_colour_wanted(out)};

	layout.columns = table->column_count - table->columns[table->column_count - 1].joined;
	for (size_t c = 0; c < layout.columns; c++)
		layout.widths[c] = strlen(table->columns[c].key);
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
	bool right = type == COLUMN_COUNT || type == COLUMN_BYTES;
	bool last = c + 1 == layout->columns;

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
	if (layout->columns < table->column_count && *row[layout->columns].text) {
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

/* Text that is no UTF-8 (a file name, say) becomes null: jansson refuses it. */
static json_t *cell_json(const struct column *column, const struct cell *cell)
{
	json_t *text;

	if (column->type == COLUMN_YES_NO)
		return json_boolean(cell->number);
	if (column->type != COLUMN_TEXT)
		return json_integer((json_int_t)cell->number);
	text = json_string(cell->text);
	return text ? text : json_null();
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

static int print_json(const struct table *table, FILE *out)
{
	json_t *array = json_array();
	int r = 0;

	for (size_t i = 0; r == 0 && i + table->column_count <= table->cell_count; i += table->column_count)
		if (json_array_append_new(array, row_json(table, &table->cells[i])) < 0)
			r = -ENOMEM;
	if (r == 0 && json_dumpf(array, out, JSON_INDENT(2)) < 0)
		r = -EIO;
	fputc('\n', out);
	json_decref(array);
	return r;
}

int table_print(const struct table *table, enum output_format format, FILE *out, struct error *e)
{
	int r = table->out_of_memory ? -ENOMEM : 0;

	assert(r < 0 || table->cell_count % table->column_count == 0);
	if (r == 0 && format == FORMAT_JSON)
		r = print_json(table, out);
	else if (r == 0)
		print_text(table, out);
	if (r == 0 && ferror(out))
		r = -EIO;
	return r < 0 ? error_errno(e, r, "printing the table") : 0;
}
