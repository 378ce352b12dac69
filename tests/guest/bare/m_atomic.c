/* LR/SC and AMOs of one hart: what succeeds, what must fail, each operation's result and sign extension. */
#include "paging.h"

static uint64_t words[8] __attribute__((aligned(64)));

/* Each returns what SC wrote, 0 for success. a0 and a1: addresses. */
static naked void pair(void)
{
	asm("lr.d t0, (a0); li t1, 0x55; sc.d a0, t1, (a1); ret");
}
static naked void pair_word(void)
{
	asm("lr.w t0, (a0); li t1, 0x66; sc.w a0, t1, (a1); ret");
}
static naked void sc_twice(void)
{
	asm("lr.d t0, (a0); sc.d t1, t0, (a0); sc.d a0, t0, (a0); ret");
}
static naked void sc_alone(void)
{
	asm("sc.d t1, zero, (a0); lr.d t0, (a0); sc.d t1, t0, (a0); li t1, 0x77; sc.d a0, t1, (a0); ret");
}
static naked void lr_sign(void)
{
	asm("lr.w a0, (a0); ret");
}
static naked void retry(void)
{
	asm("li t2, 0; 1: lr.d t0, (a0); addi t0, t0, 1; sc.d t1, t0, (a0); beqz t1, 2f; addi t2, t2, 1; li t3, 1000;"
	    "bltu t2, t3, 1b; 2: mv a0, t2; ret");
}

static uint64_t result(const void *code, const uint64_t *a0, const uint64_t *a1)
{
	last = run(S, code, (uint64_t)a0, (uint64_t)a1);
	check(last.cause, ECALL_S);
	return last.a0;
}

static void reservations(void)
{
	words[0] = 1;
	words[1] = 2;
	check(result(pair, &words[0], &words[0]), 0);
	check(words[0], 0x55);
	words[0] = UINT64_C(0xffffffff00000001);
	check(result(pair_word, &words[0], &words[0]), 0);
	check(words[0], UINT64_C(0xffffffff00000066));
	/* Another place, far from the reservation. */
	check(result(pair, &words[0], &words[7]) != 0, 1);
	check(words[7], 0);
	/* An SC, whatever becomes of it, ends the reservation. */
	check(result(sc_twice, &words[0], NULL) != 0, 1);
	words[2] = 5;
	check(result(sc_alone, &words[2], NULL) != 0, 1);
	check(words[2], 5);
	words[3] = UINT64_C(0x1234567880000000);
	check(result(lr_sign, &words[3], NULL), UINT64_C(0xffffffff80000000));
	for (unsigned i = 0; i < 100; i++)
		check(result(retry, &words[4], NULL) < 1000, 1);
	check(words[4], 100);
}

#define AMO(name)                                                                                                 \
	static naked void name##_d(void)                                                                          \
	{                                                                                                         \
		asm("amo" #name ".d a0, a1, (a0); ret");                                                          \
	}                                                                                                         \
	static naked void name##_w(void)                                                                          \
	{                                                                                                         \
		asm("amo" #name ".w a0, a1, (a0); ret");                                                          \
	}

AMO(swap)
AMO(add)
AMO(and)
AMO(or)
AMO(xor)
AMO(min)
AMO(max)
AMO(minu)
AMO(maxu)

enum { SWAP, ADD, AND, OR, XOR, MIN, MAX, MINU, MAXU, OPERATIONS };

static const struct {
	const void *d, *w;
} operations[OPERATIONS] = {
	[SWAP] = {swap_d, swap_w}, [ADD] = {add_d, add_w},    [AND] = {and_d, and_w},
	[OR] = {or_d, or_w},       [XOR] = {xor_d, xor_w},    [MIN] = {min_d, min_w},
	[MAX] = {max_d, max_w},    [MINU] = {minu_d, minu_w}, [MAXU] = {maxu_d, maxu_w},
};

static uint64_t model(unsigned operation, int64_t a, int64_t b)
{
	switch (operation) {
	case SWAP:
		return (uint64_t)b;
	case ADD:
		return (uint64_t)a + (uint64_t)b;
	case AND:
		return (uint64_t)(a & b);
	case OR:
		return (uint64_t)(a | b);
	case XOR:
		return (uint64_t)(a ^ b);
	case MIN:
		return (uint64_t)(a < b ? a : b);
	case MAX:
		return (uint64_t)(a > b ? a : b);
	case MINU:
		return (uint64_t)a < (uint64_t)b ? (uint64_t)a : (uint64_t)b;
	default:
		return (uint64_t)a > (uint64_t)b ? (uint64_t)a : (uint64_t)b;
	}
}

static const uint64_t values[] = {
	0,
	1,
	UINT64_MAX,
	0x7fffffff,
	0x80000000,
	0xffffffff,
	0x100000000,
	UINT64_C(0x7fffffffffffffff),
	UINT64_C(0x8000000000000000),
	UINT64_C(0x8000000080000000),
	UINT64_C(0x123456789abcdef0),
	0xfffffffe7fffffff,
};
#define VALUES (sizeof(values) / sizeof(values[0]))

static void one(unsigned operation, uint64_t a, uint64_t b)
{
	uint64_t word;

	context("amo, memory, register", operation, a, b);
	words[0] = a;
	last = run(U, operations[operation].d, (uint64_t)&words[0], b);
	check(last.a0, a);
	check(words[0], model(operation, (int64_t)a, (int64_t)b));
	words[0] = a;
	last = run(U, operations[operation].w, (uint64_t)&words[0], b);
	check(last.a0, (uint64_t)(int32_t)a);
	word = model(operation, (int32_t)a, (int32_t)b) & 0xffffffff;
	check(words[0], (a >> 32 << 32) | word);
}

/* Permissions: an LR needs a page that can be read, an SC and an AMO one that can be written. */
static void faults(void)
{
	uint64_t at = UINT64_C(0x123400000), *entry;

	paging_reset(3);
	paging_map(0x80000000, 0x80000000, 2, PTE_ALL);
	entry = paging_map(at, (uint64_t)words & ~(PAGE - 1), 0, PTE_V | PTE_R | PTE_A);
	paging_on(0);
	context("faults", 0, 0, 0);
	check(run(S, lr_sign, at, 0).cause, ECALL_S);
	last = run(S, pair, at, at);
	check(last.cause, STORE_PAGE);
	check(last.tval, at);
	last = run(S, add_d, at + 8, 0);
	check(last.cause, STORE_PAGE);
	check(last.tval, at + 8);
	*entry = 0;
	fence_vma();
	check(run(S, lr_sign, at, 0).cause, LOAD_PAGE);
	/* QEMU 7.2: the cause of a load. */
	check_strictly(run(S, add_w, at, 0).cause, STORE_PAGE);
	csr_write(satp, 0);
	fence_vma();
}

int main(void)
{
	reservations();
	for (unsigned operation = 0; operation < OPERATIONS; operation++)
		for (unsigned i = 0; i < VALUES; i++)
			for (unsigned j = 0; j < VALUES; j++)
				one(operation, values[i], values[j]);
	faults();
	return 0;
}
