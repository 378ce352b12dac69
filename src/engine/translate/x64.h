/*
 * An assembler of x86-64 instructions: each function appends one instruction to a buffer of the caller.
 *
 * Names and encodings follow the Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2
 * ("SDM 2"). Operands come in Intel's order, destination first. A `size` is in bytes: 1, 2, 4 or 8, and 4 or
 * 8 for floats; an operation of size 4 on a register clears its upper half, one of 1 or 2 leaves the rest.
 * Every size-1 register is the low byte (sil, never dh). The shortest encoding is chosen. Suffixes: _rr
 * register and register, _ri immediate, _rm from memory, _mr and _mi to memory.
 *
 * Room: an emission that does not fit sets `overflow` and writes nothing; so do all later ones. The caller
 * looks once at the end. Up to 4 bytes behind `at`, within the room, may change. Operands outside an
 * instruction's range are programmer errors and assert.
 *
 * Addresses: code is written at one address and runs at another. Pointers named `target` are addresses as
 * running code sees them; pointers named `place` and the field `at` are addresses as the writer sees them.
 *
 * Instructions of extensions (BMI1, BMI2, LZCNT, POPCNT, PCLMULQDQ, SSE4.1, F16C, FMA) are named so below;
 * whether the host has them is for the caller to know.
 *
 * Thread: any, one per struct x64.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_X64_H
#define DOPPEL_ENGINE_TRANSLATE_X64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct x64 {
	uint8_t *at;   /* the next byte goes here */
	uint8_t *end;  /* the first byte that is not ours */
	ptrdiff_t run; /* what to add to an address of the writer to get the one the code runs at */
	bool overflow;
};

enum x64_reg {
	X64_RAX,
	X64_RCX,
	X64_RDX,
	X64_RBX,
	X64_RSP,
	X64_RBP,
	X64_RSI,
	X64_RDI,
	X64_R8,
	X64_R9,
	X64_R10,
	X64_R11,
	X64_R12,
	X64_R13,
	X64_R14,
	X64_R15,
	X64_NONE, /* no base or no index, in struct x64_mem only */
};

enum x64_xmm {
	X64_XMM0,
	X64_XMM1,
	X64_XMM2,
	X64_XMM3,
	X64_XMM4,
	X64_XMM5,
	X64_XMM6,
	X64_XMM7,
	X64_XMM8,
	X64_XMM9,
	X64_XMM10,
	X64_XMM11,
	X64_XMM12,
	X64_XMM13,
	X64_XMM14,
	X64_XMM15,
};

enum x64_alu { X64_ADD, X64_OR, X64_ADC, X64_SBB, X64_AND, X64_SUB, X64_XOR, X64_CMP };
enum x64_shift { X64_ROL, X64_ROR, X64_SHL, X64_SHR, X64_SAR };
enum x64_bit { X64_BT, X64_BTS, X64_BTR, X64_BTC };

/* Conditions in the hardware's order: a condition and its negation differ in bit 0. */
enum x64_cc {
	X64_O,
	X64_NO,
	X64_B,
	X64_AE,
	X64_E,
	X64_NE,
	X64_BE,
	X64_A,
	X64_S,
	X64_NS,
	X64_P,
	X64_NP,
	X64_L,
	X64_GE,
	X64_LE,
	X64_G,
	X64_C = X64_B,
	X64_NC = X64_AE,
	X64_Z = X64_E,
	X64_NZ = X64_NE,
};

enum x64_farith { X64_FADD, X64_FSUB, X64_FMUL, X64_FDIV, X64_FSQRT, X64_FMIN, X64_FMAX };
enum x64_flogic { X64_FAND, X64_FANDN, X64_FOR, X64_FXOR };
enum x64_fma { X64_FMADD, X64_FMSUB, X64_FNMADD, X64_FNMSUB };

/* On the elements of a vector. X64_VSAR and X64_VMUL: of words alone. */
enum x64_vector {
	X64_VADD, X64_VSUB, X64_VAND, X64_VOR, X64_VXOR, X64_VSHL, X64_VSHR, X64_VSAR, X64_VMUL,
	X64_VFADD, X64_VFSUB, X64_VFMUL, X64_VFDIV
};

/* Which operands multiply: of (dst, b, c), 132 is dst*c+b, 213 is b*dst+c, 231 is b*c+dst. */
enum x64_fma_order { X64_FMA132, X64_FMA213, X64_FMA231 };

/* The immediate of roundss and roundsd, SDM 2, table 4-18; X64_ROUND_QUIET may be added to any of them. */
enum x64_round {
	X64_ROUND_NEAREST,
	X64_ROUND_DOWN,
	X64_ROUND_UP,
	X64_ROUND_ZERO,
	X64_ROUND_MXCSR,
	X64_ROUND_QUIET = 8, /* raises no inexact */
};

/* A place in memory: base + index * scale + disp. The index is not rsp. It fits one register of the host. */
struct x64_mem {
	enum x64_reg base : 8;
	enum x64_reg index : 8;
	uint8_t scale; /* 1, 2, 4 or 8 */
	int32_t disp;
};

static inline struct x64_mem x64_at(enum x64_reg base, int32_t disp)
{
	return (struct x64_mem){base, X64_NONE, 1, disp};
}

static inline struct x64_mem x64_at_index(enum x64_reg base, enum x64_reg index, uint8_t scale, int32_t disp)
{
	return (struct x64_mem){base, index, scale, disp};
}

/* An assembler over `room` bytes that are written at `writable` and will run at `executable`; the two are equal
 * modulo 64. */
struct x64 x64_begin(uint8_t *writable, size_t room, const void *executable);

/* The address the next instruction will run at: the target of a backward jump. */
const void *x64_here(const struct x64 *a);

/* ---- Integers: arithmetic and logic ---- */

/* `op` dst, src; flags as SDM 2 has them for the operation; cmp writes flags only. */
void x64_alu_rr(struct x64 *a, enum x64_alu op, unsigned int size, enum x64_reg dst, enum x64_reg src);
/* `op` dst, imm: sign-extended to the size; for sizes 1 and 2 its low bits. */
void x64_alu_ri(struct x64 *a, enum x64_alu op, unsigned int size, enum x64_reg dst, int32_t imm);
/* `op` dst, [mem]. */
void x64_alu_rm(struct x64 *a, enum x64_alu op, unsigned int size, enum x64_reg dst, struct x64_mem mem);
/* `op` [mem], src. */
void x64_alu_mr(struct x64 *a, enum x64_alu op, unsigned int size, struct x64_mem mem, enum x64_reg src);
/* `op` [mem], imm: as x64_alu_ri. */
void x64_alu_mi(struct x64 *a, enum x64_alu op, unsigned int size, struct x64_mem mem, int32_t imm);
/* Flags of x & y. */
void x64_test_rr(struct x64 *a, unsigned int size, enum x64_reg x, enum x64_reg y);
/* Flags of x & imm; a positive imm may be tested at a smaller size that gives the same flags. */
void x64_test_ri(struct x64 *a, unsigned int size, enum x64_reg x, int32_t imm);
/* Flags of [mem] & imm. */
void x64_test_mi(struct x64 *a, unsigned int size, struct x64_mem mem, int32_t imm);
/* reg = -reg. */
void x64_neg(struct x64 *a, unsigned int size, enum x64_reg reg);
/* reg = ~reg; no flags. */
void x64_not(struct x64 *a, unsigned int size, enum x64_reg reg);
/* dst *= src; sizes 2, 4, 8. */
void x64_imul_rr(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src);
/* dst = src * imm; sizes 2, 4, 8. */
void x64_imul_rri(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src, int32_t imm);
/* rdx:rax = rax * reg, unsigned. */
void x64_mul(struct x64 *a, unsigned int size, enum x64_reg reg);
/* rdx:rax = rax * reg, signed. */
void x64_imul1(struct x64 *a, unsigned int size, enum x64_reg reg);
/* rax, rdx = quotient and remainder of rdx:rax / reg, unsigned; traps on zero and on overflow. */
void x64_div(struct x64 *a, unsigned int size, enum x64_reg reg);
/* As x64_div, signed. */
void x64_idiv(struct x64 *a, unsigned int size, enum x64_reg reg);
/* rdx:rax = rax, sign-extended. */
void x64_cqo(struct x64 *a);
/* edx:eax = eax, sign-extended. */
void x64_cdq(struct x64 *a);

/* ---- Integers: moves ---- */

/* dst = src. */
void x64_mov_rr(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src);
/* dst = imm, all 64 bits; flags are kept. */
void x64_mov_ri(struct x64 *a, enum x64_reg dst, uint64_t imm);
/* dst = 0 by xor: shorter, and changes the flags. */
void x64_zero(struct x64 *a, enum x64_reg dst);
/* dst = [mem]; sizes 1 and 2 keep the rest of dst. */
void x64_load(struct x64 *a, unsigned int size, enum x64_reg dst, struct x64_mem mem);
/* dst = [mem] sign-extended to 64 bits; size 8 loads as it is. */
void x64_load_sx(struct x64 *a, unsigned int size, enum x64_reg dst, struct x64_mem mem);
/* dst = [mem] zero-extended to 64 bits; size 8 loads as it is. */
void x64_load_zx(struct x64 *a, unsigned int size, enum x64_reg dst, struct x64_mem mem);
/* [mem] = src. */
void x64_store(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg src);
/* [mem] = imm: sign-extended to the size, or its low bits. */
void x64_store_i(struct x64 *a, unsigned int size, struct x64_mem mem, int32_t imm);
/* dst = the low `size` bytes of src, sign-extended to 64 bits. */
void x64_movsx_rr(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src);
/* dst = the low `size` bytes of src, zero-extended to 64 bits. */
void x64_movzx_rr(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src);
/* dst = the address of mem; sizes 2, 4, 8. */
void x64_lea(struct x64 *a, unsigned int size, enum x64_reg dst, struct x64_mem mem);
/* dst = target, relative to rip where it reaches, else as x64_mov_ri. */
void x64_lea_rip(struct x64 *a, enum x64_reg dst, const void *target);
/* if (cc) dst = src; sizes 2, 4, 8; size 4 clears the upper half either way. */
void x64_cmov(struct x64 *a, enum x64_cc cc, unsigned int size, enum x64_reg dst, enum x64_reg src);
/* if (cc) dst = [mem]; [mem] is read either way. */
void x64_cmov_rm(struct x64 *a, enum x64_cc cc, unsigned int size, enum x64_reg dst, struct x64_mem mem);
/* The low byte of reg = cc; the rest is kept. */
void x64_setcc(struct x64 *a, enum x64_cc cc, enum x64_reg reg);
/* The condition that holds when `cc` does not. */
static inline enum x64_cc x64_cc_negate(enum x64_cc cc)
{
	return (enum x64_cc)(cc ^ 1);
}
/* Push and pop, 64 bits; the immediate is sign-extended. */
void x64_push_r(struct x64 *a, enum x64_reg reg);
void x64_pop_r(struct x64 *a, enum x64_reg reg);
void x64_push_i(struct x64 *a, int32_t imm);
void x64_push_m(struct x64 *a, struct x64_mem mem);

/* ---- Integers: shifts and bits ---- */

/* reg = reg `op` count; count is below the width, and a count of 0 keeps the flags. */
void x64_shift_ri(struct x64 *a, enum x64_shift op, unsigned int size, enum x64_reg reg, unsigned int count);
/* reg = reg `op` cl, modulo 64 for size 8 and 32 for the others. */
void x64_shift_rcl(struct x64 *a, enum x64_shift op, unsigned int size, enum x64_reg reg);
/* dst = src `op` count, no flags; op is X64_SHL, X64_SHR or X64_SAR; sizes 4, 8. BMI2. */
void x64_shiftx(struct x64 *a, enum x64_shift op, unsigned int size, enum x64_reg dst, enum x64_reg src,
		enum x64_reg count);
/* dst = src rotated right by count, no flags; sizes 4, 8. BMI2. */
void x64_rorx(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src, unsigned int count);
/* reg with its bytes reversed; sizes 4, 8. */
void x64_bswap(struct x64 *a, unsigned int size, enum x64_reg reg);
/* dst = leading zeros of src, the width for 0; sizes 2, 4, 8. LZCNT. */
void x64_lzcnt(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src);
/* dst = trailing zeros of src, the width for 0; sizes 2, 4, 8. BMI1. */
void x64_tzcnt(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src);
/* dst = number of ones in src; sizes 2, 4, 8. POPCNT. */
void x64_popcnt(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src);
/* dst = ~inverted & src; sizes 4, 8. BMI1. */
void x64_andn(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg inverted, enum x64_reg src);
/* CF = the bit of reg; then it is kept, set, reset or complemented; sizes 2, 4, 8. */
void x64_bit_ri(struct x64 *a, enum x64_bit op, unsigned int size, enum x64_reg reg, unsigned int bit);
/* As x64_bit_ri with the bit's number in a register, modulo the width. */
void x64_bit_rr(struct x64 *a, enum x64_bit op, unsigned int size, enum x64_reg reg, enum x64_reg bit);

/* ---- Atomics ---- */

/* [mem] and reg change places, atomically. */
void x64_xchg_mr(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg reg);
/* old = [mem]; [mem] += reg; reg = old. Without the lock another thread may come in between. */
void x64_lock_xadd(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg reg);
void x64_xadd(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg reg);
/* if ([mem] == rax) ZF = 1, [mem] = src; else ZF = 0, rax = [mem]. Likewise. */
void x64_lock_cmpxchg(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg src);
void x64_cmpxchg(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg src);
/* [mem] = [mem] `op` src, atomically; not X64_CMP. */
void x64_lock_alu_mr(struct x64 *a, enum x64_alu op, unsigned int size, struct x64_mem mem, enum x64_reg src);
void x64_mfence(struct x64 *a);

/* ---- Control ---- */

/* Jumps and calls to a known address; where 32 bits do not reach, an indirect form of the same effect. */
void x64_jmp_rel32(struct x64 *a, const void *target);
void x64_jcc_rel32(struct x64 *a, enum x64_cc cc, const void *target);
void x64_call_rel32(struct x64 *a, const void *target);
/* Jumps and calls to an address in a register or in memory. */
void x64_jmp_r(struct x64 *a, enum x64_reg reg);
void x64_jmp_m(struct x64 *a, struct x64_mem mem);
void x64_call_r(struct x64 *a, enum x64_reg reg);
void x64_call_m(struct x64 *a, struct x64_mem mem);
void x64_ret(struct x64 *a);
/* A jump forward: to where x64_patch_here is called with the place that is returned. */
uint8_t *x64_jmp_forward(struct x64 *a);
uint8_t *x64_jcc_forward(struct x64 *a, enum x64_cc cc);
/* Lets the forward jump at `place` land at the next instruction; nothing after an overflow. */
void x64_patch_here(struct x64 *a, uint8_t *place);
/* As those three, for a jump over at most 127 bytes: asserts on more. */
uint8_t *x64_jmp_forward8(struct x64 *a);
uint8_t *x64_jcc_forward8(struct x64 *a, enum x64_cc cc);
void x64_patch_here8(struct x64 *a, uint8_t *place);
/* A jump to the next instruction that x64_patch may redirect at any time, also while other threads run it. */
uint8_t *x64_jmp_patchable(struct x64 *a);
uint8_t *x64_jcc_patchable(struct x64 *a, enum x64_cc cc);
/* Redirects a patchable jump or call with one atomic store. `place` and `target` are addresses of one view,
 * the writer's; they lie within 2 GiB of each other. */
void x64_patch(uint8_t *place, const uint8_t *target);
/* Where a patchable jump leads now, as an address of the view that `place` is of. */
const uint8_t *x64_patched(const uint8_t *place);
/* A call of the next instruction that x64_patch may redirect. */
uint8_t *x64_call_patchable(struct x64 *a);
void x64_int3(struct x64 *a);
/* `count` bytes that do nothing, in as few instructions as may be. */
void x64_nop(struct x64 *a, size_t count);
/* Nops up to a multiple of `alignment`, a power of two, of the address the code runs at. */
void x64_align(struct x64 *a, size_t alignment);

/* ---- Floats and vectors ---- */

/* The 64 or 32 low bits from a general register to a vector register (the rest becomes 0) and back. */
void x64_movq_xr(struct x64 *a, enum x64_xmm dst, enum x64_reg src);
void x64_movq_rx(struct x64 *a, enum x64_reg dst, enum x64_xmm src);
void x64_movd_xr(struct x64 *a, enum x64_xmm dst, enum x64_reg src);
void x64_movd_rx(struct x64 *a, enum x64_reg dst, enum x64_xmm src);
/* dst = the float at [mem]; the rest of dst becomes 0. */
void x64_fload(struct x64 *a, unsigned int size, enum x64_xmm dst, struct x64_mem mem);
/* [mem] = the float in src. */
void x64_fstore(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_xmm src);
/* dst = src, all 128 bits. */
void x64_fmov_rr(struct x64 *a, enum x64_xmm dst, enum x64_xmm src);
/* dst = dst `op` src, scalar; for X64_FSQRT dst = sqrt(src). min and max give src for NaN and equal zeros. */
void x64_farith(struct x64 *a, enum x64_farith op, unsigned int size, enum x64_xmm dst, enum x64_xmm src);
/* dst = a `op` b, scalar, but for X64_FSQRT; bits of dst above the float are a's. AVX. */
void x64_farith3(struct x64 *as, enum x64_farith op, unsigned int size, enum x64_xmm dst, enum x64_xmm a,
		 enum x64_xmm b);
void x64_farith_m(struct x64 *a, enum x64_farith op, unsigned int size, enum x64_xmm dst, struct x64_mem mem);
/* ZF, PF, CF of comparing x with y; ucomi raises invalid for a signaling NaN, comi for every NaN. */
void x64_ucomi(struct x64 *a, unsigned int size, enum x64_xmm x, enum x64_xmm y);
void x64_comi(struct x64 *a, unsigned int size, enum x64_xmm x, enum x64_xmm y);
/* dst = (float of fsize) src, a signed integer of isize (4 or 8); the rest of dst is kept. */
void x64_cvtsi2f(struct x64 *a, unsigned int isize, unsigned int fsize, enum x64_xmm dst, enum x64_reg src);
/* dst = (signed integer of isize, 4 or 8) src, rounded as MXCSR says; the least integer where it does not fit. */
void x64_cvtf2si(struct x64 *a, unsigned int fsize, unsigned int isize, enum x64_reg dst, enum x64_xmm src);
/* As x64_cvtf2si, rounded toward zero. */
void x64_cvttf2si(struct x64 *a, unsigned int fsize, unsigned int isize, enum x64_reg dst, enum x64_xmm src);
/* Double to single and single to double; the rest of dst is kept. */
void x64_cvtsd2ss(struct x64 *a, enum x64_xmm dst, enum x64_xmm src);
void x64_cvtss2sd(struct x64 *a, enum x64_xmm dst, enum x64_xmm src);
/* Four halves to four singles, and back, rounded by X64_ROUND_NEAREST to X64_ROUND_MXCSR. F16C. */
void x64_cvtph2ps(struct x64 *a, enum x64_xmm dst, enum x64_xmm src);
void x64_cvtps2ph(struct x64 *a, enum x64_xmm dst, enum x64_xmm src, enum x64_round mode);
/* dst = fused multiply-add of (dst, b, c) in the order given: MSUB subtracts the addend, NMADD and NMSUB negate
 * the product first; bits of dst above the float are kept up to 127 and cleared above. FMA. */
void x64_fma(struct x64 *a, enum x64_fma op, enum x64_fma_order order, unsigned int size, enum x64_xmm dst,
	     enum x64_xmm b, enum x64_xmm c);
/* dst = dst `op` src, all 128 bits (X64_FANDN: ~dst & src); memory is aligned to 16. */
void x64_flogic(struct x64 *a, enum x64_flogic op, enum x64_xmm dst, enum x64_xmm src);
void x64_flogic_m(struct x64 *a, enum x64_flogic op, enum x64_xmm dst, struct x64_mem mem);
/* Each element of dst = all ones where equal to src's, else 0; elements of 1, 2, 4 bytes, of 8 with SSE4.1. */
void x64_pcmpeq(struct x64 *a, unsigned int size, enum x64_xmm dst, enum x64_xmm src);
/* dst = src as an integral float; mode is an enum x64_round, plus X64_ROUND_QUIET at will. SSE4.1. */
void x64_roundsd(struct x64 *a, enum x64_xmm dst, enum x64_xmm src, unsigned int mode);
void x64_roundss(struct x64 *a, enum x64_xmm dst, enum x64_xmm src, unsigned int mode);
/* Carry-less product of one half of each; bit 0 of halves picks dst's, bit 4 src's. PCLMULQDQ. */
void x64_pclmulqdq(struct x64 *a, enum x64_xmm dst, enum x64_xmm src, unsigned int halves);
/* dst = the 16 bytes at [mem], which need not be aligned, and back. */
void x64_vload(struct x64 *a, enum x64_xmm dst, struct x64_mem mem);
void x64_vstore(struct x64 *a, struct x64_mem mem, enum x64_xmm src);
/* The same of the upper half alone; the lower one is kept. */
void x64_vload_high(struct x64 *a, enum x64_xmm dst, struct x64_mem mem);
void x64_vstore_high(struct x64 *a, struct x64_mem mem, enum x64_xmm src);
/* dst = x `op` y in all elements, words (4) or double words (8); shifts are by the number in the lower half of y, which from
 * the element's bits on leaves nothing, or its sign. AVX. */
void x64_vector(struct x64 *a, enum x64_vector op, unsigned int size, enum x64_xmm dst, enum x64_xmm x, enum x64_xmm y);
/* dst = the square roots of src. AVX. */
void x64_vsqrt(struct x64 *a, unsigned int size, enum x64_xmm dst, enum x64_xmm src);
/* dst = src shifted by count, below the element's bits; op is X64_SHL, X64_SHR or, of words, X64_SAR. AVX. */
void x64_vshift_ri(struct x64 *a, enum x64_shift op, unsigned int size, enum x64_xmm dst, enum x64_xmm src,
		   unsigned int count);
/* All elements of dst = the lowest one of src. AVX2. */
void x64_vspread(struct x64 *a, unsigned int size, enum x64_xmm dst, enum x64_xmm src);
/* dst = a half of x, and above it one of y: bits 0 and 1 of `halves` pick the upper one. AVX. */
void x64_vshuffle(struct x64 *a, enum x64_xmm dst, enum x64_xmm x, enum x64_xmm y, unsigned int halves);
/* Each element of dst = all ones where the floats of x and y are unordered, else 0. AVX. */
void x64_vunordered(struct x64 *a, unsigned int size, enum x64_xmm dst, enum x64_xmm x, enum x64_xmm y);
/* ZF = no float of x has its sign where y's has it. AVX. */
void x64_vtest(struct x64 *a, unsigned int size, enum x64_xmm x, enum x64_xmm y);
/* As x64_fma on all elements. FMA. */
void x64_vfma(struct x64 *a, enum x64_fma op, enum x64_fma_order order, unsigned int size, enum x64_xmm dst,
	      enum x64_xmm b, enum x64_xmm c);
/* MXCSR from and to the 4 bytes at [mem]. */
void x64_ldmxcsr(struct x64 *a, struct x64_mem mem);
void x64_stmxcsr(struct x64 *a, struct x64_mem mem);

#endif
