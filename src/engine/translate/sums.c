#include "engine/translate/sums.h"

#include "engine/translate/optimize.h"
#include "memory/memory.h"

#define TABLE_MAX OPTIMIZE_TABLE /* from here on what a number chooses has no known place */
#define RANGE(n)  ((unsigned)(n) & 0x1fff)
#define PAGE_DISTANCE_MAX (INT32_MAX - SUM_DISTANCE_MAX)

static struct sum number(uint64_t most)
{
	return (struct sum){.root = SUM_ROOT_ZERO, .range = RANGE(most < TABLE_MAX ? most : TABLE_MAX)};
}

static struct sum unknown(void)
{
	return number(TABLE_MAX);
}

/* Elements are of eight bytes at most. */
#define GRAIN_MAX 3

static unsigned grain(uint64_t log2)
{
	return log2 < GRAIN_MAX ? (unsigned)log2 : GRAIN_MAX;
}

static unsigned grain_of(struct sum sum)
{
	return sum.range ? sum.grain : GRAIN_MAX;
}

static bool is_number(struct sum sum)
{
	return sum.root == SUM_ROOT_ZERO && sum.distance >= 0 && sum.distance <= TABLE_MAX && sum.range < TABLE_MAX;
}

/* The operand, if it is a small number; else its range is TABLE_MAX. */
static struct sum number_in(const struct sums *s, const struct ir *ir, unsigned operand)
{
	if (operand == IR_CONST)
		return ir->imm >= 0 ? number((uint64_t)ir->imm) : unknown();
	if (operand >= IR_GLOBALS || !is_number(s->near[operand]))
		return unknown();
	return s->near[operand];
}

static uint64_t most_of(struct sum sum)
{
	return sum.range < TABLE_MAX ? (uint64_t)sum.distance + sum.range : UINT64_MAX;
}

static uint64_t least_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static struct sum masked(struct sum number, int64_t mask)
{
	number.grain = grain((unsigned)__builtin_ctzll((uint64_t)mask | UINT64_C(1) << GRAIN_MAX)) & 7;
	return number;
}

static struct sum scaled(struct sum index, int64_t shift)
{
	uint64_t range = (uint64_t)index.range << shift;

	if (range >= TABLE_MAX)
		return unknown();
	return (struct sum){.root = SUM_ROOT_ZERO,
			    .range = RANGE(range),
			    .grain = grain(grain_of(index) + (uint64_t)shift) & 7,
			    .distance = index.distance << shift};
}

/* A number that has no bit above those of the greater. */
static struct sum combined(uint64_t a, uint64_t b)
{
	uint64_t most = a > b ? a : b;

	return most < TABLE_MAX ? number(UINT64_MAX >> __builtin_clzll(most | 1)) : unknown();
}

/* A small number, if the operation makes one; else its range is TABLE_MAX. */
static struct sum small(const struct sums *s, const struct ir *ir)
{
	struct sum a = number_in(s, ir, ir->a), b = number_in(s, ir, ir->b);
	bool constant = ir->b == IR_CONST;

	switch (ir->op) {
	case IR_AND:
		return masked(number(least_of(most_of(a), most_of(b))), constant ? ir->imm : 1);
	case IR_OR:
	case IR_XOR:
		return combined(most_of(a), most_of(b));
	case IR_SHR:
		if (!constant || ir->imm <= 0)
			return unknown();
		return number(a.range < TABLE_MAX ? most_of(a) >> ir->imm : UINT64_MAX >> (64 - ir->size * 8 + ir->imm));
	case IR_SHL:
		return constant && ir->size == 8 && ir->imm < 16 ? scaled(a, ir->imm) : unknown();
	default:
		return unknown();
	}
}

typedef struct sum value_of(const struct sums *s, unsigned global);

static struct sum near_of(const struct sums *s, unsigned global)
{
	return s->near[global];
}

/* What the operation adds: a value and a small number, or a constant. False: it is no such sum. */
static bool addends(const struct sums *s, value_of *value, const struct ir *ir, struct sum *a, struct sum *b)
{
	struct sum none = {.root = SUM_ROOT_ZERO};

	if (ir->a >= IR_GLOBALS || (ir->size != 8 && ir->op != IR_SHIFT_ADD))
		return false;
	if (ir->op == IR_SHIFT_ADD && (ir->b < IR_GLOBALS || ir->b == IR_ZERO)) {
		*a = ir->b == IR_ZERO ? none : value(s, ir->b);
		*b = scaled(number_in(s, ir, ir->a), ir->imm);
		return true;
	}
	if (ir->op != IR_ADD || (ir->b >= IR_GLOBALS && ir->b != IR_CONST))
		return false;
	*a = value(s, ir->a);
	*b = none;
	if (ir->b == IR_CONST && ir->imm != (int32_t)ir->imm)
		return false;
	if (ir->b == IR_CONST)
		b->distance = (int32_t)ir->imm;
	else
		*b = value(s, ir->b);
	if (a->root == SUM_ROOT_ZERO && ir->b != IR_CONST) {
		*a = value(s, ir->b);
		*b = value(s, ir->a);
	}
	return true;
}

/* A value plus a constant or a small number, up to `limit` of them together; else its range is TABLE_MAX. */
static struct sum sum_of(const struct sums *s, value_of *value, const struct ir *ir, unsigned limit)
{
	int64_t distance, most;
	struct sum a, b;

	if (!addends(s, value, ir, &a, &b) || b.root != SUM_ROOT_ZERO)
		return unknown();
	distance = (int64_t)a.distance + b.distance;
	most = a.root == SUM_ROOT_PAGE ? PAGE_DISTANCE_MAX : SUM_DISTANCE_MAX;
	if (a.root == SUM_ROOT_ZERO)
		limit = TABLE_MAX;
	if ((unsigned)a.range + b.range >= limit || distance <= -most || distance >= most)
		return unknown();
	return (struct sum){.root = a.root,
			    .range = RANGE((unsigned)a.range + b.range),
			    .grain = least_of(grain_of(a), grain_of(b)) & 7,
			    .distance = (int32_t)distance};
}

static struct sum here(const struct ir *ir)
{
	if (ir->imm <= -PAGE_DISTANCE_MAX || ir->imm >= PAGE_DISTANCE_MAX)
		return unknown();
	return (struct sum){.root = SUM_ROOT_PAGE, .distance = (int32_t)ir->imm};
}

struct sum sums_either(struct sum a, struct sum b)
{
	int32_t low = a.distance < b.distance ? a.distance : b.distance;
	int64_t a_end = (int64_t)a.distance + a.range, b_end = (int64_t)b.distance + b.range;
	int64_t range = (a_end > b_end ? a_end : b_end) - low;
	struct sum apart = masked(a, (int64_t)a.distance - b.distance);

	if (a.root != b.root || range >= TABLE_MAX)
		return unknown();
	return (struct sum){.root = a.root,
			    .range = RANGE(range),
			    .grain = least_of(apart.grain, least_of(grain_of(a), grain_of(b))) & 7,
			    .distance = low};
}

void sums_keep_far(struct sums *s, unsigned global, struct sum far)
{
	if (far.range == TABLE_MAX || far.root == SUM_ROOT_ZERO)
		return;
	s->far[global] = far;
	s->tables |= UINT32_C(1) << global;
}

static bool is_of_table(const struct sums *s, const struct ir *ir)
{
	return (s->tables >> ir->a & 1) || (ir->b < IR_GLOBALS && (s->tables >> ir->b & 1));
}

static void keep(struct sums *s, unsigned global, struct sum near)
{
	if (near.range == TABLE_MAX) {
		sums_fresh(s, global);
		return;
	}
	s->near[global] = near;
	s->tables &= ~(UINT32_C(1) << global);
}

static void add(struct sums *s, const struct ir *ir)
{
	struct sum near, far;

	if (ir->a >= IR_GLOBALS) {
		sums_fresh(s, ir->dst);
		return;
	}
	near = sum_of(s, near_of, ir, SUM_RANGE_MAX);
	far = near.range == TABLE_MAX || is_of_table(s, ir) ? sum_of(s, sums_far, ir, TABLE_MAX) : unknown();
	keep(s, ir->dst, near);
	sums_keep_far(s, ir->dst, far);
}

void sums_made(struct sums *s, const struct ir *ir)
{
	switch (ir->op) {
	case IR_HERE:
		keep(s, ir->dst, here(ir));
		break;
	case IR_LOAD:
	case IR_ZERO_EXTEND:
		keep(s, ir->dst, ir->size == 1 && !ir->is_signed ? number(UINT8_MAX) : unknown());
		break;
	case IR_ADD:
	case IR_SHIFT_ADD:
		add(s, ir);
		break;
	default:
		keep(s, ir->dst, small(s, ir));
	}
}
