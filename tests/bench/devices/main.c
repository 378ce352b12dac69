#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double load_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void load_say(const char *name, double value)
{
	printf("load %s %.3f\n", name, value);
	fflush(stdout);
}

void load_die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

void load_stamp(uint8_t *bytes, uint64_t size, uint64_t sector, uint64_t generation)
{
	for (uint64_t at = 0; at < size; at += LOAD_SECTOR, sector++) {
		const struct load_stamp stamp = {sector, generation};

		memcpy(bytes + at, &stamp, sizeof stamp);
	}
}

void load_check(const uint8_t *bytes, uint64_t size, uint64_t sector, uint64_t generation)
{
	for (uint64_t at = 0; at < size; at += LOAD_SECTOR, sector++) {
		struct load_stamp stamp;

		memcpy(&stamp, bytes + at, sizeof stamp);
		if (stamp.sector == sector && stamp.generation == generation)
			continue;
		fprintf(stderr,
			"load: sector %" PRIu64 " of generation %" PRIu64 " is %" PRIu64 " of generation %" PRIu64
			"\n",
			sector, generation, stamp.sector, stamp.generation);
		exit(1);
	}
}

int main(int count, char **arguments)
{
	if (count == 4 && strcmp(arguments[1], "disk") == 0)
		return load_disk(arguments[2], atof(arguments[3]));
	if (count == 5 && strcmp(arguments[1], "files") == 0)
		return load_files(arguments[2], strtoull(arguments[3], NULL, 10), (unsigned)atoi(arguments[4]));
	if (count == 3 && strcmp(arguments[1], "console") == 0)
		return load_console(strtoull(arguments[2], NULL, 10));
	fprintf(stderr, "usage: load disk DEVICE SECONDS | files FOLDER BYTES FILES | console BYTES\n");
	return 2;
}
