#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct bench *const tables[] = {benches_integer, benches_float, benches_memory, benches_text,
					     benches_code,    benches_more,  benches_kinds, benches_system};

double bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void bench_die(const char *what)
{
	perror(what);
	exit(1);
}

static int run(const struct bench *bench)
{
	uint64_t sum;
	double started;

	if (bench->prepare)
		bench->prepare();
	started = bench_now();
	sum = bench->run();
	printf("bench %s %.6f %016" PRIx64 "\n", bench->name, bench_now() - started, sum);
	return fflush(stdout) == 0 ? 0 : 1;
}

static int list(void)
{
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		for (const struct bench *bench = tables[i]; bench->name; bench++)
			puts(bench->name);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "--command") == 0)
		return bench_command(argv[2], argv + 3);
	if (argc != 2) {
		fprintf(stderr, "usage: bench NAME | --list | --command NAME PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	/* What fork+exec starts. */
	if (strcmp(argv[1], "--nothing") == 0)
		return 7;
	if (strcmp(argv[1], "--list") == 0)
		return list();
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		for (const struct bench *bench = tables[i]; bench->name; bench++)
			if (strcmp(bench->name, argv[1]) == 0)
				return run(bench);
	fprintf(stderr, "bench: there is no %s\n", argv[1]);
	return 2;
}
