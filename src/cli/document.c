#include "cli/document.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/yaml.h"
#include "cli/csv.h"
#include "cli/text.h"

#define STEP     2
#define LIST_MAX 256
#define KEY_MAX  512

static bool is_nested(const json_t *value)
{
	return (json_is_object(value) && json_object_size(value)) ||
	       (json_is_array(value) && json_array_size(value));
}

/* An array without members of its own, which fits on a line. */
static bool is_list(const json_t *value)
{
	size_t length = 0;

	if (!json_is_array(value))
		return false;
	for (size_t i = 0; i < json_array_size(value); i++) {
		const json_t *item = json_array_get(value, i);

		if (json_is_object(item) || json_is_array(item))
			return false;
		length += json_is_string(item) ? json_string_length(item) + 2 : 8;
	}
	return length <= LIST_MAX;
}

/* What a person reads for a value without members, into `number` where it is no text. */
static const char *leaf_text(const json_t *value, char number[40])
{
	if (json_is_string(value))
		return json_string_value(value);
	number[0] = '\0';
	if (json_is_integer(value))
		snprintf(number, 40, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		snprintf(number, 40, "%.6g", json_real_value(value));
	else if (json_is_boolean(value))
		return json_is_true(value) ? "yes" : "no";
	return number;
}

struct printer {
	FILE *out;
	bool colour;
	int column; /* where values stand */
};

/* The column behind the longest key that has a value on its line. */
static int value_column(const json_t *value, int indent)
{
	int widest = 0;
	const char *key;
	json_t *member;

	if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); i++) {
			int column = value_column(json_array_get(value, i), indent + STEP);

			widest = column > widest ? column : widest;
		}
	}
	json_object_foreach((json_t *)(uintptr_t)value, key, member)
	{
		int column = is_nested(member) && !is_list(member) ? value_column(member, indent + STEP)
								   : indent + (int)text_columns(key) + 2;

		widest = column > widest ? column : widest;
	}
	return widest;
}

static void print_leaf(const struct printer *p, const json_t *value)
{
	char number[40];
	const char *text = leaf_text(value, number);

	text_plain(p->out, *text ? text : "-");
}

static void print_line(const struct printer *p, const json_t *value)
{
	if (json_is_array(value) && json_array_size(value)) {
		for (size_t i = 0; i < json_array_size(value); i++) {
			fputs(i ? ", " : "", p->out);
			print_leaf(p, json_array_get(value, i));
		}
	} else {
		print_leaf(p, value);
	}
	fputc('\n', p->out);
}

static void print_members(const struct printer *p, const json_t *object, int indent, bool after_dash);

static void print_items(const struct printer *p, const json_t *array, int indent)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);

		fprintf(p->out, "%*s- ", indent, "");
		if (json_is_object(item) && json_object_size(item)) {
			print_members(p, item, indent + STEP, true);
		} else if (is_nested(item) && !is_list(item)) {
			fputc('\n', p->out);
			print_items(p, item, indent + STEP);
		} else {
			print_line(p, item);
		}
	}
}

static void print_members(const struct printer *p, const json_t *object, int indent, bool after_dash)
{
	const char *key;
	json_t *member;

	json_object_foreach((json_t *)(uintptr_t)object, key, member)
	{
		bool nested = is_nested(member) && !is_list(member);
		int room = p->column - indent - (int)text_columns(key);

		fprintf(p->out, "%*s%s", after_dash ? 0 : indent, "", text_tint(TINT_STRONG, p->colour));
		after_dash = false;
		text_plain(p->out, key);
		fprintf(p->out, "%s%*s", text_tint_end(TINT_STRONG, p->colour), nested ? 0 : room, "");
		if (!nested) {
			print_line(p, member);
			continue;
		}
		fputc('\n', p->out);
		if (json_is_array(member))
			print_items(p, member, indent + STEP);
		else
			print_members(p, member, indent + STEP, false);
	}
}

static void print_text(const json_t *tree, FILE *out)
{
	struct printer p = {.out = out, .colour = text_colour_wanted(out), .column = value_column(tree, 0)};

	if (json_is_object(tree))
		print_members(&p, tree, 0, false);
	else if (is_nested(tree) && !is_list(tree))
		print_items(&p, tree, 0);
	else
		print_line(&p, tree);
}

static void print_csv(const json_t *value, const char *path, FILE *out);

static void print_csv_member(const json_t *value, const char *path, const char *key, FILE *out)
{
	char below[KEY_MAX];

	snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", key);
	print_csv(value, below, out);
}

static void print_csv(const json_t *value, const char *path, FILE *out)
{
	char number[40];
	const char *key;
	json_t *member;

	if (json_is_boolean(value)) {
		csv_field(out, path);
		fprintf(out, ",%s\r\n", json_is_true(value) ? "true" : "false");
	} else if (!is_nested(value)) {
		csv_field(out, path);
		csv_next(out, false);
		csv_field(out, leaf_text(value, number));
		csv_next(out, true);
	}
	for (size_t i = 0; i < json_array_size(value); i++) {
		snprintf(number, sizeof number, "%zu", i);
		print_csv_member(json_array_get(value, i), path, number, out);
	}
	json_object_foreach((json_t *)(uintptr_t)value, key, member) print_csv_member(member, path, key, out);
}

int document_print(const json_t *tree, enum output_format format, FILE *out, struct error *e)
{
	int r = 0;

	if (format == FORMAT_JSON) {
		r = json_dumpf(tree, out, JSON_INDENT(2) | JSON_ENCODE_ANY) < 0 || fputc('\n', out) == EOF ? -EIO
													   : 0;
	} else if (format == FORMAT_YAML) {
		r = yaml_print(out, tree);
	} else if (format == FORMAT_CSV) {
		fputs("key,value\r\n", out);
		print_csv(tree, "", out);
	} else {
		print_text(tree, out);
	}
	if (r == 0 && ferror(out))
		r = -EIO;
	return r < 0 ? error_errno(e, r, "printing the result") : 0;
}
