/*
 * How much of the host's memory a machine's process holds, guest RAM and the rest apart.
 *
 * Read from /proc/self/smaps, by a descriptor that is opened early: later walls allow no opening. The kernel walks the page
 * tables for it, some milliseconds for each gigabyte of small pages, so a gauge is read again only when the last reading took
 * less than a fiftieth of the time since. The guest runs on meanwhile.
 *
 * Thread: one at a time.
 */
#ifndef DOPPEL_MACHINE_GAUGE_H
#define DOPPEL_MACHINE_GAUGE_H

#include "memory/memory.h"

/* Bytes. */
struct gauge_reading {
	uint64_t at_ns;    /* clock_host_ns when it was taken; 0: never, and nothing below is known */
	uint64_t resident; /* of guest RAM in the host's memory */
	uint64_t shared;   /* of that, what other processes hold as well */
	uint64_t huge;     /* of that, in huge pages */
	uint64_t swapped;  /* of guest RAM on the host's swap */
	uint64_t other_resident, other_proportional; /* of all else: RSS, and PSS, which counts what is shared in parts */
};

struct gauge {
	int fd; /* -1: this host has no such file */
	uint64_t cost_ns;
	struct gauge_reading reading;
};

void gauge_open(struct gauge *gauge);
void gauge_close(struct gauge *gauge);
/* The present reading, or one not much older. */
void gauge_read(struct gauge *gauge, const struct memory *memory, struct gauge_reading *out);

/* One line of smaps for the reading at hand; for tests. `in_ram`: whether the mapping it is about is guest RAM, which the
 * first line of each mapping decides. */
void gauge_take_line(struct gauge_reading *reading, const struct memory *memory, const char *line, bool *in_ram);

#endif
