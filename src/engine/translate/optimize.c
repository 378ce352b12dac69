/*
 * Groups of accesses: those whose bases are sums of one root.
 */
#include "engine/translate/optimize.h"

#include <string.h>

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
	uint32_t still[UNIT_OPS]; /* globals that a loop around the operation does not change */
	/* Of operations that branches of the unit lead to: the first from before, the last from behind; and where
	 * each global was written last. Counted from 1; 0: none. Loops that overlap end together. */
	uint16_t first_from[UNIT_OPS], last_from[UNIT_OPS];
	uint16_t written[IR_GLOBALS];
};

static void all_fresh(struct pass *p)
{
	sums_all_fresh(&p->values);
	p->first = p->count + 1;
}

#define IR_USUAL (IR_READS_A | IR_READS_B | IR_WRITES)

const uint8_t ir_traits[UINT8_MAX + 1] = {
	[IR_SET ... IR_HERE] = IR_USUAL | IR_MAY_WAIT,
	[IR_ADD] = IR_USUAL | IR_MAY_WAIT | IR_OF_WORDS_4 | IR_OF_WORDS_NARROW,
	[IR_SUB] = IR_USUAL | IR_MAY_WAIT | IR_OF_WORDS_4,
	[IR_AND ... IR_XOR] = IR_USUAL | IR_MAY_WAIT | IR_OF_WORDS_NARROW,
	[IR_ANDN ... IR_XNOR] = IR_USUAL,
	[IR_SHL ... IR_SAR] = IR_USUAL | IR_MAY_WAIT_CONST | IR_OF_WORDS_4,
	[IR_ROL] = IR_USUAL | IR_OF_WORDS_4,
	[IR_ROR] = IR_USUAL | IR_MAY_WAIT_CONST | IR_OF_WORDS_4,
	[IR_LESS ... IR_IF_NOT_ZERO] = IR_USUAL,
	[IR_MUL] = IR_USUAL | IR_OF_WORDS_4,
	[IR_MUL_HIGH ... IR_REM_UNSIGNED] = IR_USUAL,
	[IR_SHIFT_ADD] = IR_USUAL | IR_MAY_WAIT,
	[IR_SIGN_EXTEND ... IR_ZERO_EXTEND] = IR_USUAL | IR_MAY_WAIT | IR_OF_WORDS,
	[IR_COUNT_LEADING ... IR_LOAD] = IR_USUAL,
	[IR_STORE] = IR_READS_A | IR_READS_B,
	[IR_FLOAT_LOAD ... IR_FLOAT_STORE] = IR_READS_A,
	[IR_ATOMIC_SWAP ... IR_STORE_CONDITIONAL] = IR_READS_A | IR_READS_B | IR_WRITES,
	[IR_FLOAT_EQUAL ... IR_FLOAT_TO_BITS] = IR_WRITES,
	[IR_BITS_TO_FLOAT ... IR_FLOAT_FROM_INT] = IR_READS_A,
	[IR_FLOAT_TO_INT ... IR_FLAGS_READ] = IR_WRITES,
	[IR_FLAGS_WRITE] = IR_READS_A,
	[IR_ROUNDING_READ] = IR_WRITES,
	[IR_BRANCH] = IR_READS_A | IR_READS_B,
	[IR_JUMP ... IR_CALL] = IR_WRITES,
	[IR_JUMP_TO ... IR_RETURN_TO] = IR_READS_A | IR_WRITES,
	[IR_CALL_C ... IR_LEAVE] = IR_WRITES,
};

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
	return p->unit->loops && (p->still[op] >> from & 1);
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
	if ((g->members == 1 && !ir->walks) || (ir->apart && g->crooked)) {
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

/* The pair of auipc and a jump is one jump, which nothing may lead into. */
static bool may_lead_to(const struct ir_unit *unit, unsigned i)
{
	return i == 0 || unit->ops[i - 1].op != IR_HERE;
}

static unsigned find_at(const struct ir_unit *unit, int64_t at)
{
	for (unsigned i = 0; i < unit->count; i++)
		if (unit->ops[i].at == at)
			return may_lead_to(unit, i) ? i + 1 : 0;
	return 0;
}

/* Branches within the unit. */
static void resolve_one(struct pass *p, unsigned i)
{
	struct ir_unit *unit = p->unit;
	struct ir *ir = &unit->ops[i];
	unsigned to;

	ir->inside = (uint16_t)find_at(unit, ir->imm);
	if (!ir->inside)
		return;
	if (!unit->inside) {
		memset(p->first_from, 0, unit->count * sizeof p->first_from[0]);
		memset(p->last_from, 0, unit->count * sizeof p->last_from[0]);
		unit->inside = true;
	}
	to = ir->inside - 1u;
	unit->ops[to].label = true;
	unit->loops |= to <= i;
	if (to <= i)
		p->last_from[to] = (uint16_t)(i + 1);
	else if (!p->first_from[to])
		p->first_from[to] = (uint16_t)(i + 1);
}

static void resolve(struct pass *p)
{
	const struct ir_unit *unit = p->unit;
	int64_t end = unit->at + unit->bytes;

	for (unsigned i = 0; i < unit->count; i++) {
		const struct ir *ir = &unit->ops[i];

		if ((ir->op == IR_BRANCH || (ir->op == IR_JUMP && ir->dst == IR_ZERO)) && ir->imm >= unit->at &&
		    ir->imm < end)
			resolve_one(p, i);
	}
}

/* A loop into whose end another one leads back from behind it lasts to the end of that one. */
static void entangle(struct pass *p)
{
	for (unsigned head = 0; head < p->unit->count; head++)
		for (unsigned i = head + 1; i < p->last_from[head]; i++)
			if (p->last_from[i] > p->last_from[head])
				p->last_from[head] = p->last_from[i];
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

static unsigned ways_back(const struct ir_unit *unit, unsigned head)
{
	unsigned ways = 0;

	for (unsigned i = head; i < unit->count; i++)
		ways += unit->ops[i].inside == head + 1;
	return ways;
}

/* The loop writes the global: what it has at the head is what it had before, or what each way back brings. */
static void changes(struct pass *p, unsigned head, unsigned global)
{
	const struct carried *c = p->carries ? carried_to(p, head, global) : NULL;
	struct sum before = sums_far(&p->values, global);

	sums_fresh(&p->values, global);
	if (c && c->ways == ways_back(p->unit, head))
		sums_keep_far(&p->values, global, sums_either(before, c->far));
}

/* What is known at the head of a loop: nothing that the loop changes, nor what a way into its middle leads round. */
static void head(struct pass *p, unsigned first, unsigned last)
{
	uint32_t written = 0;

	p->roots_before[first] = p->values.roots;
	for (unsigned i = first; i < last; i++) {
		const struct ir *ir = &p->unit->ops[i];

		if (ir->op == IR_CALL_C) {
			all_fresh(p);
			return;
		}
		if (p->first_from[i] && p->first_from[i] <= first)
			join(p, p->first_from[i]);
		if (ir_writes_global(ir))
			written |= UINT32_C(1) << ir->dst;
	}
	for (; written; written &= written - 1)
		changes(p, first, (unsigned)__builtin_ctz(written));
}

/* How far a base may move in one round of a loop for its group to walk: what leaves its page every few rounds is looked
 * up each time, which takes little more and is the same each time. */
#define STRIDE_MAX 128

/* Of the globals, those that operations [first, last] move by constants alone, and not far, or not at all. */
static uint32_t walking(const struct ir_unit *unit, unsigned first, unsigned last)
{
	uint32_t set = UINT32_MAX, before;
	int64_t moved[IR_GLOBALS] = {0};

	for (unsigned i = first; i <= last; i++) {
		const struct ir *ir = &unit->ops[i];

		if (ir->op != IR_ADD || ir->b != IR_CONST || ir->dst >= IR_GLOBALS)
			continue;
		moved[ir->dst] += ir->imm < 0 ? -ir->imm : ir->imm;
		if (moved[ir->dst] > STRIDE_MAX)
			set &= ~(UINT32_C(1) << ir->dst);
	}

	do {
		before = set;
		for (unsigned i = first; i <= last; i++) {
			const struct ir *ir = &unit->ops[i];

			/* C may do what makes a page no longer good. */
			if (ir->op == IR_CALL_C)
				return 0;
			if (ir_writes_global(ir) && !(ir->op == IR_ADD && ir->size == 8 && ir->b == IR_CONST &&
						      ir->a < IR_GLOBALS && set >> ir->a & 1))
				set &= ~(UINT32_C(1) << ir->dst);
		}
	} while (set != before);
	return set;
}

/* Which globals loops leave as they are, where nothing may make a page no longer good. */
static void stillness(struct pass *p)
{
	const struct ir_unit *unit = p->unit;

	memset(p->still, 0, unit->count * sizeof p->still[0]);
	for (unsigned i = 0; i < unit->count; i++) {
		unsigned to = unit->ops[i].inside;
		uint32_t set = to && to - 1 <= i ? UINT32_MAX : 0;

		for (unsigned j = to - 1; set && j <= i; j++) {
			if (unit->ops[j].op == IR_CALL_C)
				set = 0;
			else if (ir_writes_global(&unit->ops[j]))
				set &= ~(UINT32_C(1) << unit->ops[j].dst);
		}
		for (unsigned j = to - 1; set && j <= i; j++)
			p->still[j] |= set;
	}
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
		uint32_t set = to && to - 1 <= i ? walking(unit, to - 1, i) : 0;

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

	if (p->first_from[i])
		join(p, p->first_from[i]);
	if (p->last_from[i])
		head(p, i, p->last_from[i]);
	if (p->last_from[i] > p->loop)
		p->loop = p->last_from[i];
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

static void again(struct pass *p)
{
	for (unsigned i = 0; i < p->unit->count; i++)
		p->unit->ops[i].group = 0;
	find_groups(p);
}

static void groups(struct pass *p)
{
	struct ir_unit *unit = p->unit;

	if (unit->loops)
		stillness(p);
	p->refused_count = p->carried_count = 0;
	p->carries = false;
	find_groups(p);
	/* Once more with what is known now. */
	p->carries = p->carried_count;
	if (refuse(p) || p->carries)
		again(p);
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

void optimize(struct ir_unit *unit, enum optimize_tables tables)
{
	struct pass p;

	p.unit = unit;
	p.tables = tables;
	unit->inside = unit->loops = unit->grouped = false;
	resolve(&p);
	if (unit->loops)
		entangle(&p);
	simplify(unit);
	groups(&p);
}
