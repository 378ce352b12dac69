/* Four harts that fence and interrupt each other all at once, and stop and start again: nobody waits for ever. */
#include "supervisor.h"

#define HARTS  4
#define ROUNDS 300
#define LIVES  20

static struct begin begin[HARTS];
static volatile uint64_t ready, go, finished, over, lives[HARTS], refused[HARTS];

static void add(volatile uint64_t *word)
{
	asm volatile("amoadd.d zero, %0, (%1)" ::"r"(1), "r"(word) : "memory");
}

static void storm(uint64_t id)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		/* All of them, the others, or the next one. */
		uint64_t mask = i % 3 == 0 ? 15 : i % 3 == 1 ? 15 & ~BIT(id) : BIT((id + 1) % HARTS);

		if (SBI(RFENCE, i & 1, mask, 0, 0, -1).error || SBI(IPI, 0, mask, 0).error)
			refused[id] = refused[id] + 1;
	}
}

static void together(uint64_t id)
{
	add(&ready);
	while (!go)
		continue;
	storm(id);
	add(&finished);
	while (!over)
		continue;
	SBI(HSM, 1);
}

static void one_life(uint64_t id)
{
	lives[id] = lives[id] + 1;
	asm volatile("fence" ::: "memory");
	SBI(HSM, 1);
}

static void start(uint64_t id, void (*code)(uint64_t id))
{
	struct answer answer;

	begin[id] = (struct begin){stack_of(id), code};
	asm volatile("fence" ::: "memory");
	while (SBI(HSM, 2, id).value != STOPPED)
		continue;
	answer = SBI(HSM, 0, id, hart_begin, &begin[id]);
	check(answer.error, OK);
}

static void all_stopped(void)
{
	for (unsigned i = 0; i < HARTS; i++)
		while (i != boot.hart && SBI(HSM, 2, i).value != STOPPED)
			continue;
}

int main(void)
{
	for (unsigned i = 0; i < HARTS; i++)
		if (i != boot.hart)
			start(i, together);
	while (ready != HARTS - 1)
		continue;
	go = 1;
	storm(boot.hart);
	while (finished != HARTS - 1)
		continue;
	over = 1;
	all_stopped();
	for (unsigned i = 0; i < HARTS; i++) {
		context("hart", i, 0, 0);
		check(refused[i], 0);
	}
	/* Born and gone, with fences and interrupts in the air: OpenSBI 1.1 can wait for ever for a hart that
	 * stops. */
	if (!on_doppel())
		return 0;
	for (unsigned life = 1; life <= LIVES; life++) {
		for (unsigned i = 0; i < HARTS; i++)
			if (i != boot.hart)
				start(i, one_life);
		check(SBI(RFENCE, 1, 15, 0, 0, -1).error, OK);
		check(SBI(IPI, 0, 15, 0).error, OK);
		all_stopped();
	}
	for (unsigned i = 0; i < HARTS; i++) {
		context("lives of hart", i, 0, 0);
		check(lives[i], i == boot.hart ? 0 : LIVES);
	}
	return 0;
}
