/*
 * What a guest sees of its clocks while it is saved and moved (tests/guest/nested/kvm-guests).
 *
 *   clocks CPUS FILE     a thread on each CPU reads every clock again and again; each second FILE tells what all of them saw:
 *
 *     NAME READINGS BACK WORST LONGEST     of a clock: how often it was read, how often that was before what any CPU had read
 *                                          until then, by how much at worst, and the longest step onwards: nanoseconds
 *     apart NS                             how much more passed by the time stamp counter than by the kernel's clock, since the start
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define NS_PER_S UINT64_C(1000000000)
#define BURST    100 /* readings between two rests */
#define REST_NS  20000000

static uint64_t kernel_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t monotonic(void)
{
	return kernel_clock(CLOCK_MONOTONIC);
}

static uint64_t raw(void)
{
	return kernel_clock(CLOCK_MONOTONIC_RAW);
}

/* Neither before nor after the loads beside it. */
static uint64_t counter(void)
{
	uint64_t value;

	_mm_lfence();
	value = __rdtsc();
	_mm_lfence();
	return value;
}

static struct seen {
	const char *name;
	uint64_t (*read)(void);
	uint64_t latest, readings, back, worst, longest;
} seen[] = {
	{.name = "tsc", .read = counter},
	{.name = "monotonic", .read = monotonic},
	{.name = "raw", .read = raw},
};
#define CLOCKS (sizeof seen / sizeof *seen)

static void raise_to(uint64_t *most, uint64_t value)
{
	uint64_t old = __atomic_load_n(most, __ATOMIC_SEQ_CST);

	while (old < value &&
	       !__atomic_compare_exchange_n(most, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		continue;
}

/* What another CPU has told before this one reads is never later than what it reads. */
static void look(struct seen *clock)
{
	uint64_t before = __atomic_load_n(&clock->latest, __ATOMIC_SEQ_CST), now = clock->read();

	__atomic_add_fetch(&clock->readings, 1, __ATOMIC_RELAXED);
	if (now < before) {
		__atomic_add_fetch(&clock->back, 1, __ATOMIC_RELAXED);
		raise_to(&clock->worst, before - now);
	} else if (before) {
		raise_to(&clock->longest, now - before);
	}
	raise_to(&clock->latest, now);
}

static void *watch(void *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)(uintptr_t)cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) < 0)
		exit(2);
	for (;;) {
		for (unsigned i = 0; i < BURST; i++)
			for (unsigned j = 0; j < CLOCKS; j++)
				look(&seen[j]);
		nanosleep(&(struct timespec){.tv_nsec = REST_NS}, NULL);
	}
	return NULL;
}

struct pair {
	uint64_t ticks, ns;
};

/* Both clocks at one instant: of some readings, the one that took least. */
static struct pair read_both(void)
{
	struct pair best = {0};
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < 20; i++) {
		uint64_t from = counter(), ns = raw(), to = counter();

		if (to >= from && to - from < least) {
			least = to - from;
			best = (struct pair){.ticks = from + least / 2, .ns = ns};
		}
	}
	return best;
}

static double ticks_per_ns(struct pair from, struct pair to)
{
	return (double)(to.ticks - from.ticks) / (double)(to.ns - from.ns);
}

/* Whoever reads it has all of one second. */
static void tell(const char *file, struct pair start, double rate)
{
	struct pair now = read_both();
	char other[256];
	FILE *out;

	snprintf(other, sizeof other, "%s.new", file);
	out = fopen(other, "w");
	if (!out)
		exit(2);
	for (unsigned i = 0; i < CLOCKS; i++) {
		double ns = i == 0 ? rate : 1;

		fprintf(out, "%s %llu %llu %.0f %.0f\n", seen[i].name, (unsigned long long)seen[i].readings,
			(unsigned long long)seen[i].back, (double)seen[i].worst / ns,
			(double)seen[i].longest / ns);
	}
	fprintf(out, "apart %.0f\n", (double)(now.ticks - start.ticks) / rate - (double)(now.ns - start.ns));
	if (fclose(out) != 0 || rename(other, file) != 0)
		exit(2);
}

int main(int argc, char **argv)
{
	struct pair start = read_both();
	double rate;

	if (argc != 3)
		return 2;
	/* Whoever asks for what it saw comes first. */
	(void)!nice(19);
	sleep(3);
	rate = ticks_per_ns(start, read_both());
	for (intptr_t i = 0; i < atoi(argv[1]); i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, watch, (void *)i) != 0)
			return 2;
	}
	for (;;) {
		sleep(1);
		tell(argv[2], start, rate);
	}
}
