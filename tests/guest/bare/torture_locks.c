/* Locks, and what they guard: counters of each size at odd addresses, across lines and pages. */
#include "torture.h"

/* Linux's ticket lock: the next ticket above, the owner below, stored to as a halfword. */
static volatile uint32_t word __attribute__((aligned(64)));

static void spin_take(void)
{
	uint64_t was;

	do
		asm volatile("amoswap.w.aq %0, %1, (%2)" : "=r"(was) : "r"(1), "r"(&word) : "memory");
	while (was);
}

static void spin_drop(void)
{
	asm volatile("amoswap.w.rl zero, zero, (%0)" ::"r"(&word) : "memory");
}

static void pair_take(void)
{
	uint64_t value;

	asm volatile("1: lr.w.aq %0, (%1); bnez %0, 1b; sc.w %0, %2, (%1); bnez %0, 1b; fence r, rw"
		     : "=&r"(value)
		     : "r"(&word), "r"(1)
		     : "memory");
}

static void pair_drop(void)
{
	asm volatile("fence rw, w; sw zero, (%0)" ::"r"(&word) : "memory");
}

static void ticket_take(void)
{
	uint64_t was;
	uint16_t owner;

	asm volatile("amoadd.w.aqrl %0, %1, (%2)" : "=r"(was) : "r"(1 << 16), "r"(&word) : "memory");
	do
		asm volatile("lhu %0, (%1)" : "=r"(owner) : "r"(&word) : "memory");
	while (owner != (uint16_t)(was >> 16));
	asm volatile("fence r, rw" ::: "memory");
}

static void ticket_drop(void)
{
	volatile uint16_t *owner = (volatile uint16_t *)&word;

	asm volatile("fence rw, w" ::: "memory");
	*owner = (uint16_t)(*owner + 1);
}

/* Mellor-Crummey and Scott: each hart spins on a word of its own. */
static struct queued {
	volatile uint64_t next, locked, pad[6];
} queued[CROWD_MAX] __attribute__((aligned(64)));
static volatile uint64_t tail __attribute__((aligned(64)));

static void queue_take(uint64_t id)
{
	struct queued *mine = &queued[id], *before;

	mine->next = 0;
	mine->locked = 1;
	before = (struct queued *)amo_swap(&tail, (uint64_t)mine);
	if (!before)
		return;
	before->next = (uint64_t)mine;
	while (mine->locked)
		continue;
	asm volatile("fence r, rw" ::: "memory");
}

static void queue_drop(uint64_t id)
{
	struct queued *mine = &queued[id];

	asm volatile("fence rw, w" ::: "memory");
	if (!mine->next && replaced(&tail, (uint64_t)mine, 0))
		return;
	while (!mine->next)
		continue;
	((struct queued *)mine->next)->locked = 0;
}

/* A doubleword, word, halfword and byte one after the other, misaligned; two sets of them, one across a line, one
 * across a page. A byte of each hart's own lies before and behind. */
static uint8_t area[3 * 4096] __attribute__((aligned(4096)));
static uint8_t *const sets[] = {area + 64 - 5, area + 4096 - 5};

#define BUMP(load, store, address)                                                                                \
	({                                                                                                        \
		uint64_t old_, new_;                                                                              \
		asm volatile(load " %0, (%2); addi %1, %0, 1; " store " %1, (%2)"                                 \
			     : "=&r"(old_), "=&r"(new_)                                                           \
			     : "r"(address)                                                                       \
			     : "memory");                                                                         \
		old_;                                                                                             \
	})

static uint64_t peek(const uint8_t *at)
{
	uint64_t value;

	asm volatile("ld %0, (%1)" : "=r"(value) : "r"(at) : "memory");
	return value;
}

static void guarded(void)
{
	for (unsigned i = 0; i < 2; i++) {
		uint64_t n = BUMP("ld", "sd", sets[i]);

		if (BUMP("lwu", "sw", sets[i] + 8) != (uint32_t)n || BUMP("lhu", "sh", sets[i] + 12) != (uint16_t)n ||
		    BUMP("lbu", "sb", sets[i] + 14) != (uint8_t)n)
			torture_wrong();
	}
}

static void own_bytes(uint64_t id)
{
	static uint8_t expected[CROWD_MAX][64];

	for (unsigned i = 0; i < 2; i++) {
		if (BUMP("lbu", "sb", sets[i] - 1 - id) != expected[id][0] ||
		    BUMP("lbu", "sb", sets[i] + 15 + id) != expected[id][0])
			torture_wrong();
	}
	expected[id][0]++;
}

#define LOCKED(name, take, drop)                                                                                  \
	static void name(uint64_t id, uint64_t *random)                                                           \
	{                                                                                                         \
		(void)random;                                                                                     \
		take;                                                                                             \
		guarded();                                                                                        \
		drop;                                                                                             \
		own_bytes(id);                                                                                    \
	}

LOCKED(spin, spin_take(), spin_drop())
LOCKED(pair, pair_take(), pair_drop())
LOCKED(ticket, ticket_take(), ticket_drop())
LOCKED(queue, queue_take(id), queue_drop(id))

/* Locks go on with what the one before left, so a count is of all of them. */
static void counted(const uint64_t rounds[CROWD_MAX])
{
	static uint64_t all;

	all += total(rounds);
	word = 0;
	check(tail, 0);
	for (unsigned i = 0; i < 2; i++) {
		check(peek(sets[i]), all);
		check((uint32_t)peek(sets[i] + 8), (uint32_t)all);
		check((uint16_t)peek(sets[i] + 12), (uint16_t)all);
		check((uint8_t)peek(sets[i] + 14), (uint8_t)all);
	}
}

const struct torture torture_locks[] = {
	{"lock by swap", spin, counted},    {"lock by LR and SC", pair, counted},
	{"lock by ticket", ticket, counted}, {"lock by queue", queue, counted},
	{NULL, NULL, NULL},
};
