/*
 * Finds loops whose rounds can be done several at a time, and follows rounds of them.
 */
#include "engine/translate/vector.h"

#include <string.h>

#include "engine/translate/optimize.h"
#include "engine/translate/vector_private.h"
#include "memory/memory.h"

#define REACH   4096 /* distances from roots */
#define FARTHEST (1 << 24) /* distances that are followed: times the rounds of a batch, they are numbers of 32 bits */
#define VECTORS 2    /* that a batch should store */
#define ROUNDS  8

static unsigned make(struct vector_look *l, struct vector_node node)
{
	if (l->count == VECTOR_NODES)
		return vector_fail(l);
	l->nodes[l->count] = node;
	return l->count++;
}

static unsigned constant(struct vector_look *l, int64_t number)
{
	if (number != (int32_t)number)
		return make(l, (struct vector_node){.kind = NODE_OTHER});
	return make(l, (struct vector_node){.kind = NODE_CONSTANT, .number = (int32_t)number});
}

static unsigned value(struct vector_look *l, unsigned global)
{
	if (global == IR_ZERO)
		return constant(l, 0);
	if (global >= VECTOR_ALL)
		return vector_fail(l);
	if (!(l->written >> global & 1))
		l->outer |= UINT64_C(1) << global;
	return l->now[global];
}

static void write(struct vector_look *l, unsigned global, unsigned node)
{
	if (global >= VECTOR_ALL)
		return;
	l->written |= UINT64_C(1) << global;
	l->now[global] = (uint16_t)node;
}

static unsigned operand_b(struct vector_look *l, const struct ir *ir)
{
	return ir->b == IR_CONST ? constant(l, ir->imm) : value(l, ir->b);
}

/* The root that arrays lie at distances from, which is made when it is met first. */
static unsigned root(struct vector_look *l, unsigned global)
{
	struct vector *v = l->out;

	for (unsigned i = 0; i < v->root_count; i++)
		if (v->roots[i].global == global)
			return i;
	if (v->root_count == VECTOR_ROOTS)
		return vector_fail(l);
	v->roots[v->root_count] = (struct vector_root){.global = (uint8_t)global};
	return v->root_count++;
}

/* The place of an access or a group: where its base is known to lie. */
static bool place(struct vector_look *l, unsigned base, int64_t offset, unsigned *at_root, int32_t *at)
{
	struct vector_node node = l->nodes[base < IR_GLOBALS ? value(l, base) : vector_fail(l)];

	if (l->failed || node.kind != NODE_SUM || offset + node.number < -REACH || offset + node.number > REACH) {
		vector_fail(l);
		return false;
	}
	*at_root = root(l, node.global);
	*at = (int32_t)offset + node.number;
	return true;
}

static void lead(struct vector_look *l, const struct ir *ir)
{
	struct vector *v = l->out;
	struct vector_group group = {.group = ir->group};
	unsigned at_root = 0;

	if (l->round || !place(l, ir->from, ir->from_low, &at_root, &group.low))
		return;
	group.root = (uint8_t)at_root;
	v->roots[at_root].group = ir->group;
	v->groups[v->group_count++] = group;
}

/* Whether the group's leader is in the loop, and its page the root's. */
static bool is_led(const struct vector_look *l, unsigned group, unsigned at_root)
{
	for (unsigned i = 0; i < l->out->group_count; i++)
		if (l->out->groups[i].group == group)
			return l->out->groups[i].root == at_root;
	return false;
}

static unsigned loaded(struct vector_look *l, unsigned from, int32_t at)
{
	for (unsigned i = l->base; i < l->count; i++)
		if (l->nodes[i].kind == NODE_LOADED && l->nodes[i].global == from && l->nodes[i].number == at)
			return i;
	return make(l, (struct vector_node){.kind = NODE_LOADED, .global = (uint8_t)from, .number = at});
}

static void access(struct vector_look *l, const struct ir *ir)
{
	bool store = ir->op == IR_STORE || ir->op == IR_FLOAT_STORE;
	unsigned kind = ir->op >= IR_FLOAT_LOAD ? VECTOR_FLOATS : 0, at_root = 0;
	struct vector_access here = {.store = store};

	if (!ir->walks || ir->stays || ir->ranged || ir->table || ir->size != l->out->size || l->access_count == VECTOR_ACCESSES) {
		vector_fail(l);
		return;
	}
	if (ir->leads)
		lead(l, ir);
	if (!place(l, ir->a, ir->imm, &at_root, &here.at))
		return;
	here.root = (uint8_t)at_root;
	if (!is_led(l, ir->group, at_root))
		vector_fail(l);
	if (store) {
		here.value = (uint16_t)value(l, ir->b == IR_ZERO ? IR_ZERO : kind + ir->b);
	} else {
		here.value = (uint16_t)loaded(l, at_root, here.at);
		write(l, ir->dst == IR_ZERO ? IR_ZERO : kind + ir->dst, here.value);
	}
	l->accesses[l->access_count++] = here;
}

/* Whether elements of the loop's size tell all that the operation needs: of words, the upper halves are not there. */
static bool is_known(const struct vector_look *l, const struct ir *ir)
{
	switch (ir->op) {
	case IR_ADD:
	case IR_SUB:
	case IR_AND:
	case IR_OR:
	case IR_XOR:
		return l->out->size == 4 || ir->size == 8;
	case IR_SHL:
		return ir->size == l->out->size || (l->out->size == 4 && ir->b == IR_CONST && ir->imm < 32);
	case IR_SHR:
		return ir->size == l->out->size;
	case IR_SAR:
	case IR_MUL:
		return ir->size == 4 && l->out->size == 4;
	default:
		return false;
	}
}

static bool is_sum(const struct ir *ir, const struct vector_node *x, const struct vector_node *y)
{
	int64_t number = (int64_t)x->number + y->number;

	return ir->op == IR_ADD && ir->size == 8 && x->kind == NODE_SUM && y->kind == NODE_CONSTANT && number >= -FARTHEST &&
	       number <= FARTHEST;
}

/* A word that is extended is the same word. */
static bool is_copy(const struct vector_look *l, const struct ir *ir, const struct vector_node *b)
{
	if (ir->op == IR_SIGN_EXTEND || ir->op == IR_ZERO_EXTEND)
		return ir->size == 4 && l->out->size == 4;
	return ir->op == IR_ADD && is_known(l, ir) && b->kind == NODE_CONSTANT && !b->number;
}

static void integer(struct vector_look *l, const struct ir *ir)
{
	unsigned a = value(l, ir->a), b = operand_b(l, ir);
	struct vector_node *x = &l->nodes[a], *y = &l->nodes[b];

	if (ir->dst == IR_ZERO)
		return;
	if (ir->op == IR_SET)
		write(l, ir->dst, constant(l, ir->imm));
	else if (is_sum(ir, x, y))
		write(l, ir->dst,
		      make(l, (struct vector_node){
				      .kind = NODE_SUM, .global = x->global, .number = x->number + y->number}));
	else if (x->kind != NODE_SUM && is_copy(l, ir, y))
		write(l, ir->dst, a);
	else
		write(l, ir->dst,
		      make(l, (struct vector_node){.kind = is_known(l, ir) ? NODE_DONE : NODE_OTHER,
						   .op = ir->op,
						   .a = (uint16_t)a,
						   .b = (uint16_t)b}));
}

/* Its one operand is a, but for sums, products and quotients. */
static bool is_unary(const struct ir *ir)
{
	return ir->op == IR_FLOAT_SQRT || ir->op == IR_FLOAT_SIGN;
}

/* A sign is copied, inverted or cleared: of one float alone. */
static bool is_known_float(const struct vector_look *l, const struct ir *ir)
{
	return ir->size == l->out->size && ir->op >= IR_FLOAT_ADD && ir->op <= IR_FLOAT_SIGN &&
	       (ir->op != IR_FLOAT_SIGN || ir->a == ir->b);
}

static void floating(struct vector_look *l, const struct ir *ir)
{
	struct vector_node node = {.kind = NODE_DONE, .op = ir->op, .number = (int32_t)ir->imm};

	if (!is_known_float(l, ir)) {
		vector_fail(l);
		return;
	}
	node.a = (uint16_t)value(l, VECTOR_FLOATS + ir->a);
	if (ir->op == IR_FLOAT_SIGN && ir->imm == 0) {
		write(l, VECTOR_FLOATS + ir->dst, node.a);
		return;
	}
	if (!is_unary(ir))
		node.b = (uint16_t)value(l, VECTOR_FLOATS + ir->b);
	if (ir->op == IR_FLOAT_FMA)
		node.c = (uint16_t)value(l, VECTOR_FLOATS + ir->c);
	write(l, VECTOR_FLOATS + ir->dst, make(l, node));
}

static bool is_moving(const struct vector_look *l, const struct vector_node *node)
{
	return node->kind == NODE_SUM && (l->moving >> node->global & 1);
}

/* The loop goes on while they differ; or, ordered, while the one is less than the other. */
static void compare(struct vector_look *l, unsigned less, unsigned more, bool ordered, bool is_signed)
{
	const struct vector_node *x = &l->nodes[less], *y = &l->nodes[more];
	struct vector *v = l->out;

	if (!((x->kind == NODE_SUM || x->kind == NODE_CONSTANT) && (y->kind == NODE_SUM || y->kind == NODE_CONSTANT)) ||
	    is_moving(l, x) == is_moving(l, y) || v->trip.shrinks) {
		vector_fail(l);
		return;
	}
	v->trip.less = x->kind == NODE_SUM ? x->global : IR_ZERO;
	v->trip.more = y->kind == NODE_SUM ? y->global : IR_ZERO;
	v->trip.less_distance = x->number;
	v->trip.more_distance = y->number;
	v->trip.ordered = ordered;
	v->trip.is_signed = is_signed;
	/* The sign is told by how far the global moves, when that is known. */
	v->trip.shrinks = is_moving(l, x) ? 1 : -1;
}

/* The test of the first round, in which nothing of the loop is known yet but what it writes. */
static void test(struct vector_look *l, const struct ir *ir)
{
	bool taken = ir->inside == l->out->head + 1;
	unsigned condition = taken ? ir->condition : ir->condition ^ 1u, a, b;

	if (l->round)
		return;
	l->out->trip.early = ir + 1 < &l->unit->ops[l->out->back];
	a = value(l, ir->a);
	b = value(l, ir->b);
	switch (condition) {
	case IR_NE:
	case IR_LT:
	case IR_LTU:
		compare(l, a, b, condition != IR_NE, condition == IR_LT);
		break;
	case IR_GE:
	case IR_GEU:
		compare(l, b, a, true, condition == IR_GE);
		break;
	default:
		vector_fail(l);
	}
}

static void step(struct vector_look *l, const struct ir *ir)
{
	if (ir->op < IR_PURE)
		integer(l, ir);
	else if (ir->op >= IR_LOAD && ir->op <= IR_FLOAT_STORE)
		access(l, ir);
	else if (ir->op >= IR_FLOAT_ADD && ir->op <= IR_FLOAT_SIGN)
		floating(l, ir);
	else if (ir->op == IR_BRANCH)
		test(l, ir);
	else if (ir->op != IR_JUMP)
		vector_fail(l);
}

static void round_of(struct vector_look *l)
{
	for (unsigned i = l->out->head; i <= l->out->back && !l->failed; i++)
		step(l, &l->unit->ops[i]);
}

/* Follows `rounds` from the head on, where globals are as `first` says. */
static void follow(struct vector_look *l, unsigned rounds)
{
	struct vector *v = l->out;

	memcpy(l->now, l->first, sizeof l->now);
	v->root_count = v->group_count = 0;
	v->trip.shrinks = 0;
	l->access_count = 0;
	for (l->round = 0; l->round < rounds && !l->failed; l->round++)
		round_of(l);
}

/* What a round adds to a general global; 0: it is not known to add anything. */
static int32_t moves_by(const struct vector_look *l, const uint16_t end[VECTOR_ALL], unsigned global)
{
	const struct vector_node *node = &l->nodes[end[global]];

	return node->kind == NODE_SUM && node->global == global ? node->number : 0;
}

static void move(struct vector_look *l, unsigned global, int32_t by)
{
	struct vector *v = l->out;

	if (v->move_count == sizeof v->moves / sizeof v->moves[0])
		vector_fail(l);
	else
		v->moves[v->move_count++] = (struct vector_move){.global = (uint8_t)global, .by = by};
}

/* A global that ends at a distance from another one which moves began there, too. */
static unsigned equal(struct vector_look *l, const uint16_t end[VECTOR_ALL], unsigned global, const struct vector_node *to)
{
	int32_t by = moves_by(l, end, to->global), distance = to->number - by;
	struct vector *v = l->out;

	if (!by || v->equal_count == sizeof v->equal / sizeof v->equal[0])
		return vector_fail(l);
	v->equal[v->equal_count++] =
		(struct vector_equal){.global = (uint8_t)global, .other = to->global, .distance = distance};
	move(l, global, by);
	return make(l, (struct vector_node){.kind = NODE_SUM, .global = to->global, .number = distance});
}

/* What a global that the loop writes, and reads before, is at the head of a batch. */
static unsigned begins(struct vector_look *l, const uint16_t end[VECTOR_ALL], unsigned global)
{
	struct vector_node to = l->nodes[end[global]];

	if (to.kind != NODE_SUM)
		return make(l, (struct vector_node){.kind = NODE_CARRIED, .global = (uint8_t)global});
	if (to.global != global)
		return equal(l, end, global, &to);
	if (to.number)
		move(l, global, to.number);
	return l->first[global];
}

static void begin(struct vector_look *l)
{
	for (unsigned i = 0; i < VECTOR_ALL; i++)
		l->first[i] = (uint16_t)make(l, (struct vector_node){.kind = i < VECTOR_FLOATS ? NODE_SUM : NODE_GIVEN,
							      .global = (uint8_t)i});
	for (unsigned i = l->out->head; i <= l->out->back; i++)
		if (ir_writes_global(&l->unit->ops[i]))
			l->moving |= UINT32_C(1) << l->unit->ops[i].dst;
}

/* One round as if nothing was known of its registers, then what that tells of them. */
static void learn(struct vector_look *l)
{
	uint16_t end[VECTOR_ALL];

	begin(l);
	follow(l, 1);
	memcpy(end, l->now, sizeof end);
	for (unsigned i = 0; i < VECTOR_ALL && !l->failed; i++)
		if (l->written & l->outer & UINT64_C(1) << i)
			l->first[i] = (uint16_t)begins(l, end, i);
	l->base = l->count;
}

/* Rounds that fill whole vectors. */
static unsigned rounds_of(const struct vector_look *l)
{
	unsigned stores = 0, rounds = 1, lanes = vector_lanes(l);

	for (unsigned i = 0; i < l->access_count; i++)
		stores += l->accesses[i].store;
	while (stores && rounds < ROUNDS && (stores * rounds < VECTORS * lanes || stores * rounds % lanes))
		rounds *= 2;
	return stores ? rounds : 0;
}

static int32_t moved(const struct vector *v, unsigned global)
{
	for (unsigned i = 0; i < v->move_count; i++)
		if (v->moves[i].global == global)
			return v->moves[i].by;
	return 0;
}

/* How far roots move, and how the difference shrinks that the loop's end is told by. */
static void strides(struct vector_look *l)
{
	struct vector *v = l->out;
	int32_t by = moved(v, v->trip.shrinks > 0 ? v->trip.less : v->trip.more) * v->trip.shrinks;

	for (unsigned i = 0; i < v->root_count; i++) {
		v->roots[i].stride = moved(v, v->roots[i].global);
		if (!v->roots[i].stride)
			vector_fail(l);
	}
	if (by < 0 && !v->trip.ordered) {
		uint8_t less = v->trip.less;
		int32_t distance = v->trip.less_distance;

		v->trip.less = v->trip.more;
		v->trip.less_distance = v->trip.more_distance;
		v->trip.more = less;
		v->trip.more_distance = distance;
		by = -by;
	}
	if (by <= 0)
		vector_fail(l);
	v->trip.shrinks = by;
}

static struct vector_apart *apart(struct vector_look *l, unsigned one, unsigned other, bool loads)
{
	struct vector *v = l->out;

	for (unsigned i = 0; i < v->apart_count; i++)
		if (v->apart[i].root == one && v->apart[i].other == other && v->apart[i].loads == loads)
			return &v->apart[i];
	v->apart[v->apart_count] = (struct vector_apart){
		.root = (uint8_t)one, .other = (uint8_t)other, .loads = loads, .low = INT32_MAX, .high = INT32_MIN};
	return &v->apart[v->apart_count++];
}

/* Roots that are farther from each other than this lead to different pages, as long as both stay in theirs. */
#define PAGES_APART ((int32_t)GUEST_PAGE_SIZE + 2 * REACH)

/* An access, and what comes behind it in a batch but is not done there. Where the two roots move by different strides, what
 * the first batch does says nothing of the others. */
static void keep_apart(struct vector_look *l, const struct vector_access *first, const struct vector_access *behind)
{
	int32_t between = behind->at - first->at, size = (int32_t)l->out->size;
	struct vector_apart *found;

	if (first->root == behind->root) {
		if (between > -size && between < size)
			vector_fail(l);
		return;
	}
	found = apart(l, first->root, behind->root, !first->store);
	if (l->out->roots[first->root].stride != l->out->roots[behind->root].stride) {
		found->low = -PAGES_APART;
		found->high = PAGES_APART;
		return;
	}
	if (between - size + 1 < found->low)
		found->low = between - size + 1;
	if (between + size - 1 > found->high)
		found->high = between + size - 1;
}

/* Loads go before stores, and those from one root before those from the next, which would show another hart's store to the later
 * one of two loads from one place, but not to the earlier one. */
static bool is_turned(const struct vector_access *first, const struct vector_access *behind)
{
	return first->store || (!behind->store && first->root > behind->root);
}

static void order(struct vector_look *l)
{
	for (unsigned i = 0; i < l->access_count; i++)
		for (unsigned j = i + 1; j < l->access_count; j++)
			if (is_turned(&l->accesses[i], &l->accesses[j]))
				keep_apart(l, &l->accesses[i], &l->accesses[j]);
}

/* The longest loop that is looked at, in operations. */
#define LONGEST 48

/* The operation that leads back to the head, if nothing else leads into what lies between, and something is stored there:
 * of what size. */
static unsigned find_back(const struct ir_unit *unit, unsigned head, unsigned *size)
{
	*size = 0;
	for (unsigned i = head; i < unit->count && i < head + LONGEST; i++) {
		const struct ir *ir = &unit->ops[i];

		if ((ir->label && i > head) || ir->op > IR_JUMP)
			return 0;
		if ((ir->op == IR_STORE || ir->op == IR_FLOAT_STORE) && ir->walks)
			*size = ir->size;
		if (ir->inside == head + 1)
			return *size == 4 || *size == 8 ? i : 0;
		if (ir->op == IR_JUMP)
			return 0;
	}
	return 0;
}

bool vector_find(const struct ir_unit *unit, unsigned head, struct vector *out)
{
	struct vector_look l;

	out->head = head;
	out->back = find_back(unit, head, &out->size);
	if (!out->back)
		return false;
	out->instructions = unit->ops[out->back].before + 1u - unit->ops[head].before;
	out->root_count = out->group_count = out->apart_count = out->equal_count = out->move_count = 0;
	out->input_count = out->code_count = 0;
	memset(&l, 0, sizeof l);
	l.unit = unit;
	l.out = out;
	learn(&l);
	out->rounds = rounds_of(&l);
	if (l.failed || !out->rounds)
		return false;
	follow(&l, out->rounds);
	if (l.failed || !out->trip.shrinks)
		return false;
	strides(&l);
	order(&l);
	if (!l.failed)
		vector_pack(&l);
	return !l.failed;
}
