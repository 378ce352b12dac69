#include "cli/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t fill(FILE *out, size_t column, size_t indent)
{
	if (column < indent)
		fprintf(out, "%*s", (int)(indent - column), "");
	return column < indent ? indent : column;
}

void text_wrap(FILE *out, const char *text, size_t indent, size_t column)
{
	bool line_empty = column <= indent;

	column = fill(out, column, indent);
	while (*text) {
		size_t length = strcspn(text, " \n");

		if (length > 0 && !line_empty && column + 1 + length > TEXT_WIDTH) {
			fputc('\n', out);
			column = fill(out, 0, indent);
			line_empty = true;
		}
		if (length > 0)
			column += (size_t)fprintf(out, "%s%.*s", line_empty ? "" : " ", (int)length, text);
		line_empty = line_empty && length == 0;
		text += length;
		if (strncmp(text, "\n\n", 2) == 0) {
			fputs("\n\n", out);
			column = fill(out, 0, indent);
			line_empty = true;
			text++;
		}
		text += *text != '\0';
	}
	fputc('\n', out);
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* Of a control character that Unicode adds (U+0080 to U+009f), which some terminals obey: its first byte, or the second. */
static bool is_high_control(const char *text, const char *start)
{
	const char *first = text > start && ((unsigned char)*text & 0xc0) == 0x80 ? text - 1 : text;

	return (unsigned char)first[0] == 0xc2 && (unsigned char)first[1] >= 0x80 &&
	       (unsigned char)first[1] < 0xa0;
}

void text_plain(FILE *out, const char *text)
{
	for (const char *start = text; *text; text++) {
		if (is_control(*text) || is_high_control(text, start))
			fprintf(out, "\\x%02x", (unsigned char)*text);
		else
			fputc(*text, out);
	}
}

size_t text_columns(const char *text)
{
	size_t columns = 0;

	for (const char *start = text; *text; text++) {
		if (is_control(*text) || is_high_control(text, start))
			columns += 4;
		else if (((unsigned char)*text & 0xc0) != 0x80)
			columns++;
	}
	return columns;
}

bool text_colour_wanted(FILE *out)
{
	const char *no_color = getenv("NO_COLOR"), *terminal = getenv("TERM");

	return !(no_color && *no_color) && !(terminal && strcmp(terminal, "dumb") == 0) && isatty(fileno(out));
}

const char *text_tint(enum text_tint tint, bool colour)
{
	static const char *const sequences[] = {
		[TINT_NONE] = "",          [TINT_GOOD] = "\033[32m",  [TINT_DOUBTFUL] = "\033[33m",
		[TINT_BAD] = "\033[1;31m", [TINT_STRONG] = "\033[1m",
	};

	return colour ? sequences[tint] : "";
}

const char *text_tint_end(enum text_tint tint, bool colour)
{
	return colour && tint != TINT_NONE ? "\033[0m" : "";
}
