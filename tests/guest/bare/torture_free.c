/* Without locks: counters, a stack, a ring, and bytes that belong to different harts. */
#include "torture.h"

/* A doubleword that all add to, and two words of one doubleword, added to in three ways. */
static volatile uint64_t sum __attribute__((aligned(64))), pairs __attribute__((aligned(64)));
static volatile uint32_t words[2] __attribute__((aligned(64)));
static volatile uint64_t highest __attribute__((aligned(64))), lowest, toggles;

static void add_word(volatile uint32_t *to, bool paired)
{
	uint64_t value, failed;

	if (!paired) {
		asm volatile("amoadd.w zero, %0, (%1)" ::"r"(1), "r"(to) : "memory");
		return;
	}
	asm volatile("1: lr.w %0, (%2); addi %0, %0, 1; sc.w %1, %0, (%2); bnez %1, 1b"
		     : "=&r"(value), "=&r"(failed)
		     : "r"(to)
		     : "memory");
}

static void extremes(uint64_t id)
{
	static uint64_t latest[CROWD_MAX][8];
	uint64_t old, mine = ++latest[id][0] * CROWD_MAX + id;
	bool again = latest[id][0] > 1;

	asm volatile("amomaxu.d %0, %1, (%2)" : "=r"(old) : "r"(mine), "r"(&highest) : "memory");
	/* Never less than what this hart itself put there. */
	if (again && old + CROWD_MAX < mine)
		torture_wrong();
	asm volatile("amomin.d %0, %1, (%2)" : "=r"(old) : "r"(-mine), "r"(&lowest) : "memory");
	if (again && (int64_t)old > -(int64_t)(mine - CROWD_MAX))
		torture_wrong();
	asm volatile("amoxor.d %0, %1, (%2)" : "=r"(old) : "r"(BIT(id * 9)), "r"(&toggles) : "memory");
	if ((old >> id * 9 & 1) == (latest[id][0] & 1))
		torture_wrong();
}

static void count(uint64_t id, uint64_t *random)
{
	uint64_t value, failed;

	amo_add(&sum, id + 1);
	asm volatile("1: lr.d %0, (%2); addi %0, %0, 1; sc.d %1, %0, (%2); bnez %1, 1b"
		     : "=&r"(value), "=&r"(failed)
		     : "r"(&pairs)
		     : "memory");
	if (random_next(random) & 1)
		amo_add(&pairs, 0);
	add_word(&words[0], id & 1);
	add_word(&words[1], !(id & 1));
	extremes(id);
}

static void counted(const uint64_t rounds[CROWD_MAX])
{
	uint64_t all = total(rounds), most = 0, weighted = 0;

	for (uint64_t i = 0; i < CROWD_MAX; i++) {
		uint64_t latest = rounds[i] * CROWD_MAX + i;

		weighted += rounds[i] * (i + 1);
		if (rounds[i] && latest > most)
			most = latest;
		check(toggles >> i * 9 & 1, rounds[i] & 1);
	}
	check(sum, weighted);
	check(pairs, all);
	check(words[0], (uint32_t)all);
	check(words[1], (uint32_t)all);
	check(highest, most);
	check(lowest, -most);
}

/*
 * A stack of nodes. The word has the first node's number (1 and up) below and a count of changes above, so that a
 * node that left and came back is seen; LR and SC do the exchange. Each taken node is this hart's alone.
 */
#define NODES 12
static struct {
	volatile uint64_t next, owner, uses, pad[5];
} nodes[NODES + 1] __attribute__((aligned(64)));
static volatile uint64_t top __attribute__((aligned(64)));

static void push(uint64_t n)
{
	uint64_t old;

	do {
		old = top;
		nodes[n].next = old & UINT32_MAX;
		asm volatile("fence w, w" ::: "memory");
	} while (!replaced(&top, old, ((old >> 32) + 1) << 32 | n));
}

static uint64_t pop(void)
{
	uint64_t old, next;

	do {
		old = top;
		if (!(old & UINT32_MAX))
			return 0;
		asm volatile("fence r, r" ::: "memory");
		next = nodes[old & UINT32_MAX].next;
	} while (!replaced(&top, old, ((old >> 32) + 1) << 32 | next));
	return old & UINT32_MAX;
}

static void stack(uint64_t id, uint64_t *random)
{
	static uint64_t held[CROWD_MAX][8];
	uint64_t first = pop(), second;

	/* Filled by hart 0 in its first round: others find nothing until then. */
	if (id == 0 && !held[0][0]) {
		held[0][0] = 1;
		for (uint64_t i = 1; i <= NODES; i++)
			push(i);
	}
	second = random_next(random) & 1 ? pop() : 0;
	if (first && amo_swap(&nodes[first].owner, id + 1))
		torture_wrong();
	if (second && amo_swap(&nodes[second].owner, id + 1))
		torture_wrong();
	/* Not atomic: nobody else has it. */
	nodes[first].uses = nodes[first].uses + (first != 0);
	if (first && amo_swap(&nodes[first].owner, 0) != id + 1)
		torture_wrong();
	if (second && amo_swap(&nodes[second].owner, 0) != id + 1)
		torture_wrong();
	if (first)
		push(first);
	if (second)
		push(second);
	amo_add(&nodes[0].owner, first != 0);
}

static void stacked(const uint64_t rounds[CROWD_MAX])
{
	uint64_t uses = 0, there = 0;

	(void)rounds;
	for (uint64_t n = top & UINT32_MAX; n && there <= NODES; n = nodes[n].next) {
		there++;
		uses += nodes[n].uses;
	}
	check(there, NODES);
	check(uses, nodes[0].owner);
}

/* A ring of slots, each with a turn: any hart puts in, any hart takes out (Vyukov's bounded queue). */
#define SLOTS 8
static struct {
	volatile uint64_t turn, value, pad[6];
} ring[SLOTS] __attribute__((aligned(64)));
static volatile uint64_t putting __attribute__((aligned(64))), taking __attribute__((aligned(64)));
static volatile uint64_t put_sum __attribute__((aligned(64))), taken_sum __attribute__((aligned(64)));

/* A slot whose turn is `ahead` past the position in *at, which is then this hart's: true, with *position. */
static bool claim(volatile uint64_t *at, uint64_t ahead, uint64_t *position)
{
	for (;;) {
		uint64_t p = *at, turn = ring[p % SLOTS].turn + p % SLOTS;

		asm volatile("fence r, rw" ::: "memory");
		if ((int64_t)(turn - (p + ahead)) < 0)
			return false;
		if (turn == p + ahead && replaced(at, p, p + 1)) {
			*position = p;
			return true;
		}
	}
}

static void put(uint64_t value)
{
	uint64_t p;

	if (!claim(&putting, 0, &p))
		return;
	ring[p % SLOTS].value = value;
	asm volatile("fence rw, w" ::: "memory");
	ring[p % SLOTS].turn = p + 1 - p % SLOTS;
	amo_add(&put_sum, value);
}

/* Each producer's values are taken in the order in which it put them, as seen by one consumer. */
static bool take(uint64_t id)
{
	static uint64_t latest[CROWD_MAX][CROWD_MAX][8];
	uint64_t p, value, producer;

	if (!claim(&taking, 1, &p))
		return false;
	value = ring[p % SLOTS].value;
	asm volatile("fence rw, w" ::: "memory");
	ring[p % SLOTS].turn = p + SLOTS - p % SLOTS;
	amo_add(&taken_sum, value);
	producer = value >> 48 & 3;
	if ((value & BIT(40)) == 0 || value <= latest[id][producer][0])
		torture_wrong();
	latest[id][producer][0] = value;
	return true;
}

static void pass(uint64_t id, uint64_t *random)
{
	static uint64_t numbers[CROWD_MAX][8];

	if (random_next(random) & 1)
		put(id << 48 | (BIT(40) + ++numbers[id][0]));
	else
		take(id);
}

static void passed(const uint64_t rounds[CROWD_MAX])
{
	(void)rounds;
	while (take(0))
		continue;
	check(putting, taking);
	check(put_sum, taken_sum);
}

/* A line in which each hart owns 13 bytes, written in all sizes at odd places, while others do atomic
 * operations that change nothing on whole words of it. */
#define SHARE 13
static uint8_t line[4096 + 64] __attribute__((aligned(4096)));

static void beside(uint64_t id, uint64_t *random)
{
	static uint8_t expected[CROWD_MAX][64];
	/* One such line begins a page, the other lies across a page's end. */
	uint8_t *base = line + (random_next(random) & 1 ? 4096 - 27 : 0), *mine = base + id * SHARE;
	uint8_t *latest = &expected[id][base == line ? 0 : 32];
	uint64_t value = random_next(random) * UINT64_C(0x9e3779b97f4a7c15), size = random_next(random) % 4;
	uint64_t at = random_next(random) % (SHARE - 7), got;

	switch (size) {
	case 0:
		asm volatile("sb %0, (%1)" ::"r"(value), "r"(mine + at) : "memory");
		break;
	case 1:
		asm volatile("sh %0, (%1)" ::"r"(value), "r"(mine + at) : "memory");
		break;
	case 2:
		asm volatile("sw %0, (%1)" ::"r"(value), "r"(mine + at) : "memory");
		break;
	default:
		asm volatile("sd %0, (%1)" ::"r"(value), "r"(mine + at) : "memory");
	}
	for (unsigned i = 0; i < 1u << size; i++)
		latest[at + i] = (uint8_t)(value >> 8 * i);
	asm volatile("ld %0, (%1)" : "=r"(got) : "r"(mine + at) : "memory");
	for (unsigned i = 0; i < 8; i++)
		if ((uint8_t)(got >> 8 * i) != latest[at + i])
			torture_wrong();
	asm volatile("amoor.w zero, zero, (%0); amoadd.d zero, zero, (%1)" ::"r"(line + 4 * (value % 12)),
		     "r"(line + 4096 - 24 + 8 * (value % 5))
		     : "memory");
}

static void nothing_more(const uint64_t rounds[CROWD_MAX])
{
	(void)rounds;
}

const struct torture torture_free[] = {
	{"counters", count, counted},
	{"stack", stack, stacked},
	{"ring", pass, passed},
	{"neighbours", beside, nothing_more},
	{NULL, NULL, NULL},
};
