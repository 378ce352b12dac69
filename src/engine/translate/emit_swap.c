/*
 * Registers of a unit's own: where guest registers without a host register are busy, they take those of idle ones for
 * as long as the unit runs. Whatever leaves the unit, or calls C, puts the common assignment back first.
 */
#include "engine/translate/emit_private.h"

#include <string.h>

/* What a pair must save, in accesses to memory, to be worth the four that it costs. */
#define SWAP_WORTH  8
#define LOOP_WEIGHT 6
/* A branch over a few instructions is taken as often as not; one that leads farther mostly is not, and so what it needs
 * when it is lies off the hot path. */
#define FEW         8
/* How often an operation runs for each time that the unit is entered, guessed, in units of 1 / ONCE. */
#define ONCE        32
#define OFTEN_MAX   (ONCE * LOOP_WEIGHT * LOOP_WEIGHT)

struct use {
	uint32_t weight[IR_GLOBALS];
	uint32_t written; /* a bit for each */
};

/* What operations [first, last], a loop, weigh. */
static void weigh_loop(uint16_t often[UNIT_OPS], unsigned first, unsigned last)
{
	for (unsigned i = first; i <= last; i++)
		if (often[i] * LOOP_WEIGHT <= OFTEN_MAX)
			often[i] = (uint16_t)(often[i] * LOOP_WEIGHT);
}

/* Branches leave, loops run. */
static void guess(const struct ir_unit *unit, uint16_t often[UNIT_OPS])
{
	unsigned here = ONCE;

	for (unsigned i = 0; i < unit->count; i++) {
		const struct ir *ir = &unit->ops[i];

		often[i] = (uint16_t)here;
		if (ir->op == IR_BRANCH && !ir->inside)
			here = here * 5 / 8;
		if (ir->inside && ir->inside - 1u <= i)
			weigh_loop(often, ir->inside - 1u, i);
	}
}

static void count_one(struct use *use, const struct ir *ir, unsigned often)
{
	unsigned traits = ir_traits[ir->op];

	/* Ways out have the common assignment back already. */
	if (ir->op >= IR_JUMP)
		return;
	if ((traits & IR_READS_A) && ir->a < IR_GLOBALS && emit_needs_base(ir))
		use->weight[ir->a] += often;
	if ((traits & IR_READS_B) && ir->b < IR_GLOBALS)
		use->weight[ir->b] += often;
	if ((traits & IR_WRITES) && ir->dst < IR_GLOBALS) {
		use->weight[ir->dst] += often;
		use->written |= UINT32_C(1) << ir->dst;
	}
}

static void count_loops(const struct ir_unit *unit, struct use *use)
{
	uint16_t often[UNIT_OPS];

	guess(unit, often);
	for (unsigned i = 0; i < unit->count; i++)
		count_one(use, &unit->ops[i], often[i]);
}

static void count(const struct ir_unit *unit, struct use *use)
{
	const struct ir *end = unit->ops + unit->count;
	unsigned here = ONCE;

	if (unit->loops) {
		count_loops(unit, use);
		return;
	}
	for (const struct ir *ir = unit->ops; ir < end; ir++) {
		count_one(use, ir, here);
		if (ir->op == IR_BRANCH && !ir->inside)
			here = here * 5 / 8;
	}
}

/* Most units are so short that nothing is to be gained. */
static bool is_worth_it(const struct use *use)
{
	bool worth = false;

	for (unsigned i = 1; i < IR_GLOBALS; i++)
		worth |= use->weight[i] >= SWAP_WORTH * ONCE && frame_pinned[i] == X64_NONE;
	return worth;
}

static unsigned busiest(const struct emit *e, const struct use *use)
{
	unsigned best = 0;

	for (unsigned i = 1; i < IR_GLOBALS; i++)
		if (e->own[i] == X64_NONE && use->weight[i] > use->weight[best])
			best = i;
	return best;
}

static unsigned idlest(const struct emit *e, const struct use *use)
{
	unsigned best = IR_GLOBALS;

	for (unsigned i = 0; i < IR_GLOBALS; i++)
		if (e->own[i] != X64_NONE && frame_pinned[i] != X64_NONE &&
		    (best == IR_GLOBALS || use->weight[i] < use->weight[best]))
			best = i;
	return best;
}

void emit_choose(struct emit *e)
{
	struct use use = {0};

	count(e->unit, &use);
	if (!is_worth_it(&use))
		return;
	memcpy(e->own, frame_pinned, sizeof e->own);
	while (e->swap_count < SWAPS_MAX) {
		unsigned in = busiest(e, &use), out = IR_GLOBALS;

		if (use.weight[in] >= SWAP_WORTH * ONCE)
			out = idlest(e, &use);
		if (out == IR_GLOBALS || use.weight[in] < use.weight[out] + SWAP_WORTH * ONCE)
			break;
		e->own[in] = e->own[out];
		e->own[out] = X64_NONE;
		e->swaps[e->swap_count++] =
			(struct swap){.in = (uint8_t)in, .out = (uint8_t)out, .written = use.written >> in & 1};
	}
}

void emit_swap_in(struct emit *e)
{
	for (unsigned i = 0; i < e->swap_count; i++) {
		const struct swap *s = &e->swaps[i];
		enum x64_reg reg = (enum x64_reg)e->own[s->in];

		x64_store(e->a, 8, home(s->out), reg);
		x64_load(e->a, 8, reg, home(s->in));
	}
}

void emit_swap_out(struct emit *e)
{
	for (unsigned i = 0; i < e->swap_count; i++) {
		const struct swap *s = &e->swaps[i];
		enum x64_reg reg = (enum x64_reg)e->own[s->in];

		if (s->written)
			x64_store(e->a, 8, home(s->in), reg);
		x64_load(e->a, 8, reg, home(s->out));
	}
}

/* Inside a unit r15 stands for the place: what lies between here and the target is given back or counted again. */
static void jump_back(struct emit *e, unsigned to, int32_t instructions)
{
	x64_alu_ri(e->a, X64_SUB, 8, FRAME_BUDGET, instructions);
	x64_jcc_rel32(e->a, X64_NS, e->labels[to]);
	emit_stub(e, STUB_AGAIN, x64_jmp_forward(e->a), NULL, (int32_t)to);
}

static void jump_ahead(struct emit *e, unsigned to, uint8_t *place)
{
	e->forwards[e->forward_count++] = (struct forward){.place = place, .op = (uint16_t)to};
}

static void add_budget(struct emit *e, int32_t instructions)
{
	x64_lea(e->a, 8, FRAME_BUDGET, x64_at(FRAME_BUDGET, instructions));
}

void emit_inside(struct emit *e)
{
	const struct ir *ir = e->ir;
	unsigned to = ir->inside - 1u;
	int32_t ahead = e->unit->ops[to].before - (ir->before + 1);
	enum x64_cc cc;
	uint8_t *over;

	if (ahead == 0)
		return;
	if (ir->op == IR_JUMP) {
		if (ahead < 0) {
			jump_back(e, to, -ahead);
			return;
		}
		add_budget(e, ahead);
		jump_ahead(e, to, x64_jmp_forward(e->a));
		return;
	}
	cc = emit_decide(e);
	if (ahead < 0) {
		over = x64_jcc_forward8(e->a, x64_cc_negate(cc));
		jump_back(e, to, -ahead);
		x64_patch_here8(e->a, over);
		return;
	}
	if (ahead > FEW) {
		emit_stub(e, STUB_AHEAD, x64_jcc_forward(e->a, cc), NULL, ahead);
		return;
	}
	/* lea keeps the flags. */
	add_budget(e, ahead);
	jump_ahead(e, to, x64_jcc_forward(e->a, cc));
	add_budget(e, -ahead);
}

/* Operations that a way ahead copies for not having to jump to them. */
#define COPIED 4

/* The jump back to which a few plain operations lead from `to` on, or NULL. */
static const struct ir *way_back(const struct ir_unit *unit, unsigned to)
{
	for (unsigned i = to; i < unit->count && i <= to + COPIED; i++) {
		const struct ir *ir = &unit->ops[i];

		if (ir->op == IR_JUMP && ir->inside && ir->inside - 1u <= i)
			return ir;
		if (ir->op >= IR_PURE)
			return NULL;
	}
	return NULL;
}

/* From where the next round of the loop begins, which leaves `instructions` out. */
static void go_back(struct emit *e, unsigned from, const struct ir *jump, int32_t instructions)
{
	unsigned to = jump->inside - 1u;

	for (e->ir = &e->unit->ops[from]; e->ir < jump; e->ir++) {
		if (!e->ir->late && e->ir->dst != IR_ZERO) {
			emit_integer(e);
			emit_moved(e, e->ir->dst);
		}
		emit_forget(e);
	}
	jump_back(e, to, jump->before + 1 - e->unit->ops[to].before - instructions);
}

void emit_ahead(struct emit *e, int32_t instructions)
{
	unsigned to = e->ir->inside - 1u;
	const struct ir *jump = way_back(e->unit, to);

	if (jump) {
		go_back(e, to, jump, instructions);
		return;
	}
	add_budget(e, instructions);
	x64_jmp_rel32(e->a, e->labels[to]);
}
