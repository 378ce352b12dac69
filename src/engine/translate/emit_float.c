/*
 * Floats on the host's unit: MXCSR holds the guest's rounding mode and collects its flags. What the host does
 * otherwise than the guest asks (NaN results, singles that are not boxed, conversions out of range) goes to C.
 */
#include "engine/translate/emit_private.h"

static enum x64_xmm float_value(struct emit *e, unsigned global, enum x64_xmm scratch)
{
	if (float_is_pinned(global))
		return (enum x64_xmm)frame_pinned_float[global];
	x64_fload(e->a, 8, scratch, float_home(global));
	return scratch;
}

void emit_float_copy(struct emit *e, enum x64_xmm xmm, unsigned global)
{
	enum x64_xmm from = float_value(e, global, xmm);

	if (from != xmm)
		x64_fmov_rr(e->a, xmm, from);
}

void emit_float_keep(struct emit *e, unsigned dst, enum x64_xmm xmm)
{
	if (!float_is_pinned(dst))
		x64_fstore(e->a, 8, float_home(dst), xmm);
	else if (frame_pinned_float[dst] != (uint8_t)xmm)
		x64_fmov_rr(e->a, (enum x64_xmm)frame_pinned_float[dst], xmm);
}

static void float_keep(struct emit *e, enum x64_xmm xmm)
{
	emit_float_keep(e, e->ir->dst, xmm);
}

/* Where to compute a result that keeps no operand from being read: C may do the operation anew. */
static enum x64_xmm float_target(const struct emit *e)
{
	return float_is_pinned(e->ir->dst) ? (enum x64_xmm)frame_pinned_float[e->ir->dst] : X64_XMM0;
}

/* The same where floats a, b and, in a sum of a product, c are operands. */
static enum x64_xmm target_beside(const struct emit *e)
{
	const struct ir *ir = e->ir;

	if (ir->dst == ir->a || ir->dst == ir->b || (ir->op == IR_FLOAT_FMA && ir->dst == ir->c))
		return X64_XMM0;
	return float_target(e);
}

/* Keeps a result of the operation's size: a single is boxed. */
static void keep_sized(struct emit *e, enum x64_xmm xmm)
{
	if (e->ir->size == 4)
		x64_flogic_m(e->a, X64_FOR, xmm, x64_at(X64_RBP, FRAME_AT(box)));
	float_keep(e, xmm);
	if (e->ir->size == 4)
		e->boxed |= 1u << e->ir->dst;
	else
		e->boxed &= ~(1u << e->ir->dst);
}

void emit_compare_box(struct emit *e, unsigned global, enum x64_reg scratch)
{
	if (float_is_pinned(global)) {
		x64_movq_rx(e->a, scratch, (enum x64_xmm)frame_pinned_float[global]);
		x64_shift_ri(e->a, X64_SAR, 8, scratch, 32);
		x64_alu_ri(e->a, X64_CMP, 4, scratch, -1);
	} else {
		x64_alu_mi(e->a, X64_CMP, 4, x64_at(X64_RBP, FRAME_F(global) + 4), -1);
	}
}

/* A single must be boxed; else C does the instruction, and another unit goes on: in this one it counts as boxed. */
static void check_box(struct emit *e, unsigned global, unsigned size)
{
	if (size != 4 || (e->boxed >> global & 1))
		return;
	emit_compare_box(e, global, X64_RAX);
	emit_stub(e, STUB_ELSEWHERE, x64_jcc_forward(e->a, X64_NE), NULL, 0);
	e->boxed |= 1u << global;
}

/* C does the rare case, for which `place` is the jump. What is quiet leaves the flags as they are otherwise. */
static void rarely(struct emit *e, uint8_t *place)
{
	emit_stub(e, e->ir->quiet ? STUB_ELSEWHERE : STUB_CALL_C, place, NULL, 0);
}

static void check_boxes(struct emit *e)
{
	check_box(e, e->ir->a, e->ir->size);
	if (e->ir->b != e->ir->a)
		check_box(e, e->ir->b, e->ir->size);
}

/* A NaN result is replaced by the canonical one by C, which also knows the flags. */
static void check_nan(struct emit *e, enum x64_xmm result)
{
	x64_ucomi(e->a, e->ir->size, result, result);
	emit_stub(e, STUB_CALL_C, x64_jcc_forward(e->a, X64_P), NULL, 0);
}

static void arithmetic(struct emit *e, enum x64_farith op)
{
	enum x64_xmm result = target_beside(e), a;
	const struct ir *ir = e->ir;

	check_box(e, ir->a, ir->size);
	if (op != X64_FSQRT) {
		if (ir->b != ir->a)
			check_box(e, ir->b, ir->size);
		a = float_value(e, ir->a, result);
		x64_farith3(e->a, op, ir->size, result, a, float_value(e, ir->b, X64_XMM1));
	} else {
		x64_farith(e->a, op, ir->size, result, float_value(e, ir->a, X64_XMM1));
	}
	check_nan(e, result);
	keep_sized(e, result);
}

/* A sum that grows in its own register: xmm0 has what it was, for C. */
static void accumulate(struct emit *e, enum x64_fma op)
{
	const struct ir *ir = e->ir;
	enum x64_xmm sum = float_target(e), a, b;

	x64_fmov_rr(e->a, X64_XMM0, sum);
	a = float_value(e, ir->a, X64_XMM1);
	b = float_value(e, ir->b, X64_XMM2);
	x64_fma(e->a, op, X64_FMA231, ir->size, sum, a, b);
	x64_ucomi(e->a, ir->size, sum, sum);
	emit_stub(e, STUB_CALL_C, x64_jcc_forward(e->a, X64_P), NULL, STUB_RESTORES);
	keep_sized(e, sum);
}

static void fused(struct emit *e)
{
	/* imm: bit 0 negates the product, bit 1 the addend. */
	static const enum x64_fma ops[] = {X64_FMADD, X64_FNMADD, X64_FMSUB, X64_FNMSUB};
	enum x64_xmm result = target_beside(e), b, c;
	const struct ir *ir = e->ir;

	check_boxes(e);
	check_box(e, ir->c, ir->size);
	if (ir->dst == ir->c && ir->dst != ir->a && ir->dst != ir->b && float_is_pinned(ir->dst)) {
		accumulate(e, ops[ir->imm & 3]);
		return;
	}
	emit_float_copy(e, result, ir->a);
	b = float_value(e, ir->b, X64_XMM1);
	c = float_value(e, ir->c, X64_XMM2);
	x64_fma(e->a, ops[ir->imm & 3], X64_FMA213, ir->size, result, b, c);
	check_nan(e, result);
	keep_sized(e, result);
}

/* dst = a with b's sign, its inverse, or both signs xored. */
static void sign(struct emit *e)
{
	const struct ir *ir = e->ir;
	struct x64_mem mask = x64_at(X64_RBP, ir->size == 4 ? FRAME_AT(sign32) : FRAME_AT(sign64));

	check_boxes(e);
	if (ir->a == ir->b && ir->imm == 0) {
		keep_sized(e, float_value(e, ir->a, X64_XMM0));
		return;
	}
	if (ir->a == ir->b && ir->imm == 1) {
		emit_float_copy(e, X64_XMM0, ir->a);
		x64_flogic_m(e->a, X64_FXOR, X64_XMM0, mask);
	} else if (ir->a == ir->b) {
		x64_fload(e->a, 8, X64_XMM0, mask);
		x64_flogic(e->a, X64_FANDN, X64_XMM0, float_value(e, ir->a, X64_XMM1));
	} else {
		emit_float_copy(e, X64_XMM1, ir->b);
		if (ir->imm == 1)
			x64_flogic_m(e->a, X64_FXOR, X64_XMM1, mask);
		x64_flogic_m(e->a, X64_FAND, X64_XMM1, mask);
		if (ir->imm == 2) {
			emit_float_copy(e, X64_XMM0, ir->a);
			x64_flogic(e->a, X64_FXOR, X64_XMM0, X64_XMM1);
		} else {
			x64_fload(e->a, 8, X64_XMM0, mask);
			x64_flogic(e->a, X64_FANDN, X64_XMM0, float_value(e, ir->a, X64_XMM2));
			x64_flogic(e->a, X64_FOR, X64_XMM0, X64_XMM1);
		}
	}
	keep_sized(e, X64_XMM0);
}

static void keep_flag(struct emit *e)
{
	enum x64_reg reg = emit_target(e, X64_RAX);

	x64_movzx_rr(e->a, 1, reg, X64_RAX);
	emit_keep(e, reg);
}

/* al = whether a equals b. */
static void equal(struct emit *e, enum x64_xmm a, enum x64_xmm b)
{
	x64_ucomi(e->a, e->ir->size, a, b);
	if (e->ir->quiet) {
		rarely(e, x64_jcc_forward(e->a, X64_P));
		x64_setcc(e->a, X64_E, X64_RAX);
		return;
	}
	x64_setcc(e->a, X64_E, X64_RAX);
	x64_setcc(e->a, X64_NP, X64_RCX);
	x64_alu_rr(e->a, X64_AND, 1, X64_RAX, X64_RCX);
}

/* al = whether a is less, turned round, so that an unordered pair sets carry and gives 0. */
static void less(struct emit *e, enum x64_xmm a, enum x64_xmm b)
{
	x64_comi(e->a, e->ir->size, b, a);
	if (e->ir->quiet)
		rarely(e, x64_jcc_forward(e->a, X64_P));
	x64_setcc(e->a, e->ir->op == IR_FLOAT_LESS ? X64_A : X64_AE, X64_RAX);
}

static void compare_floats(struct emit *e)
{
	const struct ir *ir = e->ir;
	enum x64_xmm a, b;

	check_boxes(e);
	a = float_value(e, ir->a, X64_XMM0);
	b = float_value(e, ir->b, X64_XMM1);
	if (ir->op == IR_FLOAT_EQUAL)
		equal(e, a, b);
	else
		less(e, a, b);
	keep_flag(e);
}

static void to_bits(struct emit *e)
{
	enum x64_reg reg = emit_target(e, X64_RAX);
	enum x64_xmm from = float_value(e, e->ir->a, X64_XMM0);

	x64_movq_rx(e->a, reg, from);
	if (e->ir->size == 4)
		x64_movsx_rr(e->a, 4, reg, reg);
	emit_keep(e, reg);
}

static void from_bits(struct emit *e)
{
	enum x64_reg reg = emit_value(e, e->ir->a, X64_RAX);
	enum x64_xmm result = float_target(e);

	if (e->ir->size == 8)
		x64_movq_xr(e->a, result, reg);
	else
		x64_movd_xr(e->a, result, reg);
	keep_sized(e, result);
}

/* An integer that the float holds whatever the rounding; the others are C's. */
static void check_exact(struct emit *e, enum x64_reg reg)
{
	if (e->ir->imm == 4 && e->ir->is_signed)
		x64_movsx_rr(e->a, 4, X64_RCX, reg);
	else
		x64_mov_rr(e->a, 8, X64_RCX, reg);
	x64_shift_ri(e->a, e->ir->is_signed ? X64_SAR : X64_SHR, 8, X64_RCX, e->ir->size == 8 ? 53 : 24);
	x64_alu_ri(e->a, X64_ADD, 8, X64_RCX, 1);
	x64_alu_ri(e->a, X64_CMP, 8, X64_RCX, 1);
	rarely(e, x64_jcc_forward(e->a, X64_A));
}

/* From what the host has no conversion for, as a signed number: half of it, whose last bit stands for the two that it
 * had (it decides the same roundings), and that twice. rax has the number, rcx is free. */
static void from_large(struct emit *e, enum x64_xmm result)
{
	uint8_t *fits, *done;

	x64_test_rr(e->a, 8, X64_RAX, X64_RAX);
	fits = x64_jcc_forward8(e->a, X64_NS);
	x64_mov_rr(e->a, 8, X64_RCX, X64_RAX);
	x64_alu_ri(e->a, X64_AND, 4, X64_RCX, 1);
	x64_shift_ri(e->a, X64_SHR, 8, X64_RAX, 1);
	x64_alu_rr(e->a, X64_OR, 8, X64_RAX, X64_RCX);
	x64_cvtsi2f(e->a, 8, e->ir->size, result, X64_RAX);
	x64_farith(e->a, X64_FADD, e->ir->size, result, result);
	done = x64_jmp_forward8(e->a);
	x64_patch_here8(e->a, fits);
	x64_cvtsi2f(e->a, 8, e->ir->size, result, X64_RAX);
	x64_patch_here8(e->a, done);
	emit_forget(e);
}

static void from_int(struct emit *e)
{
	const struct ir *ir = e->ir;
	enum x64_reg reg = emit_value(e, ir->a, X64_RAX);
	enum x64_xmm result = float_target(e);
	unsigned isize = (unsigned)ir->imm;

	if (!ir->is_signed) {
		x64_mov_rr(e->a, isize, X64_RAX, reg);
		reg = X64_RAX;
		emit_forget(e);
	}
	if ((ir->c != IR_DYNAMIC || ir->quiet) && !(ir->size == 8 && isize == 4))
		check_exact(e, reg);
	x64_flogic(e->a, X64_FXOR, result, result);
	if (!ir->is_signed && isize == 8)
		from_large(e, result);
	else
		x64_cvtsi2f(e->a, ir->is_signed ? isize : 8, ir->size, result, reg);
	keep_sized(e, result);
}

/* NaNs are C's; equal numbers may be zeros of either sign, which the bits order. */
static void extreme(struct emit *e)
{
	const struct ir *ir = e->ir;
	bool min = ir->op == IR_FLOAT_MIN;
	uint8_t *differ, *done;
	enum x64_xmm b;

	check_boxes(e);
	emit_float_copy(e, X64_XMM0, ir->a);
	b = float_value(e, ir->b, X64_XMM1);
	x64_ucomi(e->a, ir->size, X64_XMM0, b);
	emit_stub(e, STUB_CALL_C, x64_jcc_forward(e->a, X64_P), NULL, 0);
	differ = x64_jcc_forward8(e->a, X64_NE);
	x64_flogic(e->a, min ? X64_FOR : X64_FAND, X64_XMM0, b);
	done = x64_jmp_forward8(e->a);
	x64_patch_here8(e->a, differ);
	x64_farith(e->a, min ? X64_FMIN : X64_FMAX, ir->size, X64_XMM0, b);
	x64_patch_here8(e->a, done);
	keep_sized(e, X64_XMM0);
}

static void round_float(struct emit *e, enum x64_xmm from, unsigned mode)
{
	if (e->ir->size == 8)
		x64_roundsd(e->a, X64_XMM0, from, mode);
	else
		x64_roundss(e->a, X64_XMM0, from, mode);
}

static void round_and_convert(struct emit *e, enum x64_xmm from)
{
	static const enum x64_round modes[] = {
		[IR_TO_NEAREST] = X64_ROUND_NEAREST, [IR_TO_ZERO] = X64_ROUND_ZERO,
		[IR_DOWN] = X64_ROUND_DOWN,          [IR_UP] = X64_ROUND_UP,
		[IR_DYNAMIC] = X64_ROUND_MXCSR};
	unsigned fsize = e->ir->size, isize = (unsigned)e->ir->imm;
	bool quiet = e->ir->quiet;

	if (e->ir->c == IR_DYNAMIC && !quiet) {
		x64_cvtf2si(e->a, fsize, isize, X64_RAX, from);
		return;
	}
	if (e->ir->c != IR_TO_ZERO || quiet) {
		round_float(e, from, modes[e->ir->c] + (quiet ? X64_ROUND_QUIET : 0u));
		from = X64_XMM0;
	}
	x64_cvttf2si(e->a, fsize, isize, X64_RAX, from);
}

/* reg = the bits of a float, and zeros above them. */
static void bits_of(struct emit *e, enum x64_reg reg, enum x64_xmm from)
{
	if (e->ir->size == 8)
		x64_movq_rx(e->a, reg, from);
	else
		x64_movd_rx(e->a, reg, from);
}

/* rax = the sign and the exponent of a float: of so many bits in all. */
static unsigned sign_and_exponent(struct emit *e, enum x64_xmm from)
{
	bits_of(e, X64_RAX, from);
	x64_shift_ri(e->a, X64_SHR, e->ir->size, X64_RAX, e->ir->size == 8 ? 52 : 23);
	return e->ir->size == 8 ? 12 : 9;
}

/* To an unsigned integer, by the host's conversion to a signed one of 64 bits. What has a sign or is too large for
 * either is C's, before it has left a flag. */
static void to_unsigned(struct emit *e, enum x64_xmm from)
{
	const struct ir *ir = e->ir;
	int32_t bias = ir->size == 8 ? 1023 : 127;

	sign_and_exponent(e, from);
	x64_alu_ri(e->a, X64_CMP, 4, X64_RAX, bias + (ir->imm == 4 ? 32 : 63));
	rarely(e, x64_jcc_forward(e->a, X64_AE));
	if (ir->quiet) {
		round_float(e, from, X64_ROUND_ZERO + X64_ROUND_QUIET);
		from = X64_XMM0;
	}
	x64_cvttf2si(e->a, ir->size, 8, X64_RAX, from);
}

/* The host gives the least integer for all that does not fit; C tells that from a true one. */
static void to_int(struct emit *e)
{
	unsigned isize = (unsigned)e->ir->imm;
	enum x64_xmm from;

	check_box(e, e->ir->a, e->ir->size);
	from = float_value(e, e->ir->a, X64_XMM0);
	if (e->ir->is_signed) {
		round_and_convert(e, from);
		/* x - 1 overflows for the least integer only. */
		x64_alu_ri(e->a, X64_CMP, isize, X64_RAX, 1);
		rarely(e, x64_jcc_forward(e->a, X64_O));
	} else {
		to_unsigned(e, from);
	}
	if (isize == 4)
		x64_movsx_rr(e->a, 4, X64_RAX, X64_RAX);
	emit_keep(e, X64_RAX);
}

/* rax = one number with the sign of rcx (not 0), or another without. */
static void by_sign(struct emit *e, uint64_t with, uint64_t without)
{
	x64_mov_ri(e->a, X64_RAX, without);
	x64_mov_ri(e->a, X64_RDX, with);
	x64_test_rr(e->a, 4, X64_RCX, X64_RCX);
	x64_cmov(e->a, X64_NE, 4, X64_RAX, X64_RDX);
}

/* Normal numbers and zeros; the others are C's. The least exponent and the greatest are those where adding one leaves
 * nothing but the last bit. */
static void class(struct emit *e)
{
	const struct ir *ir = e->ir;
	uint8_t *normal, *done;
	enum x64_xmm from;
	unsigned bits;

	check_box(e, ir->a, ir->size);
	from = float_value(e, ir->a, X64_XMM0);
	bits = sign_and_exponent(e, from);
	x64_lea(e->a, 4, X64_RDX, x64_at(X64_RAX, 1));
	x64_mov_rr(e->a, 4, X64_RCX, X64_RAX);
	x64_shift_ri(e->a, X64_SHR, 4, X64_RCX, bits - 1);
	x64_test_ri(e->a, 4, X64_RDX, (1 << (bits - 1)) - 2);
	normal = x64_jcc_forward8(e->a, X64_NE);
	bits_of(e, X64_RDX, from);
	x64_alu_rr(e->a, X64_ADD, ir->size, X64_RDX, X64_RDX);
	emit_stub(e, STUB_CALL_C, x64_jcc_forward(e->a, X64_NE), NULL, 0);
	by_sign(e, IR_CLASS_MINUS_ZERO, IR_CLASS_ZERO);
	done = x64_jmp_forward8(e->a);
	x64_patch_here8(e->a, normal);
	by_sign(e, IR_CLASS_MINUS_NORMAL, IR_CLASS_NORMAL);
	x64_patch_here8(e->a, done);
	emit_keep(e, X64_RAX);
}

static void flags_read(struct emit *e)
{
	struct x64_mem mxcsr = x64_at(X64_RBP, FRAME_AT(mxcsr));

	x64_stmxcsr(e->a, mxcsr);
	x64_load(e->a, 4, X64_RAX, mxcsr);
	x64_alu_ri(e->a, X64_AND, 4, X64_RAX, 63);
	x64_load_zx(e->a, 1, X64_RAX, x64_at_index(X64_RBP, X64_RAX, 1, FRAME_AT(flags_of_mxcsr)));
	x64_alu_rm(e->a, X64_OR, 1, X64_RAX, x64_at(X64_RBP, FRAME_HART(fflags)));
	emit_keep(e, X64_RAX);
}

static void rounding_read(struct emit *e)
{
	enum x64_reg reg = emit_target(e, X64_RAX);

	x64_load_zx(e->a, 1, reg, x64_at(X64_RBP, FRAME_HART(frm)));
	emit_keep(e, reg);
}

/* The flags go into the hart; MXCSR starts to collect anew. */
static void flags_write(struct emit *e)
{
	struct x64_mem mxcsr = x64_at(X64_RBP, FRAME_AT(mxcsr));
	uint8_t *clean;

	if (e->ir->quiet)
		return;
	emit_copy(e, X64_RAX, e->ir->a);
	x64_alu_ri(e->a, X64_AND, 4, X64_RAX, 31);
	x64_store(e->a, 1, x64_at(X64_RBP, FRAME_HART(fflags)), X64_RAX);
	x64_stmxcsr(e->a, mxcsr);
	x64_test_mi(e->a, 4, mxcsr, 63);
	clean = x64_jcc_forward8(e->a, X64_E);
	x64_alu_mi(e->a, X64_AND, 4, mxcsr, ~63);
	x64_ldmxcsr(e->a, mxcsr);
	x64_patch_here8(e->a, clean);
}

static void resize(struct emit *e)
{
	const struct ir *ir = e->ir;
	enum x64_xmm from;

	check_box(e, ir->a, ir->op == IR_FLOAT_WIDEN ? 4 : 8);
	from = float_value(e, ir->a, X64_XMM1);
	x64_flogic(e->a, X64_FXOR, X64_XMM0, X64_XMM0);
	if (ir->op == IR_FLOAT_WIDEN)
		x64_cvtss2sd(e->a, X64_XMM0, from);
	else
		x64_cvtsd2ss(e->a, X64_XMM0, from);
	check_nan(e, X64_XMM0);
	keep_sized(e, X64_XMM0);
}

static void load(struct emit *e)
{
	enum x64_xmm result = float_target(e);

	x64_fload(e->a, e->ir->size, result, emit_place(e, false));
	keep_sized(e, result);
}

static void store(struct emit *e)
{
	struct x64_mem place = emit_place(e, true);

	x64_fstore(e->a, e->ir->size, place, float_value(e, e->ir->b, X64_XMM0));
}

void emit_float(struct emit *e)
{
	static const enum x64_farith ops[] = {
		[IR_FLOAT_ADD - IR_FLOAT_ADD] = X64_FADD,  [IR_FLOAT_SUB - IR_FLOAT_ADD] = X64_FSUB,
		[IR_FLOAT_MUL - IR_FLOAT_ADD] = X64_FMUL,  [IR_FLOAT_DIV - IR_FLOAT_ADD] = X64_FDIV,
		[IR_FLOAT_SQRT - IR_FLOAT_ADD] = X64_FSQRT};
	static void (*const table[])(struct emit *e) = {
		[IR_FLOAT_LOAD] = load,           [IR_FLOAT_STORE] = store,
		[IR_FLOAT_FMA] = fused,           [IR_FLOAT_SIGN] = sign,
		[IR_FLOAT_EQUAL] = compare_floats, [IR_FLOAT_LESS] = compare_floats,
		[IR_FLOAT_LESS_EQUAL] = compare_floats, [IR_FLOAT_TO_BITS] = to_bits,
		[IR_BITS_TO_FLOAT] = from_bits,   [IR_FLOAT_FROM_INT] = from_int,
		[IR_FLOAT_TO_INT] = to_int,       [IR_FLOAT_CLASS] = class,
		[IR_FLOAT_WIDEN] = resize,
		[IR_FLOAT_NARROW] = resize,       [IR_FLOAT_MIN] = extreme,
		[IR_FLOAT_MAX] = extreme,         [IR_FLAGS_READ] = flags_read,
		[IR_FLAGS_WRITE] = flags_write,   [IR_ROUNDING_READ] = rounding_read};

	if (e->ir->op >= IR_FLOAT_ADD && e->ir->op <= IR_FLOAT_SQRT)
		arithmetic(e, ops[e->ir->op - IR_FLOAT_ADD]);
	else
		table[e->ir->op](e);
}
