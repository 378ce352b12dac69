#ifndef DOPPEL_BENCH_H
#define DOPPEL_BENCH_H

/* Programs of known kinds of work, the same source for the guest and the host. `bench NAME` prints one line
 *
 *     bench NAME SECONDS CHECKSUM
 *
 * where SECONDS is the time of `run` alone. The checksum depends on all that was computed and on nothing else, so
 * that it is the same on every machine; results in floating point enter it rounded (contraction differs). */

#include <stdint.h>

struct bench {
	const char *name;
	/* Not timed; may be NULL. */
	void (*prepare)(void);
	/* Returns the checksum. */
	uint64_t (*run)(void);
};

extern const struct bench benches_integer[], benches_float[], benches_memory[], benches_text[], benches_system[],
	benches_code[], benches_more[], benches_kinds[];

/* A generator good enough for data, the same everywhere. */
static inline uint32_t bench_random(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33);
}

static inline uint64_t bench_mix(uint64_t sum, uint64_t value)
{
	return (sum ^ value) * UINT64_C(0x9e3779b97f4a7c15) + (sum >> 29);
}

double bench_now(void);
/* Says what failed and ends the program with status 1. */
void bench_die(const char *what) __attribute__((noreturn));
/* `bench --command NAME PROGRAM [ARGUMENT...]`: times a program, its standard output is the checksum. */
int bench_command(const char *name, char **arguments);

#endif
