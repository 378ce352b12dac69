/*
 * What is wrong with a document: all of it, not just the first.
 *
 * Thread: any; the struct is a value of the caller and holds no memory.
 */
#ifndef DOPPEL_CONFIG_COMPLAINT_H
#define DOPPEL_CONFIG_COMPLAINT_H

#include <stddef.h>

#include "base/error.h"

#define COMPLAINTS_MAX    20
#define COMPLAINT_SIZE    320

struct complaint {
	unsigned line, column; /* from 1; 0: of the document as a whole */
	char text[COMPLAINT_SIZE];
};

struct complaints {
	const char *source; /* what the document is called: a path, "standard input" */
	struct complaint list[COMPLAINTS_MAX];
	size_t count;  /* in the list, in the order in which they were found */
	size_t beyond; /* more, for which there was no room */
};

void complain(struct complaints *complaints, unsigned line, unsigned column, const char *format, ...)
	PRINTF_LIKE(4, 5);
/* The message of `e` as a complaint, without the dashes that an option's name has on the command line. */
void complain_of(struct complaints *complaints, unsigned line, unsigned column, const struct error *e);

/* "web.yaml:7: ..." */
#define COMPLAINT_LINE_SIZE 512
void complaint_line(const struct complaints *complaints, size_t index, char out[COMPLAINT_LINE_SIZE]);

/* 0 when there are none; else -EINVAL (ERROR_USAGE) with the only one, or the first and how many others there are. */
MUST_USE int complaints_conclude(const struct complaints *complaints, struct error *e);

#endif
