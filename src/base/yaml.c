#include "base/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/types.h"

#define STEP 2
#define SIMPLE_KEY_MAX                                                                                            \
	120 /* bytes of a key before ": "; parsers take no more than 1024 characters, escapes included */

/* YAML 1.1 and 1.2 read these as something else than text, in any case of letters that they know. */
static bool is_reserved(const char *text, size_t length)
{
	static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strlen(words[i]) == length && strncasecmp(words[i], text, length) == 0)
			return true;
	return false;
}

/* A blank between words and a colon within one are harmless; "a: b", "a #b" and blanks at the end are not. */
static bool is_harmless(const char *text, size_t length, size_t at)
{
	unsigned char c = (unsigned char)text[at];
	bool last = at + 1 == length;

	if (c < 0x80 && (isalnum(c) || strchr("_-./+@%,=()", c)))
		return c != '\0';
	return (c == ' ' || c == ':') && !last && isalnum((unsigned char)text[at + 1]);
}

bool yaml_is_plain(const char *text, size_t length)
{
	unsigned char first = length ? (unsigned char)text[0] : 0;

	if (first >= 0x80 || (!isalpha(first) && (first == 0 || !strchr("_/", first))) ||
	    is_reserved(text, length))
		return false;
	for (size_t i = 1; i < length; i++)
		if (!is_harmless(text, length, i))
			return false;
	return true;
}

/* One character of valid UTF-8 from `at`; its bytes in *length. */
static uint32_t character(const char *at, size_t *length)
{
	unsigned char first = (unsigned char)*at;
	uint32_t value;

	*length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	value = first < 0x80 ? first : first & (0xffU >> (*length + 1));
	for (size_t i = 1; i < *length; i++)
		value = value << 6 | ((unsigned char)at[i] & 0x3f);
	return value;
}

/* YAML 1.2, 5.1: what may stand unescaped; without the line ends that only Unicode knows, and the byte order mark. */
static bool is_printable(uint32_t c)
{
	return (c >= 0x20 && c < 0x7f) || (c >= 0xa0 && c != 0x2028 && c != 0x2029 && c != 0xfeff && c < 0xfffe) ||
	       c >= 0x10000;
}

static void print_quoted(FILE *out, const char *text, size_t length)
{
	size_t bytes;

	fputc('"', out);
	for (size_t i = 0; i < length; i += bytes) {
		uint32_t c = character(text + i, &bytes);

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", (char)c);
		else if (c == '\n')
			fputs("\\n", out);
		else if (c == '\t')
			fputs("\\t", out);
		else if (is_printable(c))
			fwrite(text + i, 1, bytes, out);
		else
			fprintf(out, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
	}
	fputc('"', out);
}

static void print_text(FILE *out, const char *text, size_t length)
{
	if (yaml_is_plain(text, length))
		fwrite(text, 1, length, out);
	else
		print_quoted(out, text, length);
}

/* The shortest that reads back as the same number, with a point: YAML 1.1 takes "1e+20" for text. */
static void print_real(FILE *out, double value)
{
	char text[40];
	int precision = 15;
	size_t digits;

	do
		snprintf(text, sizeof text, "%.*g", precision, value);
	while (strtod(text, NULL) != value && ++precision <= 17);
	digits = strcspn(text, ".e");
	fprintf(out, "%.*s%s%s", (int)digits, text, text[digits] == '.' ? "" : ".0", text + digits);
}

static bool is_nested(const json_t *value)
{
	return (json_is_object(value) && json_object_size(value)) ||
	       (json_is_array(value) && json_array_size(value));
}

static void print_scalar(FILE *out, const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		fputs("{}", out);
		break;
	case JSON_ARRAY:
		fputs("[]", out);
		break;
	case JSON_STRING:
		print_text(out, json_string_value(value), json_string_length(value));
		break;
	case JSON_INTEGER:
		fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		break;
	case JSON_REAL:
		print_real(out, json_real_value(value));
		break;
	default:
		fputs(json_is_null(value) ? "null" : json_is_true(value) ? "true" : "false", out);
	}
}

static void print_value(FILE *out, const json_t *value, int indent);

/* The first line of a nested value goes on the line of the dash before it; the others are indented. */
static void print_indent(FILE *out, int indent, bool first)
{
	fprintf(out, "%*s", first ? 0 : indent, "");
}

static void print_member(FILE *out, const char *key, size_t length, const json_t *value, int indent)
{
	bool simple = length <= SIMPLE_KEY_MAX;

	fputs(simple ? "" : "? ", out);
	print_text(out, key, length);
	if (!simple)
		fprintf(out, "\n%*s", indent, "");
	fputc(':', out);
	if (is_nested(value)) {
		fprintf(out, "\n%*s", indent + STEP, "");
		print_value(out, value, indent + STEP);
	} else {
		fputc(' ', out);
		print_value(out, value, indent);
	}
}

static void print_object(FILE *out, json_t *object, int indent)
{
	bool first = true;

	for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
		print_indent(out, indent, first);
		print_member(out, json_object_iter_key(at), json_object_iter_key_len(at),
			     json_object_iter_value(at), indent);
		first = false;
	}
}

static void print_array(FILE *out, const json_t *array, int indent)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		print_indent(out, indent, i == 0);
		fputs("- ", out);
		print_value(out, json_array_get(array, i), indent + STEP);
	}
}

/* The cursor stands where the value begins; ends with a newline. jansson reads no tree too deep for this. */
static void print_value(FILE *out, const json_t *value, int indent)
{
	if (!is_nested(value)) {
		print_scalar(out, value);
		fputc('\n', out);
	} else if (json_is_object(value)) {
		print_object(out, (json_t *)(uintptr_t)value, indent);
	} else {
		print_array(out, value, indent);
	}
}

int yaml_print(FILE *out, const json_t *value)
{
	print_value(out, value, 0);
	return ferror(out) ? -EIO : 0;
}
