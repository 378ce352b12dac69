#include <assert.h>

#include "engine/translate/x64.h"
#include "engine/translate/x64_emit.h"

/* A scalar instruction, told single or double by its prefix. */
static struct x64_op scalar(unsigned int size, uint8_t byte)
{
	assert(size == 4 || size == 8);
	return x64_opcode(size == 4 ? 0xf3 : 0xf2, X64_MAP_0F, byte);
}

/* An instruction on whole registers, told single or double by the prefix 66 or none. */
static struct x64_op packed(unsigned int size, uint8_t byte)
{
	assert(size == 4 || size == 8);
	return x64_opcode(size == 4 ? 0 : 0x66, X64_MAP_0F, byte);
}

static struct x64_op wide(struct x64_op op, unsigned int isize)
{
	assert(isize == 4 || isize == 8);
	return x64_wide_if(op, isize == 8);
}

void x64_movq_xr(struct x64 *a, enum x64_xmm dst, enum x64_reg src)
{
	x64_emit_rr(a, wide(packed(8, 0x6e), 8), dst, src);
}

void x64_movq_rx(struct x64 *a, enum x64_reg dst, enum x64_xmm src)
{
	x64_emit_rr(a, wide(packed(8, 0x7e), 8), src, dst);
}

void x64_movd_xr(struct x64 *a, enum x64_xmm dst, enum x64_reg src)
{
	x64_emit_rr(a, packed(8, 0x6e), dst, src);
}

void x64_movd_rx(struct x64 *a, enum x64_reg dst, enum x64_xmm src)
{
	x64_emit_rr(a, packed(8, 0x7e), src, dst);
}

void x64_fload(struct x64 *a, unsigned int size, enum x64_xmm dst, struct x64_mem mem)
{
	x64_emit_rm(a, scalar(size, 0x10), dst, mem);
}

void x64_fstore(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_xmm src)
{
	x64_emit_rm(a, scalar(size, 0x11), src, mem);
}

void x64_fmov_rr(struct x64 *a, enum x64_xmm dst, enum x64_xmm src)
{
	x64_emit_rr(a, packed(4, 0x28), dst, src);
}

static const uint8_t arithmetic[] = {
	[X64_FADD] = 0x58,  [X64_FSUB] = 0x5c, [X64_FMUL] = 0x59, [X64_FDIV] = 0x5e,
	[X64_FSQRT] = 0x51, [X64_FMIN] = 0x5d, [X64_FMAX] = 0x5f,
};

void x64_farith(struct x64 *a, enum x64_farith op, unsigned int size, enum x64_xmm dst, enum x64_xmm src)
{
	x64_emit_rr(a, scalar(size, arithmetic[op]), dst, src);
}

void x64_farith_m(struct x64 *a, enum x64_farith op, unsigned int size, enum x64_xmm dst, struct x64_mem mem)
{
	x64_emit_rm(a, scalar(size, arithmetic[op]), dst, mem);
}

void x64_farith3(struct x64 *as, enum x64_farith op, unsigned int size, enum x64_xmm dst, enum x64_xmm a,
		 enum x64_xmm b)
{
	assert(op != X64_FSQRT);
	x64_emit_vex(as, scalar(size, arithmetic[op]), dst, a, b);
}

void x64_ucomi(struct x64 *a, unsigned int size, enum x64_xmm x, enum x64_xmm y)
{
	x64_emit_rr(a, packed(size, 0x2e), x, y);
}

void x64_comi(struct x64 *a, unsigned int size, enum x64_xmm x, enum x64_xmm y)
{
	x64_emit_rr(a, packed(size, 0x2f), x, y);
}

void x64_cvtsi2f(struct x64 *a, unsigned int isize, unsigned int fsize, enum x64_xmm dst, enum x64_reg src)
{
	x64_emit_rr(a, wide(scalar(fsize, 0x2a), isize), dst, src);
}

void x64_cvtf2si(struct x64 *a, unsigned int fsize, unsigned int isize, enum x64_reg dst, enum x64_xmm src)
{
	x64_emit_rr(a, wide(scalar(fsize, 0x2d), isize), dst, src);
}

void x64_cvttf2si(struct x64 *a, unsigned int fsize, unsigned int isize, enum x64_reg dst, enum x64_xmm src)
{
	x64_emit_rr(a, wide(scalar(fsize, 0x2c), isize), dst, src);
}

void x64_cvtsd2ss(struct x64 *a, enum x64_xmm dst, enum x64_xmm src)
{
	x64_emit_rr(a, scalar(8, 0x5a), dst, src);
}

void x64_cvtss2sd(struct x64 *a, enum x64_xmm dst, enum x64_xmm src)
{
	x64_emit_rr(a, scalar(4, 0x5a), dst, src);
}

void x64_cvtph2ps(struct x64 *a, enum x64_xmm dst, enum x64_xmm src)
{
	x64_emit_vex(a, x64_opcode(0x66, X64_MAP_0F38, 0x13), dst, 0, src);
}

void x64_cvtps2ph(struct x64 *a, enum x64_xmm dst, enum x64_xmm src, enum x64_round mode)
{
	struct x64_op op = x64_immediate(x64_opcode(0x66, X64_MAP_0F3A, 0x1d), 1, (int32_t)mode);

	assert(mode <= X64_ROUND_MXCSR);
	x64_emit_vex(a, op, src, 0, dst);
}

void x64_fma(struct x64 *a, enum x64_fma op, enum x64_fma_order order, unsigned int size, enum x64_xmm dst,
	     enum x64_xmm b, enum x64_xmm c)
{
	unsigned int byte = 0x99 + ((unsigned int)order << 4) + ((unsigned int)op << 1);

	assert(size == 4 || size == 8);
	x64_emit_vex(a, x64_wide_if(x64_opcode(0x66, X64_MAP_0F38, byte), size == 8), dst, b, c);
}

void x64_flogic(struct x64 *a, enum x64_flogic op, enum x64_xmm dst, enum x64_xmm src)
{
	x64_emit_rr(a, packed(4, (uint8_t)(0x54 + op)), dst, src);
}

void x64_flogic_m(struct x64 *a, enum x64_flogic op, enum x64_xmm dst, struct x64_mem mem)
{
	x64_emit_rm(a, packed(4, (uint8_t)(0x54 + op)), dst, mem);
}

void x64_pcmpeq(struct x64 *a, unsigned int size, enum x64_xmm dst, enum x64_xmm src)
{
	static const struct x64_op ops[] = {
		[1] = {.bits = 0x66 << X64_PREFIX_SHIFT | X64_MAP_0F | 0x74},
		[2] = {.bits = 0x66 << X64_PREFIX_SHIFT | X64_MAP_0F | 0x75},
		[4] = {.bits = 0x66 << X64_PREFIX_SHIFT | X64_MAP_0F | 0x76},
		[8] = {.bits = 0x66 << X64_PREFIX_SHIFT | X64_MAP_0F38 | 0x29},
	};

	assert(x64_is_size(size));
	x64_emit_rr(a, ops[size], dst, src);
}

/* An instruction of the map 0f3a with a control byte. */
static void controlled(struct x64 *a, uint8_t byte, enum x64_xmm dst, enum x64_xmm src, unsigned int control)
{
	struct x64_op op = x64_immediate(x64_opcode(0x66, X64_MAP_0F3A, byte), 1, (int32_t)control);

	x64_emit_rr(a, op, dst, src);
}

void x64_roundsd(struct x64 *a, enum x64_xmm dst, enum x64_xmm src, unsigned int mode)
{
	controlled(a, 0x0b, dst, src, mode);
}

void x64_roundss(struct x64 *a, enum x64_xmm dst, enum x64_xmm src, unsigned int mode)
{
	controlled(a, 0x0a, dst, src, mode);
}

void x64_pclmulqdq(struct x64 *a, enum x64_xmm dst, enum x64_xmm src, unsigned int halves)
{
	controlled(a, 0x44, dst, src, halves);
}

void x64_vload(struct x64 *a, enum x64_xmm dst, struct x64_mem mem)
{
	x64_emit_rm(a, packed(4, 0x10), dst, mem);
}

void x64_vstore(struct x64 *a, struct x64_mem mem, enum x64_xmm src)
{
	x64_emit_rm(a, packed(4, 0x11), src, mem);
}

void x64_vload_high(struct x64 *a, enum x64_xmm dst, struct x64_mem mem)
{
	x64_emit_rm(a, packed(4, 0x16), dst, mem);
}

void x64_vstore_high(struct x64 *a, struct x64_mem mem, enum x64_xmm src)
{
	x64_emit_rm(a, packed(4, 0x17), src, mem);
}

void x64_vector(struct x64 *a, enum x64_vector op, unsigned int size, enum x64_xmm dst, enum x64_xmm x, enum x64_xmm y)
{
	static const uint8_t words[] = {
		[X64_VADD] = 0xfe,  [X64_VSUB] = 0xfa,  [X64_VAND] = 0xdb, [X64_VOR] = 0xeb,  [X64_VXOR] = 0xef,
		[X64_VSHL] = 0xf2,  [X64_VSHR] = 0xd2,  [X64_VSAR] = 0xe2, [X64_VMUL] = 0x40, [X64_VFADD] = 0x58,
		[X64_VFSUB] = 0x5c, [X64_VFMUL] = 0x59, [X64_VFDIV] = 0x5e,
	};
	static const uint8_t double_words[] = {
		[X64_VADD] = 0xd4,  [X64_VSUB] = 0xfb,  [X64_VAND] = 0xdb, [X64_VOR] = 0xeb,   [X64_VXOR] = 0xef,
		[X64_VSHL] = 0xf3,  [X64_VSHR] = 0xd3,  [X64_VSAR] = 0,    [X64_VFADD] = 0x58, [X64_VFSUB] = 0x5c,
		[X64_VFMUL] = 0x59, [X64_VFDIV] = 0x5e,
	};
	uint8_t byte = size == 4 ? words[op] : double_words[op];

	assert(byte);
	if (op == X64_VMUL)
		x64_emit_vex(a, x64_opcode(0x66, X64_MAP_0F38, byte), dst, x, y);
	else
		x64_emit_vex(a, packed(op >= X64_VFADD ? size : 8, byte), dst, x, y);
}

void x64_vsqrt(struct x64 *a, unsigned int size, enum x64_xmm dst, enum x64_xmm src)
{
	x64_emit_vex(a, packed(size, 0x51), dst, 0, src);
}

/* The opcode's digit stands where others name a register, and that is named where others have a second source. */
void x64_vshift_ri(struct x64 *a, enum x64_shift op, unsigned int size, enum x64_xmm dst, enum x64_xmm src,
		   unsigned int count)
{
	static const uint8_t digits[] = {[X64_SHL] = 6, [X64_SHR] = 2, [X64_SAR] = 4};
	struct x64_op shift = x64_immediate(x64_opcode(0x66, X64_MAP_0F, size == 4 ? 0x72 : 0x73), 1, (int32_t)count);

	assert(count < size * 8 && op >= X64_SHL && !(op == X64_SAR && size == 8));
	x64_emit_vex(a, shift, digits[op], dst, src);
}

void x64_vspread(struct x64 *a, unsigned int size, enum x64_xmm dst, enum x64_xmm src)
{
	x64_emit_vex(a, x64_opcode(0x66, X64_MAP_0F38, size == 4 ? 0x58 : 0x59), dst, 0, src);
}

void x64_vshuffle(struct x64 *a, enum x64_xmm dst, enum x64_xmm x, enum x64_xmm y, unsigned int halves)
{
	struct x64_op op = x64_immediate(x64_opcode(0x66, X64_MAP_0F, 0xc6), 1, (int32_t)halves);

	assert(halves < 4);
	x64_emit_vex(a, op, dst, x, y);
}

void x64_vunordered(struct x64 *a, unsigned int size, enum x64_xmm dst, enum x64_xmm x, enum x64_xmm y)
{
	x64_emit_vex(a, x64_immediate(packed(size, 0xc2), 1, 3), dst, x, y);
}

void x64_vtest(struct x64 *a, unsigned int size, enum x64_xmm x, enum x64_xmm y)
{
	x64_emit_vex(a, x64_opcode(0x66, X64_MAP_0F38, size == 4 ? 0x0e : 0x0f), x, 0, y);
}

void x64_vfma(struct x64 *a, enum x64_fma op, enum x64_fma_order order, unsigned int size, enum x64_xmm dst,
	      enum x64_xmm b, enum x64_xmm c)
{
	unsigned int byte = 0x98 + ((unsigned int)order << 4) + ((unsigned int)op << 1);

	x64_emit_vex(a, x64_wide_if(x64_opcode(0x66, X64_MAP_0F38, byte), size == 8), dst, b, c);
}

void x64_ldmxcsr(struct x64 *a, struct x64_mem mem)
{
	x64_emit_rm(a, packed(4, 0xae), 2, mem);
}

void x64_stmxcsr(struct x64 *a, struct x64_mem mem)
{
	x64_emit_rm(a, packed(4, 0xae), 3, mem);
}
