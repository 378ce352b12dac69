#include "torture.h"

#ifdef LONG
#define MILLISECONDS 20000
#else
#define MILLISECONDS 250
#endif
#define ROUNDS_PER_LOOK 16

static struct {
	volatile uint64_t rounds, pad[7];
} done[CROWD_MAX] __attribute__((aligned(64)));
static volatile uint64_t wrong;
static const struct torture *volatile current;
static volatile uint64_t end;

void torture_wrong(void)
{
	amo_add(&wrong, 1);
}

static void work(uint64_t id, uint64_t *random)
{
	uint64_t rounds = 0;

	do {
		for (unsigned i = 0; i < ROUNDS_PER_LOOK; i++)
			current->round(id, random);
		rounds += ROUNDS_PER_LOOK;
	} while (now() < end);
	done[id].rounds = rounds;
}

static void other(uint64_t id)
{
	uint64_t random = id;

	for (;;) {
		crowd_barrier();
		work(id, &random);
		crowd_barrier();
	}
}

static void one(const struct torture *torture, uint64_t *random)
{
	uint64_t rounds[CROWD_MAX];

	for (unsigned i = 0; i < CROWD_MAX; i++)
		done[i].rounds = 0;
	current = torture;
	wrong = 0;
	end = now() + MILLISECONDS * TICKS_PER_MS;
	crowd_barrier();
	work(0, random);
	crowd_barrier();
	for (unsigned i = 0; i < CROWD_MAX; i++)
		rounds[i] = done[i].rounds;
	print("note: ");
	print(torture->name);
	print(": ");
	print_decimal(total(rounds));
	print(" rounds\n");
	context(torture->name, rounds[0], rounds[1], rounds[2]);
	check(wrong, 0);
	torture->verify(rounds);
}

void torture_run(unsigned harts)
{
	uint64_t random = 0;

	crowd_begin(harts, other);
	for (const struct torture *t = torture_locks; t->name; t++)
		one(t, &random);
	for (const struct torture *t = torture_free; t->name; t++)
		one(t, &random);
}
