#include "cli/csv.h"

#include <string.h>

void csv_field(FILE *out, const char *text)
{
	bool quoted = strpbrk(text, ",\"\r\n") || *text == ' ' || (*text && text[strlen(text) - 1] == ' ');

	if (quoted)
		fputc('"', out);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c < 0x20 && c != '\r' && c != '\n' && c != '\t') || c == 0x7f)
			fputs("\xef\xbf\xbd", out);
		else
			fprintf(out, c == '"' ? "\"\"" : "%c", c);
	}
	if (quoted)
		fputc('"', out);
}

void csv_next(FILE *out, bool last)
{
	fputs(last ? "\r\n" : ",", out);
}
