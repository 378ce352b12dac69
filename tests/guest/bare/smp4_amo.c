/* Four harts on the same words: AMOs and LR/SC lose nothing, and a lock made of each keeps its promise. */
#include "bare.h"

#define HARTS  4
#define ROUNDS 20000

static volatile uint64_t added __attribute__((aligned(64))), added_w __attribute__((aligned(64)));
static volatile uint64_t paired __attribute__((aligned(64))), bits __attribute__((aligned(64)));
static volatile uint32_t lock __attribute__((aligned(64)));
static volatile uint64_t guarded, guarded_too, torn;
static volatile uint64_t finished __attribute__((aligned(64)));

static void add(volatile uint64_t *word, uint64_t value)
{
	asm volatile("amoadd.d zero, %0, (%1)" ::"r"(value), "r"(word) : "memory");
}

static void add_word(volatile uint64_t *word)
{
	asm volatile("amoadd.w zero, %0, (%1)" ::"r"(1), "r"(word) : "memory");
}

static void add_pair(volatile uint64_t *word)
{
	uint64_t value, failed;

	do
		asm volatile("lr.d %0, (%2); addi %0, %0, 1; sc.d %1, %0, (%2)"
			     : "=&r"(value), "=&r"(failed)
			     : "r"(word)
			     : "memory");
	while (failed);
}

static void take(void)
{
	uint32_t was;

	do
		asm volatile("amoswap.w.aq %0, %1, (%2)" : "=r"(was) : "r"(1), "r"(&lock) : "memory");
	while (was);
}

static void release(void)
{
	asm volatile("amoswap.w.rl zero, zero, (%0)" ::"r"(&lock) : "memory");
}

static void work(uint64_t id)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		add(&added, id + 1);
		add_word(&added_w);
		add_pair(&paired);
		asm volatile("amoxor.d zero, %0, (%1)" ::"r"(BIT(id)), "r"(&bits) : "memory");
		if (i % 16)
			continue;
		take();
		if (guarded != guarded_too)
			torn = torn + 1;
		guarded = guarded + 1;
		guarded_too = guarded_too + 1;
		release();
	}
	asm volatile("fence" ::: "memory");
	add(&finished, 1);
}

static void other(uint64_t id)
{
	if (id < HARTS)
		work(id);
	for (;;)
		asm volatile("wfi");
}

int main(void)
{
	start_others(other);
	work(0);
	while (finished < HARTS)
		continue;
	check(added, ROUNDS * (1 + 2 + 3 + 4));
	check(added_w, ROUNDS * HARTS);
	check(paired, ROUNDS * HARTS);
	check(bits, 0);
	check(guarded, ROUNDS / 16 * HARTS);
	check(torn, 0);
	return 0;
}
