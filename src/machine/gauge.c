#include "machine/gauge.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_MAX_BYTES 512
#define PRICE          50 /* a reading may take one of so many parts of the time */

void gauge_open(struct gauge *gauge)
{
	*gauge = (struct gauge){.fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC)};
}

void gauge_close(struct gauge *gauge)
{
	if (gauge->fd >= 0)
		close(gauge->fd);
	gauge->fd = -1;
}

static bool is_ram(const struct memory *memory, uint64_t start)
{
	for (unsigned i = 0; i < memory->count; i++)
		if (start - (uint64_t)(uintptr_t)memory->regions[i].host < memory->regions[i].size)
			return true;
	return false;
}

static const struct figure {
	const char *key;
	size_t of_ram, of_rest; /* offsets of what it is added to; NONE: nothing */
} figures[] = {
#define NONE      SIZE_MAX
#define AT(field) offsetof(struct gauge_reading, field)
	{"Rss:", AT(resident), AT(other_resident)}, {"Pss:", NONE, AT(other_proportional)},
	{"Shared_Clean:", AT(shared), NONE},        {"Shared_Dirty:", AT(shared), NONE},
	{"AnonHugePages:", AT(huge), NONE},         {"Swap:", AT(swapped), NONE},
	/* Reserved pages of 2 MiB are not in Rss. */
	{"Private_Hugetlb:", AT(resident), NONE},   {"Private_Hugetlb:", AT(huge), NONE},
	{"Shared_Hugetlb:", AT(resident), NONE},    {"Shared_Hugetlb:", AT(huge), NONE},
};

/* proc(5): "start-end permissions ..." begins a mapping, then lines "Key:  number kB". */
void gauge_take_line(struct gauge_reading *reading, const struct memory *memory, const char *line, bool *in_ram)
{
	char *end;
	uint64_t start = strtoull(line, &end, 16);

	if (*end == '-') {
		*in_ram = is_ram(memory, start);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		const struct figure *figure = &figures[i];
		size_t length = strlen(figure->key), at = *in_ram ? figure->of_ram : figure->of_rest;

		if (strncmp(line, figure->key, length) != 0)
			continue;
		if (at != NONE)
			*(uint64_t *)(void *)((char *)reading + at) += strtoull(line + length, NULL, 10) * KIB;
	}
}

/* The lines in `text` of `length` bytes; returns the bytes of the last one, which is not whole. */
static size_t take_lines(struct gauge_reading *reading, const struct memory *memory, char *text, size_t length,
			 bool *in_ram)
{
	char *line = text, *end;

	while ((end = memchr(line, '\n', length - (size_t)(line - text)))) {
		*end = '\0';
		gauge_take_line(reading, memory, line, in_ram);
		line = end + 1;
	}
	return length - (size_t)(line - text);
}

static void take(struct gauge *gauge, const struct memory *memory)
{
	struct gauge_reading reading = {.at_ns = clock_host_ns()};
	char text[16 * KIB + LINE_MAX_BYTES];
	size_t kept = 0;
	bool in_ram = false;
	off_t at = 0;
	ssize_t got;

	while ((got = pread(gauge->fd, text + kept, sizeof text - kept, at)) > 0) {
		size_t length = kept + (size_t)got;

		at += got;
		kept = take_lines(&reading, memory, text, length, &in_ram);
		/* A line longer than any of the kernel's: what is left of it tells nothing. */
		if (kept > LINE_MAX_BYTES)
			kept = 0;
		memmove(text, text + length - kept, kept);
	}
	gauge->cost_ns = clock_host_ns() - reading.at_ns;
	if (got == 0)
		gauge->reading = reading;
}

void gauge_read(struct gauge *gauge, const struct memory *memory, struct gauge_reading *out)
{
	uint64_t since = clock_host_ns() - gauge->reading.at_ns;

	if (gauge->fd >= 0 && (!gauge->reading.at_ns || since / PRICE > gauge->cost_ns))
		take(gauge, memory);
	*out = gauge->reading;
}
