/*
 * Loops by vectors: the batches, and what they leave in registers.
 *
 * The loop stands where it always does, for its first round, for what is left of it, and whenever vectors will not do. Its
 * way back asks for vectors as long as they may (frame.vectors): that is a comparison in each of its rounds. What is done by
 * vectors lies off the hot path.
 *
 * Where other harts look, a vector is loaded and stored by halves: an aligned double word is then read and written at once, as
 * the host's manuals say. Of sixteen bytes they say so only where these are aligned. A hart alone shares memory with devices,
 * which learn by less than a double word (an index of a ring) what lies where for them, and that no vector stores.
 */
#include <assert.h>

#include "engine/translate/emit_vector_private.h"

static void arrive(struct x64 *a, const struct vector_ways *w)
{
	for (unsigned i = 0; i < w->count; i++)
		x64_patch_here(a, w->places[i]);
}

static struct x64_mem wanted(unsigned number)
{
	return x64_at(X64_RBP, FRAME_AT(vectors) + 4 * (int32_t)number);
}

static struct x64_mem float_slot(unsigned xmm)
{
	return x64_at(X64_RBP, FRAME_AT(batch_floats) + 8 * (int32_t)xmm);
}

bool emit_vector_head(struct emit *e)
{
	unsigned head = (unsigned)(e->ir - e->unit->ops), number = e->vector_count;
	struct vector v;
	uint8_t *first, *again;

	if (!e->unit->loops || number == FRAME_VECTORS || !vector_find(e->unit, head, &v))
		return false;
	e->vector_count++;
	x64_store_i(e->a, 4, wanted(number), 1);
	first = x64_jmp_forward8(e->a);
	e->labels[head] = x64_here(e->a);
	x64_alu_mi(e->a, X64_CMP, 4, wanted(number), 0);
	again = x64_jcc_forward(e->a, X64_NE);
	x64_patch_here8(e->a, first);
	emit_stub(e, STUB_VECTOR, again, x64_here(e->a), (int32_t)number);
	return true;
}

static void note_register(struct vector_batch *b, unsigned xmm)
{
	if (xmm > X64_XMM2)
		b->used |= 1u << xmm;
}

static void note_registers(struct vector_batch *b)
{
	for (unsigned i = 0; i < b->v.input_count; i++)
		note_register(b, b->v.inputs[i].reg);
	for (unsigned i = 0; i < b->v.code_count; i++)
		if (b->v.codes[i].kind != VECTOR_STORE)
			note_register(b, b->v.codes[i].dst);
}

/* Floats may be live whether the unit has any or not. */
static void floats(struct vector_batch *b, bool save)
{
	for (unsigned xmm = 0; xmm < VECTOR_REGS; xmm++) {
		if (!(b->used >> xmm & 1))
			continue;
		if (save)
			x64_fstore(b->e->a, 8, float_slot(xmm), (enum x64_xmm)xmm);
		else
			x64_fload(b->e->a, 8, (enum x64_xmm)xmm, float_slot(xmm));
	}
}

/* The lower half = a global of either kind. */
static void input_global(struct emit *e, enum x64_xmm xmm, unsigned global)
{
	if (global >= VECTOR_FLOATS)
		emit_float_copy(e, xmm, global - VECTOR_FLOATS);
	else if (is_pinned(e, global))
		x64_movq_xr(e->a, xmm, pinned(e, global));
	else
		x64_fload(e->a, 8, xmm, home(global));
}

static void input_constant(struct emit *e, enum x64_xmm xmm, unsigned size, int32_t number)
{
	if (!number) {
		x64_vector(e->a, X64_VXOR, 8, xmm, xmm, xmm);
		return;
	}
	x64_mov_ri(e->a, X64_RAX, (uint64_t)(int64_t)number);
	x64_movq_xr(e->a, xmm, X64_RAX);
	x64_vspread(e->a, size, xmm, xmm);
}

static void input_carried(struct emit *e, const struct vector_input *in)
{
	enum x64_xmm xmm = (enum x64_xmm)in->reg;

	if (in->low != VECTOR_NONE)
		input_global(e, xmm, in->low);
	else
		input_constant(e, xmm, 8, 0);
	if (in->high == VECTOR_NONE)
		return;
	input_global(e, X64_XMM0, in->high);
	x64_vshuffle(e->a, xmm, xmm, X64_XMM0, 0);
}

static void input(struct emit *e, const struct vector_input *in, unsigned size)
{
	enum x64_xmm xmm = (enum x64_xmm)in->reg;

	switch (in->kind) {
	case VECTOR_GLOBAL:
		input_global(e, xmm, in->low);
		x64_vspread(e->a, size, xmm, xmm);
		break;
	case VECTOR_CONSTANT:
		input_constant(e, xmm, size, in->constant);
		break;
	case VECTOR_SIGNS:
		x64_pcmpeq(e->a, 4, xmm, xmm);
		x64_vshift_ri(e->a, X64_SHL, size, xmm, xmm, size * 8 - 1);
		break;
	case VECTOR_COUNT:
		emit_copy(e, X64_RAX, in->low);
		x64_alu_ri(e->a, X64_AND, 4, X64_RAX, (int32_t)size * 8 - 1);
		x64_movq_xr(e->a, xmm, X64_RAX);
		break;
	default:
		input_carried(e, in);
	}
}

/* Host addresses of the roots, which tell what lies where whatever the guest calls it. */
static void point(struct vector_batch *b)
{
	struct x64 *a = b->e->a;

	for (unsigned i = 0; i < b->v.root_count; i++) {
		const struct vector_root *root = &b->v.roots[i];

		emit_copy(b->e, vector_pointers[i], root->global);
		x64_alu_rm(a, X64_ADD, 8, vector_pointers[i],
			   emit_walk_slot(root->group, offsetof(struct frame_walk, addend)));
		emit_forget(b->e);
	}
	x64_store(a, 8, x64_at(X64_RBP, FRAME_AT(batch_register)), VECTOR_COUNTER);
}

static struct x64_mem place(const struct vector_code *code, int32_t half)
{
	return x64_at(vector_pointers[code->root], code->number + half);
}

static void load(struct emit *e, const struct vector_code *code)
{
	enum x64_xmm dst = (enum x64_xmm)code->dst;

	if (e->runtime->alone && !code->half) {
		x64_vload(e->a, dst, place(code, 0));
		return;
	}
	x64_fload(e->a, 8, dst, place(code, 0));
	if (!code->half)
		x64_vload_high(e->a, dst, place(code, 8));
}

static void store(struct emit *e, const struct vector_code *code)
{
	enum x64_xmm src = (enum x64_xmm)code->a;

	if (e->runtime->alone) {
		x64_vstore(e->a, place(code, 0), src);
		return;
	}
	x64_fstore(e->a, 8, place(code, 0), src);
	x64_vstore_high(e->a, place(code, 8), src);
}

static void fused(struct emit *e, const struct vector_code *code, unsigned size)
{
	/* As in emit_float.c: bit 0 negates the product, bit 1 the addend. */
	static const enum x64_fma ops[] = {X64_FMADD, X64_FNMADD, X64_FMSUB, X64_FNMSUB};

	x64_fmov_rr(e->a, (enum x64_xmm)code->dst, (enum x64_xmm)code->a);
	x64_vfma(e->a, ops[code->number & 3], X64_FMA213, size, (enum x64_xmm)code->dst, (enum x64_xmm)code->b,
		 (enum x64_xmm)code->c);
}

static void operation(struct emit *e, const struct vector_code *code, unsigned size)
{
	static const enum x64_vector ops[UINT8_MAX + 1] = {
		[IR_ADD] = X64_VADD,        [IR_SUB] = X64_VSUB,        [IR_AND] = X64_VAND,
		[IR_OR] = X64_VOR,          [IR_XOR] = X64_VXOR,        [IR_SHL] = X64_VSHL,
		[IR_SAR] = X64_VSAR,        [IR_MUL] = X64_VMUL,
		[IR_SHR] = X64_VSHR,        [IR_FLOAT_ADD] = X64_VFADD, [IR_FLOAT_SUB] = X64_VFSUB,
		[IR_FLOAT_MUL] = X64_VFMUL, [IR_FLOAT_DIV] = X64_VFDIV,
	};

	if (code->op == IR_FLOAT_FMA)
		fused(e, code, size);
	else if (code->op == IR_FLOAT_SQRT)
		x64_vsqrt(e->a, size, (enum x64_xmm)code->dst, (enum x64_xmm)code->a);
	else
		x64_vector(e->a, ops[code->op], size, (enum x64_xmm)code->dst, (enum x64_xmm)code->a,
			   (enum x64_xmm)code->b);
}

static void one(struct emit *e, const struct vector_code *code, unsigned size)
{
	static const enum x64_shift shifts[] = {[IR_SHL] = X64_SHL, [IR_SHR] = X64_SHR, [IR_SAR] = X64_SAR};
	enum x64_xmm dst = (enum x64_xmm)code->dst, from = (enum x64_xmm)code->a;

	switch (code->kind) {
	case VECTOR_LOAD:
		load(e, code);
		break;
	case VECTOR_STORE:
		store(e, code);
		break;
	case VECTOR_SHUFFLE:
		x64_vshuffle(e->a, dst, from, (enum x64_xmm)code->b, (unsigned)code->number);
		break;
	case VECTOR_COPY:
		x64_fmov_rr(e->a, dst, from);
		break;
	case VECTOR_SHIFT:
		x64_vshift_ri(e->a, shifts[code->op], size, dst, from, (unsigned)code->number);
		break;
	default:
		operation(e, code, size);
	}
}

static void look_at(struct vector_batch *b, unsigned one, unsigned other)
{
	struct x64 *a = b->e->a;

	x64_vunordered(a, b->v.size, X64_XMM0, (enum x64_xmm)one, (enum x64_xmm)other);
	x64_vtest(a, b->v.size, X64_XMM0, X64_XMM0);
	vector_add_way(&b->nans, x64_jcc_forward(a, X64_NE));
}

/* A batch that has made a NaN has stored nothing yet: the loop itself does these rounds, and raises the same flags before it
 * can be left. */
static void look_for_nans(struct vector_batch *b)
{
	unsigned before = VECTOR_REGS;

	for (unsigned i = 0; i < b->v.code_count; i++) {
		const struct vector_code *code = &b->v.codes[i];

		if (code->kind != VECTOR_STORE || !code->checked)
			continue;
		if (before == VECTOR_REGS) {
			before = code->a;
			continue;
		}
		look_at(b, before, code->a);
		before = VECTOR_REGS;
	}
	if (before != VECTOR_REGS)
		look_at(b, before, before);
}

static void batches(struct vector_batch *b)
{
	struct x64 *a = b->e->a;
	bool looked = false;
	const void *again;

	x64_load(a, 8, VECTOR_COUNTER, x64_at(X64_RBP, FRAME_AT(batches)));
	again = x64_here(a);
	for (unsigned i = 0; i < b->v.code_count; i++) {
		const struct vector_code *code = &b->v.codes[i];

		if (code->kind == VECTOR_STORE && code->checked && !looked) {
			look_for_nans(b);
			looked = true;
		}
		one(b->e, code, b->v.size);
	}
	for (unsigned i = 0; i < b->v.root_count; i++)
		x64_alu_ri(a, X64_ADD, 8, vector_pointers[i], b->v.roots[i].stride * (int32_t)b->v.rounds);
	x64_alu_ri(a, X64_SUB, 8, VECTOR_COUNTER, 1);
	x64_jcc_rel32(a, X64_NE, again);
}

/* A global of either kind = a half of a vector. */
static void give(struct emit *e, unsigned global, enum x64_xmm from, bool high)
{
	if (global == VECTOR_NONE)
		return;
	if (high) {
		x64_vshuffle(e->a, X64_XMM0, from, from, 1);
		from = X64_XMM0;
	}
	if (global >= VECTOR_FLOATS)
		emit_float_keep(e, global - VECTOR_FLOATS, from);
	else if (is_pinned(e, global))
		x64_movq_rx(e->a, pinned(e, global), from);
	else
		x64_fstore(e->a, 8, home(global), from);
}

static void add_product(struct emit *e, unsigned global, int32_t by)
{
	x64_imul_rri(e->a, 8, X64_RCX, X64_RDX, by);
	if (is_pinned(e, global))
		x64_alu_rr(e->a, X64_ADD, 8, pinned(e, global), X64_RCX);
	else
		x64_alu_mr(e->a, X64_ADD, 8, home(global), X64_RCX);
}

/* Registers as the rounds that were done have left them, and the instructions counted. */
static void settle(struct vector_batch *b)
{
	const struct vector *v = &b->v;
	struct emit *e = b->e;
	int32_t rounds = (int32_t)v->rounds;

	x64_load(e->a, 8, X64_RDX, x64_at(X64_RBP, FRAME_AT(batches)));
	x64_alu_rr(e->a, X64_SUB, 8, X64_RDX, VECTOR_COUNTER);
	x64_load(e->a, 8, VECTOR_COUNTER, x64_at(X64_RBP, FRAME_AT(batch_register)));
	for (unsigned i = 0; i < v->input_count; i++) {
		const struct vector_input *in = &v->inputs[i];

		if (in->kind != VECTOR_CARRIED)
			continue;
		give(e, in->low, (enum x64_xmm)in->reg, false);
		give(e, in->high, (enum x64_xmm)in->reg, true);
	}
	floats(b, false);
	for (unsigned i = 0; i < v->move_count; i++)
		add_product(e, v->moves[i].global, v->moves[i].by * rounds);
	x64_imul_rri(e->a, 8, X64_RCX, X64_RDX, (int32_t)v->instructions * rounds);
	x64_alu_rr(e->a, X64_SUB, 8, FRAME_BUDGET, X64_RCX);
}

static void prepare(struct vector_batch *b)
{
	floats(b, true);
	for (unsigned i = 0; i < b->v.input_count; i++) {
		input(b->e, &b->v.inputs[i], b->v.size);
		emit_forget(b->e);
	}
	point(b);
	vector_look_at_places(b);
}

/* What `prepare` has overwritten. */
static void restore(struct vector_batch *b)
{
	x64_load(b->e->a, 8, VECTOR_COUNTER, x64_at(X64_RBP, FRAME_AT(batch_register)));
	floats(b, false);
}

void emit_vector(struct emit *e, unsigned number, const void *back)
{
	struct vector_batch b = {.e = e};
	const void *settled;
	bool found;

	found = vector_find(e->unit, (unsigned)(e->ir - e->unit->ops), &b.v);
	assert(found);
	note_registers(&b);
	vector_look(&b);
	prepare(&b);
	batches(&b);
	settled = x64_here(e->a);
	settle(&b);
	x64_jmp_rel32(e->a, back);
	arrive(e->a, &b.nans);
	x64_store_i(e->a, 4, wanted(number), 0);
	x64_jmp_rel32(e->a, settled);
	arrive(e->a, &b.not_yet);
	restore(&b);
	x64_jmp_rel32(e->a, back);
	arrive(e->a, &b.given_up);
	restore(&b);
	arrive(e->a, &b.never);
	x64_store_i(e->a, 4, wanted(number), 0);
	arrive(e->a, &b.later);
	x64_jmp_rel32(e->a, back);
	emit_forget(e);
}
