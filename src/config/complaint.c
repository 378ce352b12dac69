#include "config/complaint.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void complain(struct complaints *complaints, unsigned line, unsigned column, const char *format, ...)
{
	struct complaint *complaint = &complaints->list[complaints->count];
	va_list arguments;

	if (complaints->count == COMPLAINTS_MAX) {
		complaints->beyond++;
		return;
	}
	complaint->line = line;
	complaint->column = column;
	va_start(arguments, format);
	vsnprintf(complaint->text, sizeof complaint->text, format, arguments);
	va_end(arguments);
	complaints->count++;
}

void complain_of(struct complaints *complaints, unsigned line, unsigned column, const struct error *e)
{
	complain(complaints, line, column, "%s", e->message + (strncmp(e->message, "--", 2) == 0 ? 2 : 0));
}

void complaint_line(const struct complaints *complaints, size_t index, char out[COMPLAINT_LINE_SIZE])
{
	const struct complaint *complaint = &complaints->list[index];
	char place[16] = "";

	if (complaint->line)
		snprintf(place, sizeof place, ":%u", complaint->line);
	snprintf(out, COMPLAINT_LINE_SIZE, "%.150s%s: %s", complaints->source, place, complaint->text);
}

int complaints_conclude(const struct complaints *complaints, struct error *e)
{
	size_t others = complaints->count + complaints->beyond - 1;
	char first[COMPLAINT_LINE_SIZE];

	if (complaints->count == 0)
		return 0;
	complaint_line(complaints, 0, first);
	if (others == 0)
		return error_set(e, ERROR_USAGE, -EINVAL, "%s", first);
	return error_set(e, ERROR_USAGE, -EINVAL, "%.450s (and %zu more mistake%s)", first, others,
			 others > 1 ? "s" : "");
}
