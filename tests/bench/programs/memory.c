/* Latency and bandwidth of memory. */
#include "bench.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define LINE 64

/* One cycle through every line of `size` bytes in random order (Sattolo's shuffle). */
static void **make_chain(size_t size)
{
	size_t count = size / LINE;
	char *base = aligned_alloc(4096, size);
	uint32_t *order = malloc(count * sizeof *order);
	uint64_t seed = 3;

	if (!base || !order)
		bench_die("memory");
	for (size_t i = 0; i < count; i++)
		order[i] = (uint32_t)i;
	for (size_t i = count - 1; i > 0; i--) {
		size_t j = bench_random(&seed) % i;
		uint32_t other = order[i];

		order[i] = order[j];
		order[j] = other;
	}
	for (size_t i = 0; i < count; i++)
		*(void **)(void *)(base + LINE * order[i]) = base + LINE * order[(i + 1) % count];
	free(order);
	return (void **)(void *)base;
}

static void **chain;

static void chase1_prepare(void)
{
	chain = make_chain((size_t)1 << 20);
}

static void chase16_prepare(void)
{
	chain = make_chain((size_t)16 << 20);
}

static uint64_t chase(size_t steps)
{
	void **at = chain;

	for (size_t i = 0; i < steps; i++)
		at = *at;
	return (uint64_t)((char *)at - (char *)chain);
}

static uint64_t chase1_run(void)
{
	return chase(5000000);
}

static uint64_t chase16_run(void)
{
	return chase(1000000);
}

#define COPIED ((size_t)64 << 10)

static char source[COPIED + 64], target[COPIED + 64];

static void copy_prepare(void)
{
	uint64_t seed = 5;

	for (size_t i = 0; i < sizeof source; i++)
		source[i] = (char)bench_random(&seed);
}

/* Most sizes are small, as in programs; ends and offsets vary. */
static uint64_t copy_run(void)
{
	void *(*volatile copy)(void *, const void *, size_t) = memcpy;
	uint64_t sum = 0;

	for (size_t i = 0; i < 12000; i++) {
		copy(target + i % 8, source, COPIED);
		copy(target + i % 64, source + i % 7, 100 + i % 400);
		sum = bench_mix(sum, (uint8_t)target[i * 11 % COPIED]);
	}
	return sum;
}

#define TRIAD ((size_t)1 << 17)

static double a[TRIAD], b[TRIAD], c[TRIAD];

static void triad_prepare(void)
{
	for (size_t i = 0; i < TRIAD; i++) {
		b[i] = (double)(i % 100);
		c[i] = (double)(i % 7);
	}
}

static uint64_t triad_run(void)
{
	double sum = 0;

	for (int round = 0; round < 400; round++) {
		double factor = round % 4;

		for (size_t i = 0; i < TRIAD; i++)
			a[i] = b[i] + factor * c[i];
		__asm__ volatile("" : : "r"(a) : "memory");
	}
	for (size_t i = 0; i < TRIAD; i += 61)
		sum += a[i];
	return (uint64_t)sum;
}

const struct bench benches_memory[] = {
	{"chase-1M", chase1_prepare, chase1_run},
	{"chase-16M", chase16_prepare, chase16_run},
	{"memcpy", copy_prepare, copy_run},
	{"triad", triad_prepare, triad_run},
	{NULL, NULL, NULL},
};
