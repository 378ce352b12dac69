/*
 * Groups of accesses: those whose bases are sums of one root.
 */
#include <string.h>

#include "engine/translate/optimize_private.h"
#include "engine/translate/sums.h"
#include "memory/memory.h"

struct group {
	uint16_t root;
	uint16_t leader, members;
	int32_t low, high; /* the span, from the root */
	int32_t from_distance; /* of `from`, from the root */
	uint8_t from; /* a global that says where the group lies */
	bool store;
	bool ranged;
	bool table;
	bool crooked; /* an element may lie in two pages */
	uint8_t aligned; /* the size of its largest element */
	bool closed; /* a way leads round the leader */
};

/* What a register has on each way back to the head of a loop, if it is an element of a table that was there before. */
struct carried {
	uint16_t head; /* operation */
	uint16_t ways; /* that were met so far */
	uint8_t global;
	struct sum far;
};
#define CARRIED_MAX 8

struct pass {
	struct ir_unit *unit;
	struct loops *loops;
	struct sums values;
	struct group groups[IR_GROUPS + 1]; /* from 1 on */
	unsigned count;
	unsigned first; /* groups before this one are closed */
	unsigned straight; /* loads from this operation on may lead a store here */
	unsigned loop;  /* up to this operation it is a loop */
	int32_t places[UNIT_OPS]; /* of grouped accesses, from the root */
	bool walks[IR_GROUPS + 1];
	enum optimize_tables tables;
	/* Of tables that too few accesses have in common to be a group where none stays. */
	uint16_t refused[IR_GROUPS];
	unsigned refused_count;
	struct carried carried[CARRIED_MAX];
	unsigned carried_count;
	bool carries; /* they are all known */
	uint16_t roots_before[UNIT_OPS]; /* of heads of loops: their roots and later ones come from the loop */
	uint16_t written[IR_GLOBALS]; /* where each was last; counted from 1; 0: nowhere */
};

static void all_fresh(struct pass *p)
{
	sums_all_fresh(&p->values);
	p->first = p->count + 1;
}

static bool is_access(const struct ir *ir)
{
	return ir->op >= IR_LOAD && ir->op <= IR_FLOAT_STORE && (ir->a < IR_GLOBALS || ir->a == IR_PAGE);
}

static struct sum sum_at(const struct pass *p, unsigned global)
{
	return global == IR_PAGE ? (struct sum){.root = SUM_ROOT_PAGE} : p->values.near[global];
}

static int32_t least(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

static int32_t greatest(int32_t a, int32_t b)
{
	return a > b ? a : b;
}

/* Whether a group of `root` may reach that far. What lies at a known place is known to lie in one page, or in two. */
static bool may_span(unsigned root, int32_t low, int32_t high, bool table)
{
	if (root == SUM_ROOT_PAGE && low >> GUEST_PAGE_SHIFT != (high - 1) >> GUEST_PAGE_SHIFT)
		return false;
	return (int64_t)high - low <= (table ? OPTIMIZE_TABLE : OPTIMIZE_SPAN);
}

/* What an access is about: `size` bytes from one of the places that its base may be. */
struct reach {
	uint16_t root;
	int32_t low, high;
	bool ranged, table, store;
};

/* The group that an access joins, or 0. */
static unsigned find(const struct pass *p, const struct reach *r)
{
	for (unsigned i = p->count; i >= p->first; i--) {
		const struct group *g = &p->groups[i];

		if (!g->closed && g->root == r->root && g->table == r->table &&
		    (g->store || !r->store || g->leader >= p->straight) &&
		    may_span(r->root, least(g->low, r->low), greatest(g->high, r->high), r->table))
			return i;
	}
	return 0;
}

/* Whether a global's register says where a group of that root lies: late and narrow results are not there. */
static bool tells(const struct pass *p, unsigned global, struct sum of)
{
	const struct ir *made = p->written[global] ? &p->unit->ops[p->written[global] - 1] : NULL;
	struct sum sum = p->values.near[global];
	int64_t away = (int64_t)of.distance - sum.distance;

	return sum.root == of.root && !sum.range && away > -SUM_DISTANCE_MAX && away < SUM_DISTANCE_MAX &&
	       !(made && (made->late || made->narrow));
}

/* A global, or IR_PAGE, from which a group can be checked that lies at `of`, and that an access to `base` leads;
 * IR_GLOBALS: there is none. */
static unsigned teller(const struct pass *p, unsigned base, struct sum of)
{
	unsigned global = 0;

	if (!of.range)
		return base;
	while (global < IR_GLOBALS && !tells(p, global, of))
		global++;
	return global;
}

static bool is_still(const struct pass *p, unsigned op, unsigned from)
{
	return p->unit->loops && (p->loops->still[op] >> from & 1);
}

/* Whether elements of a table that nothing holds in place may be a group. */
static bool may_share(const struct pass *p, unsigned root)
{
	for (unsigned i = 0; i < p->refused_count; i++)
		if (p->refused[i] == root)
			return false;
	return p->tables == OPTIMIZE_TABLES;
}

/* The access is an element of a table: which register says where that is; IR_GLOBALS: it is not, or none does. */
static unsigned table_at(const struct pass *p, const struct ir *ir)
{
	struct sum far;
	unsigned from;

	if (p->tables == OPTIMIZE_NO_TABLES || ir->a >= IR_GLOBALS || !(p->values.tables >> ir->a & 1))
		return IR_GLOBALS;
	far = sums_far(&p->values, ir->a);
	if (far.range < SUM_RANGE_MAX || far.root == SUM_ROOT_ZERO)
		return IR_GLOBALS;
	from = teller(p, ir->a, far);
	if (from == IR_GLOBALS || is_still(p, (unsigned)(ir - p->unit->ops), from) || may_share(p, far.root))
		return from;
	return IR_GLOBALS;
}

static struct reach reach_of(const struct ir *ir, struct sum base, bool table)
{
	int32_t low = base.distance + (int32_t)ir->imm;

	return (struct reach){.root = base.root,
			      .low = low,
			      .high = low + base.range + ir->size,
			      .ranged = base.range != 0,
			      .table = table,
			      .store = ir->op == IR_STORE || ir->op == IR_FLOAT_STORE};
}

/* A group that an access leads, or 0. */
static unsigned begin(struct pass *p, const struct ir *ir, const struct reach *r, unsigned from)
{
	if (p->count == IR_GROUPS || from == IR_GLOBALS || !may_span(r->root, r->low, r->high, r->table))
		return 0;
	p->groups[++p->count] = (struct group){.root = r->root,
					       .leader = (uint16_t)(ir - p->unit->ops),
					       .low = r->low,
					       .high = r->high,
					       .from = (uint8_t)from,
					       .from_distance = sum_at(p, from).distance,
					       .table = r->table};
	return p->count;
}

static void place(struct pass *p, struct ir *ir)
{
	unsigned from = table_at(p, ir), i;
	bool table = from < IR_GLOBALS;
	struct sum base = table ? sums_far(&p->values, ir->a) : sum_at(p, ir->a);
	struct reach reach = reach_of(ir, base, table);
	struct group *g;

	i = find(p, &reach);
	if (!i)
		i = begin(p, ir, &reach, table ? from : teller(p, ir->a, base));
	if (!i)
		return;
	g = &p->groups[i];
	g->ranged |= reach.ranged;
	g->low = least(g->low, reach.low);
	g->high = greatest(g->high, reach.high);
	g->members++;
	g->aligned = (uint8_t)greatest(g->aligned, ir->size);
	g->crooked |= base.range && 1u << least(base.grain, 3) < ir->size;
	g->store |= reach.store;
	ir->group = (uint8_t)i;
	p->places[ir - p->unit->ops] = reach.low;
}

/* Whether a group that walks stays. One that an outer loop moves walks on: most often in the same page. */
static bool stays(const struct pass *p, const struct group *g)
{
	if (g->from == IR_PAGE)
		return true;
	return is_still(p, g->leader, g->from) && (g->table || !p->written[g->from]);
}

/* Elements of tables that may lie in two pages must lie in one of them each. */
static void straighten(struct pass *p)
{
	for (unsigned i = 0; i < p->unit->count; i++) {
		const struct ir *ir = &p->unit->ops[i];
		struct group *g = &p->groups[ir->group];

		if (ir->group && (p->places[i] - g->low) & (ir->size - 1))
			g->crooked = true;
	}
}

/* What is alone in its group is in none. */
static void settle(struct pass *p, unsigned i)
{
	struct ir *ir = &p->unit->ops[i];
	const struct group *g = &p->groups[ir->group];

	ir->walks = p->walks[ir->group];
	ir->stays = ir->walks && stays(p, g);
	ir->table = g->table;
	ir->apart = g->table && p->tables == OPTIMIZE_TABLES_APART;
	ir->aligned = g->aligned;
	if ((g->members == 1 && !ir->walks) || (ir->apart && (g->crooked || !ir->stays))) {
		ir->walks = ir->stays = ir->table = ir->apart = false;
		ir->group = 0;
		return;
	}
	p->unit->grouped = true;
	ir->leads = g->leader == i;
	ir->ranged = g->ranged;
	ir->from = g->from;
	ir->from_low = g->low - g->from_distance;
	ir->stores = g->store;
	ir->low = (uint16_t)(p->places[i] - g->low);
	ir->span = (uint16_t)(g->high - g->low);
}

/* What is known where a way from before leads round some operations. */
static void join(struct pass *p, unsigned from)
{
	for (unsigned i = p->first; i <= p->count; i++)
		if (p->groups[i].leader >= from)
			p->groups[i].closed = true;
	for (unsigned i = 0; i < IR_GLOBALS; i++)
		if (p->written[i] > from)
			sums_fresh(&p->values, i);
}

static struct carried *carried_to(struct pass *p, unsigned head, unsigned global)
{
	for (unsigned i = 0; i < p->carried_count; i++)
		if (p->carried[i].head == head && p->carried[i].global == global)
			return &p->carried[i];
	return NULL;
}

/* A way back: which tables registers have elements of. */
static void carry(struct pass *p, unsigned head)
{
	for (uint32_t left = p->values.tables; left; left &= left - 1) {
		unsigned global = (unsigned)__builtin_ctz(left);
		struct sum far = sums_far(&p->values, global);
		struct carried *c = carried_to(p, head, global);

		if (far.root >= p->roots_before[head])
			continue;
		if (c) {
			c->far = sums_either(c->far, far);
			c->ways++;
		} else if (p->carried_count < CARRIED_MAX) {
			p->carried[p->carried_count++] =
				(struct carried){.head = (uint16_t)head, .ways = 1, .global = (uint8_t)global, .far = far};
		}
	}
}

/* The loop writes the global: what it has at the head is what it had before, or what each way back brings. */
static void changes(struct pass *p, unsigned head, unsigned global)
{
	const struct carried *c = p->carries ? carried_to(p, head, global) : NULL;
	struct sum before = sums_far(&p->values, global);

	sums_fresh(&p->values, global);
	if (c && c->ways == loops_ways_back(p->unit, head))
		sums_keep_far(&p->values, global, sums_either(before, c->far));
}

/* What is known at the head of a loop: nothing that the loop changes, nor what a way into its middle leads round. */
static void head(struct pass *p, unsigned first, unsigned last)
{
	uint32_t written = 0;

	p->roots_before[first] = (uint16_t)p->values.roots;
	for (unsigned i = first; i < last; i++) {
		const struct ir *ir = &p->unit->ops[i];

		if (ir->op == IR_CALL_C) {
			all_fresh(p);
			return;
		}
		if (p->loops->first_from[i] && p->loops->first_from[i] <= first)
			join(p, p->loops->first_from[i]);
		if (ir_writes_global(ir))
			written |= UINT32_C(1) << ir->dst;
	}
	for (; written; written &= written - 1)
		changes(p, first, (unsigned)__builtin_ctz(written));
}

static bool stays_or_walks(uint32_t set, unsigned from)
{
	return from == IR_PAGE || (set >> from & 1);
}

/* Which groups walk: their leader is in a loop that moves its base so. */
static void walks(struct pass *p)
{
	const struct ir_unit *unit = p->unit;

	for (unsigned i = 0; i < unit->count; i++) {
		unsigned to = unit->ops[i].inside;
		uint32_t set = to && to - 1 <= i ? loops_walking(unit, to - 1, i) : 0;

		for (unsigned g = 1; set && g <= p->count; g++) {
			unsigned leader = p->groups[g].leader;

			if (leader >= to - 1 && leader <= i)
				p->walks[g] |= stays_or_walks(set, p->groups[g].from);
		}
	}
}

/* Ways of the unit join before this operation, or may part behind it. */
static void ways(struct pass *p, unsigned i)
{
	const struct ir *ir = &p->unit->ops[i];

	if (p->loops->first_from[i])
		join(p, p->loops->first_from[i]);
	if (p->loops->last_from[i])
		head(p, i, p->loops->last_from[i]);
	if (p->loops->last_from[i] > p->loop)
		p->loop = p->loops->last_from[i];
	/* Not in a loop, unless the store follows for certain: it may run over pages that are but read. */
	if (i < p->loop && (ir->label || ir->op >= IR_BRANCH))
		p->straight = ir->label ? i : i + 1;
}

static void begin_groups(struct pass *p)
{
	p->values.roots = SUM_ROOTS;
	p->count = 0;
	p->straight = p->loop = 0;
	memset(p->written, 0, sizeof p->written);
	all_fresh(p);
}

static void find_groups(struct pass *p)
{
	struct ir_unit *unit = p->unit;

	begin_groups(p);
	for (unsigned i = 0; i < unit->count; i++) {
		struct ir *ir = &unit->ops[i];

		if (unit->inside)
			ways(p, i);
		if (is_access(ir))
			place(p, ir);
		if (ir->inside && ir->inside - 1u <= i && !p->carries)
			carry(p, ir->inside - 1u);
		if (ir->op == IR_CALL_C) {
			all_fresh(p);
		} else if (ir_writes_global(ir)) {
			sums_follow(&p->values, ir);
			p->written[ir->dst] = (uint16_t)(i + 1);
		}
	}
}

/* Elements that make checking a whole table worth the while, each time. */
#define MANY 4

/* Tables that are no groups after all; false: there is none. Their elements may be in others, then. */
static bool refuse(struct pass *p)
{
	for (unsigned i = 1; i <= p->count; i++) {
		const struct group *g = &p->groups[i];

		if (g->table && g->members < MANY && !is_still(p, g->leader, g->from) && p->refused_count < IR_GROUPS)
			p->refused[p->refused_count++] = g->root;
	}
	return p->refused_count;
}

static void no_groups(struct pass *p)
{
	for (unsigned i = 0; i < p->unit->count; i++)
		p->unit->ops[i].group = 0;
}

static void again(struct pass *p)
{
	no_groups(p);
	find_groups(p);
}

static void make(struct pass *p)
{
	struct ir_unit *unit = p->unit;

	if (unit->loops)
		loops_stillness(p->loops, unit);
	p->refused_count = p->carried_count = 0;
	p->carries = false;
	find_groups(p);
	/* Once more with what is known now. */
	p->carries = p->carried_count;
	if (refuse(p) || p->carries)
		again(p);
	if (p->values.roots > UINT16_MAX) {
		no_groups(p);
		return;
	}
	if (!p->count)
		return;
	memset(p->walks, 0, sizeof p->walks);
	if (unit->loops)
		walks(p);
	if (p->tables == OPTIMIZE_TABLES_APART)
		straighten(p);
	for (unsigned i = 0; i < unit->count; i++)
		if (unit->ops[i].group)
			settle(p, i);
}

void optimize_groups(struct ir_unit *unit, struct loops *loops, enum optimize_tables tables)
{
	struct pass p;

	p.unit = unit;
	p.loops = loops;
	p.tables = tables;
	make(&p);
}
