/*
 * Rounds of a loop as operations on vectors: what is loaded side by side and what is stored side by side, with what lies
 * between put together likewise; then registers of the host for it.
 */
#include <string.h>

#include "engine/translate/frame.h"
#include "engine/translate/vector_private.h"

static unsigned new_reg(struct vector_look *l)
{
	if (l->reg_count == VECTOR_NUMBERS)
		return vector_fail(l);
	return l->reg_count++;
}

static void code(struct vector_look *l, struct vector_code code)
{
	struct vector *v = l->out;

	if (v->code_count == VECTOR_CODES)
		vector_fail(l);
	else
		v->codes[v->code_count++] = code;
}

/* The value that is loaded next: from the same root or a later one, farther on. */
static unsigned next_loaded(const struct vector_look *l, const struct vector_node *behind)
{
	unsigned best = 0;

	for (unsigned i = l->base; i < l->count; i++) {
		const struct vector_node *node = &l->nodes[i], *found = &l->nodes[best];

		if (node->kind != NODE_LOADED ||
		    (behind && (node->global < behind->global ||
				(node->global == behind->global && node->number <= behind->number))))
			continue;
		if (!best || node->global < found->global ||
		    (node->global == found->global && node->number < found->number))
			best = i;
	}
	return best;
}

static void load_at_once(struct vector_look *l, const struct vector_lanes *lanes, bool half)
{
	const struct vector_node *node = &l->nodes[lanes->node[0]];
	struct vector_loaded made = {.lanes = *lanes, .before = VECTOR_NO_NUMBER};

	if (l->loaded_count == VECTOR_LOADED) {
		vector_fail(l);
		return;
	}
	made.reg = (uint8_t)new_reg(l);
	l->loaded[l->loaded_count++] = made;
	code(l, (struct vector_code){
			.kind = VECTOR_LOAD, .dst = made.reg, .root = node->global, .half = half, .number = node->number});
}

/* Whether a value lies just behind another one. */
static bool follows(const struct vector_look *l, unsigned node, unsigned before)
{
	return node && l->nodes[node].global == l->nodes[before].global &&
	       l->nodes[node].number == l->nodes[before].number + (int32_t)l->out->size;
}

/* All that is loaded, each once: words by whole vectors only. */
static void load_all(struct vector_look *l)
{
	unsigned next = next_loaded(l, NULL), lanes = vector_lanes(l);

	while (next && !l->failed) {
		struct vector_lanes at = {{0}};
		unsigned count = 0;

		do {
			at.node[count++] = (uint16_t)next;
			next = next_loaded(l, &l->nodes[next]);
		} while (count < lanes && follows(l, next, at.node[count - 1]));
		if (count < lanes && lanes > 2)
			vector_fail(l);
		if (count == 1)
			at.node[1] = at.node[0];
		load_at_once(l, &at, count < lanes);
	}
}

static unsigned input(struct vector_look *l, struct vector_input input)
{
	for (unsigned i = 0; i < l->input_count; i++) {
		const struct vector_input *had = &l->inputs[i];

		if (input.kind != VECTOR_CARRIED && had->kind == input.kind && had->low == input.low &&
		    had->constant == input.constant)
			return had->reg;
	}
	input.reg = (uint8_t)new_reg(l);
	if (!l->failed)
		l->inputs[l->input_count++] = input;
	return input.reg;
}

static struct vector_loaded *loaded_with(struct vector_look *l, unsigned node)
{
	for (unsigned i = 0; i < l->loaded_count; i++)
		for (unsigned j = 0; j < vector_lanes(l); j++)
			if (l->loaded[i].lanes.node[j] == node)
				return &l->loaded[i];
	return NULL;
}

/* A global that is read before it is written holds what the round before has loaded. */
static void carry(struct vector_look *l, unsigned global)
{
	struct vector_loaded *from = loaded_with(l, l->now[global]);
	struct vector_input *made = NULL;

	if (!from || l->out->size != 8) {
		vector_fail(l);
		return;
	}
	if (from->before == VECTOR_NO_NUMBER)
		from->before = (uint8_t)input(
			l, (struct vector_input){.kind = VECTOR_CARRIED, .low = VECTOR_NONE, .high = VECTOR_NONE});
	for (unsigned i = 0; i < l->input_count; i++)
		if (l->inputs[i].reg == from->before)
			made = &l->inputs[i];
	if (!made || (from->lanes.node[0] == l->now[global] ? made->low : made->high) != VECTOR_NONE)
		vector_fail(l);
	else if (from->lanes.node[0] == l->now[global])
		made->low = (uint8_t)global;
	else
		made->high = (uint8_t)global;
}

static void carry_all(struct vector_look *l)
{
	for (unsigned i = 0; i < VECTOR_ALL && !l->failed; i++)
		if (l->nodes[l->first[i]].kind == NODE_CARRIED)
			carry(l, i);
}

/* Where a loaded double word is: the register, and whether it is in its upper half. */
static bool half_of(struct vector_look *l, unsigned node, unsigned *reg, unsigned *half)
{
	bool carried = l->nodes[node].kind == NODE_CARRIED;
	unsigned from = carried ? l->now[l->nodes[node].global] : node;
	struct vector_loaded *loaded = carried || l->nodes[node].kind == NODE_LOADED ? loaded_with(l, from) : NULL;

	if (!loaded)
		return false;
	*reg = carried ? loaded->before : loaded->reg;
	*half = loaded->lanes.node[0] != from;
	return true;
}

static unsigned shuffle(struct vector_look *l, unsigned low, unsigned high)
{
	unsigned a = 0, b = 0, first = 0, second = 0, reg;

	if (!half_of(l, low, &a, &first) || !half_of(l, high, &b, &second))
		return vector_fail(l);
	if (a == b && first == 0 && second == 1)
		return a;
	reg = new_reg(l);
	code(l, (struct vector_code){.kind = VECTOR_SHUFFLE,
				     .dst = (uint8_t)reg,
				     .a = (uint8_t)a,
				     .b = (uint8_t)b,
				     .number = (int32_t)(first | second << 1)});
	return reg;
}

static bool are_same_lanes(const struct vector_look *l, const struct vector_lanes *a, const struct vector_lanes *b)
{
	for (unsigned i = 0; i < vector_lanes(l); i++)
		if (a->node[i] != b->node[i])
			return false;
	return true;
}

/* Loaded values: words are used as they were loaded. */
static unsigned loaded(struct vector_look *l, const struct vector_lanes *lanes)
{
	const struct vector_loaded *from;

	if (l->out->size == 8)
		return shuffle(l, lanes->node[0], lanes->node[1]);
	from = loaded_with(l, lanes->node[0]);
	if (!from || !are_same_lanes(l, &from->lanes, lanes))
		return vector_fail(l);
	return from->reg;
}

static unsigned pack(struct vector_look *l, const struct vector_lanes *lanes);

static bool is_same(const struct vector_node *x, const struct vector_node *y)
{
	return x->kind == y->kind && x->global == y->global && x->number == y->number;
}

/* Whether all elements are made in the same way. */
static bool are_alike(const struct vector_look *l, const struct vector_lanes *lanes)
{
	const struct vector_node *x = &l->nodes[lanes->node[0]];

	for (unsigned i = 1; i < vector_lanes(l); i++) {
		const struct vector_node *y = &l->nodes[lanes->node[i]];

		if (x->kind != y->kind || (x->kind == NODE_DONE && (x->op != y->op || x->number != y->number)))
			return false;
	}
	return true;
}

static bool are_same(const struct vector_look *l, const struct vector_lanes *lanes)
{
	for (unsigned i = 1; i < vector_lanes(l); i++)
		if (!is_same(&l->nodes[lanes->node[0]], &l->nodes[lanes->node[i]]))
			return false;
	return true;
}

static struct vector_lanes operands(const struct vector_look *l, const struct vector_lanes *lanes, char which)
{
	struct vector_lanes of = {{0}};

	for (unsigned i = 0; i < vector_lanes(l); i++) {
		const struct vector_node *node = &l->nodes[lanes->node[i]];

		of.node[i] = which == 'a' ? node->a : which == 'b' ? node->b : node->c;
	}
	return of;
}

/* All elements are shifted by as much: by what the instruction looks at of the count. */
static void shift(struct vector_look *l, const struct vector_lanes *counts, struct vector_code *out)
{
	const struct vector_node *count = &l->nodes[counts->node[0]];

	if (!are_same(l, counts) || !vector_is_fixed(l, count)) {
		vector_fail(l);
		return;
	}
	out->number = count->number & ((int32_t)l->out->size * 8 - 1);
	if (count->kind == NODE_CONSTANT)
		out->kind = VECTOR_SHIFT;
	else
		out->b = (uint8_t)input(l, (struct vector_input){.kind = VECTOR_COUNT, .low = count->global});
}

/* The sign inverted, or shifted out and back. */
static void sign(struct vector_look *l, struct vector_code *out)
{
	struct vector_code shifted = {.kind = VECTOR_SHIFT, .op = IR_SHL, .a = out->a, .number = 1};

	if (out->number == 1) {
		out->op = IR_XOR;
		out->b = (uint8_t)input(l, (struct vector_input){.kind = VECTOR_SIGNS});
		return;
	}
	shifted.dst = (uint8_t)new_reg(l);
	code(l, shifted);
	*out = (struct vector_code){.kind = VECTOR_SHIFT, .op = IR_SHR, .a = shifted.dst, .number = 1};
}

/* The other operands, as the operation has them. */
static void others(struct vector_look *l, const struct vector_lanes *lanes, struct vector_code *out)
{
	struct vector_lanes b = operands(l, lanes, 'b'), c = operands(l, lanes, 'c');

	if (vector_is_shift(out->op))
		shift(l, &b, out);
	else if (out->op == IR_FLOAT_SIGN)
		sign(l, out);
	else if (out->op == IR_FLOAT_SQRT)
		out->b = out->a;
	else
		out->b = (uint8_t)pack(l, &b);
	if (out->op == IR_FLOAT_FMA)
		out->c = (uint8_t)pack(l, &c);
}

static unsigned operation(struct vector_look *l, const struct vector_lanes *lanes)
{
	const struct vector_node *x = &l->nodes[lanes->node[0]];
	struct vector_code made = {.kind = VECTOR_OP, .op = x->op, .number = x->number};
	struct vector_lanes a = operands(l, lanes, 'a');

	for (unsigned i = 0; i < vector_lanes(l); i++)
		l->nodes[lanes->node[i]].used = true;
	made.a = (uint8_t)pack(l, &a);
	others(l, lanes, &made);
	made.dst = (uint8_t)new_reg(l);
	code(l, made);
	return made.dst;
}

/* The register that has these values. */
static unsigned put_together(struct vector_look *l, const struct vector_lanes *lanes)
{
	const struct vector_node *x = &l->nodes[lanes->node[0]];

	if (x->kind == NODE_LOADED || x->kind == NODE_CARRIED)
		return loaded(l, lanes);
	if (!are_alike(l, lanes))
		return vector_fail(l);
	if (x->kind == NODE_DONE)
		return operation(l, lanes);
	if (!are_same(l, lanes) || !(x->kind == NODE_GIVEN || vector_is_fixed(l, x)))
		return vector_fail(l);
	if (x->kind == NODE_CONSTANT)
		return input(l, (struct vector_input){.kind = VECTOR_CONSTANT, .constant = x->number});
	return input(l, (struct vector_input){.kind = VECTOR_GLOBAL, .low = x->global});
}

static unsigned pack(struct vector_look *l, const struct vector_lanes *lanes)
{
	unsigned reg;

	for (unsigned i = 0; i < l->done_count; i++)
		if (are_same_lanes(l, &l->done[i].lanes, lanes))
			return l->done[i].reg;
	if (l->failed)
		return 0;
	reg = put_together(l, lanes);
	if (l->done_count == VECTOR_CODES)
		return vector_fail(l);
	l->done[l->done_count++] = (struct vector_packed){.lanes = *lanes, .reg = (uint8_t)reg};
	return reg;
}

static const struct vector_access *store_at(const struct vector_look *l, unsigned at_root, int32_t at)
{
	for (unsigned i = 0; i < l->access_count; i++)
		if (l->accesses[i].store && l->accesses[i].root == at_root && l->accesses[i].at == at)
			return &l->accesses[i];
	return NULL;
}

/* Whether it is the lowest of a vector: how many stores lie below it without a gap. */
static bool is_lowest(const struct vector_look *l, const struct vector_access *store)
{
	int32_t below = 0, size = (int32_t)l->out->size;

	while (store_at(l, store->root, store->at - size * (below + 1)))
		below++;
	return (unsigned)below % vector_lanes(l) == 0;
}

/* What has been computed: where it is a NaN it is a quiet one, so that looking raises nothing. Of signs, what has them. */
static bool may_be_nan(const struct vector_look *l, const struct vector_node *node)
{
	while (node->kind == NODE_DONE && node->op == IR_FLOAT_SIGN)
		node = &l->nodes[node->a];
	return node->kind == NODE_DONE && node->op >= IR_FLOAT_ADD;
}

static void store_from(struct vector_look *l, const struct vector_access *lowest)
{
	struct vector_lanes lanes = {{0}};

	for (unsigned i = 0; i < vector_lanes(l); i++) {
		const struct vector_access *store = store_at(l, lowest->root, lowest->at + (int32_t)(i * l->out->size));

		if (!store) {
			vector_fail(l);
			return;
		}
		lanes.node[i] = store->value;
	}
	code(l, (struct vector_code){.kind = VECTOR_STORE,
				     .a = (uint8_t)pack(l, &lanes),
				     .checked = may_be_nan(l, &l->nodes[lowest->value]),
				     .root = lowest->root,
				     .number = lowest->at});
}

static void store_all(struct vector_look *l)
{
	for (unsigned i = 0; i < l->access_count && !l->failed; i++)
		if (l->accesses[i].store && is_lowest(l, &l->accesses[i]))
			store_from(l, &l->accesses[i]);
}

/* What is carried to the next batch. */
static void hand_on(struct vector_look *l)
{
	for (unsigned i = 0; i < l->loaded_count; i++)
		if (l->loaded[i].before != VECTOR_NO_NUMBER)
			code(l, (struct vector_code){
					.kind = VECTOR_COPY, .dst = l->loaded[i].before, .a = l->loaded[i].reg});
}

/* An operation on floats raises flags, even if nobody asks for its result. */
static void all_used(struct vector_look *l)
{
	for (unsigned i = l->base; i < l->count; i++)
		if (may_be_nan(l, &l->nodes[i]) && !l->nodes[i].used)
			vector_fail(l);
}

/* Where stores are checked, all that is stored is there before the first of them: the stores go to the end. */
static void stores_last(struct vector *v)
{
	struct vector_code stores[VECTOR_CODES];
	unsigned kept = 0, count = 0;

	for (unsigned i = 0; i < v->code_count; i++)
		if (v->codes[i].kind == VECTOR_STORE)
			stores[count++] = v->codes[i];
		else
			v->codes[kept++] = v->codes[i];
	memcpy(v->codes + kept, stores, count * sizeof stores[0]);
}

static bool any_checked(const struct vector *v)
{
	for (unsigned i = 0; i < v->code_count; i++)
		if (v->codes[i].checked)
			return true;
	return false;
}

/* Floats that are read must stay in their registers until they were. */
static uint32_t free_registers(const struct vector_look *l)
{
	uint32_t set = (1u << VECTOR_REGS) - 1;

	for (unsigned i = 0; i < l->input_count; i++) {
		const struct vector_input *in = &l->inputs[i];
		const uint8_t globals[] = {in->low, in->high};

		for (unsigned j = 0; j < 2; j++)
			if (globals[j] >= VECTOR_FLOATS && globals[j] < VECTOR_ALL &&
			    frame_pinned_float[globals[j] - VECTOR_FLOATS] != FRAME_NO_XMM)
				set &= ~(1u << frame_pinned_float[globals[j] - VECTOR_FLOATS]);
	}
	return set & ~1u;
}

struct host {
	uint32_t free;
	uint8_t of[VECTOR_NUMBERS];
	uint16_t last[VECTOR_NUMBERS]; /* the code that reads it last; UINT16_MAX: it is kept */
};

static unsigned take(struct vector_look *l, struct host *h, unsigned reg)
{
	if (!h->free)
		return vector_fail(l);
	h->of[reg] = (uint8_t)__builtin_ctz(h->free);
	h->free &= h->free - 1;
	return h->of[reg];
}

static bool reads_b(const struct vector_code *code)
{
	return code->kind == VECTOR_SHUFFLE || code->kind == VECTOR_OP;
}

static uint8_t use(struct host *h, unsigned reg, unsigned here)
{
	if (h->last[reg] == here)
		h->free |= 1u << h->of[reg];
	return h->of[reg];
}

static void last_uses(const struct vector_look *l, struct host *h)
{
	const struct vector *v = l->out;

	memset(h->last, 0, sizeof h->last);
	for (unsigned i = 0; i < v->code_count; i++) {
		const struct vector_code *code = &v->codes[i];

		if (code->kind != VECTOR_LOAD)
			h->last[code->a] = (uint16_t)i;
		if (reads_b(code))
			h->last[code->b] = (uint16_t)i;
		if (code->kind == VECTOR_OP && code->op == IR_FLOAT_FMA)
			h->last[code->c] = (uint16_t)i;
	}
	for (unsigned i = 0; i < l->input_count; i++)
		h->last[l->inputs[i].reg] = UINT16_MAX;
}

static void assign_code(struct vector_look *l, struct host *h, unsigned i)
{
	struct vector_code *code = &l->out->codes[i];
	bool fused = code->kind == VECTOR_OP && code->op == IR_FLOAT_FMA;
	unsigned dst = code->dst;

	/* A sum of a product is made in a register of its own, beside its operands. */
	if (fused)
		code->dst = (uint8_t)take(l, h, dst);
	if (code->kind != VECTOR_LOAD)
		code->a = use(h, code->a, i);
	if (reads_b(code))
		code->b = use(h, code->b, i);
	if (fused)
		code->c = use(h, code->c, i);
	if (code->kind == VECTOR_COPY)
		code->dst = h->of[dst];
	else if (code->kind != VECTOR_STORE && !fused)
		code->dst = (uint8_t)take(l, h, dst);
	if (code->kind != VECTOR_STORE && code->kind != VECTOR_COPY && !h->last[dst])
		h->free |= 1u << h->of[dst];
}

/* Registers of the host; xmm0 is left for what is done on the way. */
static void assign(struct vector_look *l)
{
	struct vector *v = l->out;
	struct host h = {.free = free_registers(l)};

	last_uses(l, &h);
	if (l->input_count > VECTOR_REGS)
		vector_fail(l);
	for (unsigned i = 0; i < l->input_count && !l->failed; i++) {
		v->inputs[i] = l->inputs[i];
		v->inputs[i].reg = (uint8_t)take(l, &h, l->inputs[i].reg);
	}
	v->input_count = l->input_count;
	for (unsigned i = 0; i < v->code_count && !l->failed; i++)
		assign_code(l, &h, i);
}

/* Whether vectors of one root, of all batches, lie at multiples of double words from each other, so that one look tells how
 * all are aligned. */
static bool are_in_line(const struct vector *v)
{
	for (unsigned i = 0; i < v->root_count; i++)
		if (v->roots[i].stride * (int32_t)v->rounds % 8)
			return false;
	for (unsigned i = 0; i < v->code_count; i++)
		for (unsigned j = 0; j < i; j++) {
			const struct vector_code *a = &v->codes[i], *b = &v->codes[j];

			if (a->kind <= VECTOR_STORE && b->kind <= VECTOR_STORE && a->root == b->root &&
			    (a->number - b->number) % 8)
				return false;
		}
	return true;
}

void vector_pack(struct vector_look *l)
{
	load_all(l);
	carry_all(l);
	store_all(l);
	all_used(l);
	if (l->out->size == 4 && !are_in_line(l->out))
		vector_fail(l);
	if (l->failed)
		return;
	if (any_checked(l->out))
		stores_last(l->out);
	hand_on(l);
	if (!l->failed)
		assign(l);
}
