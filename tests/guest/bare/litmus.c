#include "litmus.h"

#include "crowd.h"

#ifdef LONG
#define MILLISECONDS 5000
#else
#define MILLISECONDS 60
#endif
#define CELLS        2048
#define LINE         8 /* words */
#define RESULTS      2
#define PATIENCE     2000000 /* looks at harts that are behind, a batch */

struct cell {
	uint64_t words[3][LINE];
	uint64_t seen[LITMUS_HARTS][LINE];
};

static struct cell cells[CELLS] __attribute__((aligned(64)));
static struct {
	volatile uint64_t at, pad[LINE - 1];
} progress[LITMUS_HARTS] __attribute__((aligned(64)));
static const struct litmus *volatile current;

/* Brings the harts together in time, but for a random moment: who comes last goes on first. A hart that does not
 * run is waited for no longer than the batch's patience lasts. */
static void meet(uint64_t id, uint64_t i, uint64_t *random, unsigned *patience)
{
	uint64_t skew = random_next(random) % (UINT64_C(1) << random_next(random) % 9);

	progress[id].at = i;
	for (unsigned other = 0; other < crowd_harts; other++)
		while (progress[other].at < i && *patience)
			--*patience;
	for (; skew > 0; skew--)
		asm volatile("");
}

static void batch(uint64_t id, uint64_t *random)
{
	litmus_part *part = current->parts[id];
	unsigned patience = PATIENCE;

	for (uint64_t i = 0; i < CELLS; i++) {
		struct cell *cell = &cells[i];

		meet(id, i + 1, random, &patience);
		if (part)
			part(cell->words[0], cell->words[1], cell->words[2], cell->seen[id]);
	}
}

static void other(uint64_t id)
{
	uint64_t random = id;

	for (;;) {
		crowd_barrier();
		batch(id, &random);
		crowd_barrier();
	}
}

/* The value that a term of an outcome speaks of. */
static uint64_t named(const struct cell *cell, const char *term)
{
	if (term[0] >= 'x')
		return cell->words[term[0] - 'x'][0];
	return cell->seen[term[0] - '0'][term[2] - '0'];
}

static bool matches(const struct cell *cell, const char *outcome)
{
	bool same = true;

	for (const char *term = outcome; *term;) {
		unsigned length = *term >= 'x' ? 3 : 5;

		same = same && named(cell, term) == (uint64_t)(term[length - 1] - '0');
		term += length;
		if (*term == ';') {
			if (same)
				return true;
			same = true;
			term++;
		}
		if (*term == ' ')
			term++;
	}
	return same;
}

static void clear(void)
{
	for (unsigned i = 0; i < CELLS; i++)
		cells[i] = (struct cell){.words = {{0}}};
	for (unsigned i = 0; i < crowd_harts; i++)
		progress[i].at = 0;
}

static void tell(const struct litmus *test, uint64_t seen, uint64_t rounds)
{
	static const char *const words[] = {" (forbidden)\n", " (allowed)\n", " (not checked)\n"};

	print("note: ");
	print(test->name);
	print(": ");
	print_decimal(seen);
	print(" of ");
	print_decimal(rounds);
	print(words[test->kind]);
}

static void one(const struct litmus *test, uint64_t *random)
{
	uint64_t end = now() + MILLISECONDS * TICKS_PER_MS, seen = 0, rounds = 0;

	current = test;
	do {
		clear();
		crowd_barrier();
		batch(0, random);
		crowd_barrier();
		for (unsigned i = 0; i < CELLS; i++)
			seen += matches(&cells[i], test->outcome);
		rounds += CELLS;
	} while (now() < end);
	tell(test, seen, rounds);
	context(test->name, rounds, 0, 0);
	if (test->kind == FORBIDDEN)
		check(seen, 0);
}

void litmus_run(const struct litmus *tests, unsigned count, unsigned harts)
{
	uint64_t random = 0;

	crowd_begin(harts, other);
	for (unsigned i = 0; i < count; i++)
		one(&tests[i], &random);
}
