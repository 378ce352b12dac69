#include <assert.h>

#include "engine/translate/x64.h"
#include "engine/translate/x64_emit.h"

/* The digits of the shift group, SDM 2, table A-6. */
static const uint8_t shift_digit[] = {
	[X64_ROL] = 0, [X64_ROR] = 1, [X64_SHL] = 4, [X64_SHR] = 5, [X64_SAR] = 7,
};

void x64_shift_ri(struct x64 *a, enum x64_shift op, unsigned int size, enum x64_reg reg, unsigned int count)
{
	struct x64_op by_imm = x64_immediate(x64_group(size, 0xc0, 0xc1), 1, (int32_t)count);

	assert(count < size * 8);
	x64_emit_rr(a, count == 1 ? x64_group(size, 0xd0, 0xd1) : by_imm, shift_digit[op], reg);
}

void x64_shift_rcl(struct x64 *a, enum x64_shift op, unsigned int size, enum x64_reg reg)
{
	x64_emit_rr(a, x64_group(size, 0xd2, 0xd3), shift_digit[op], reg);
}

void x64_shiftx(struct x64 *a, enum x64_shift op, unsigned int size, enum x64_reg dst, enum x64_reg src,
		enum x64_reg count)
{
	static const uint8_t prefix[] = {[X64_SHL] = 0x66, [X64_SHR] = 0xf2, [X64_SAR] = 0xf3};

	assert(op >= X64_SHL && (size == 4 || size == 8));
	x64_emit_vex(a, x64_wide_if(x64_opcode(prefix[op], X64_MAP_0F38, 0xf7), size == 8), dst, count, src);
}

void x64_rorx(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src, unsigned int count)
{
	struct x64_op op = x64_wide_if(x64_opcode(0xf2, X64_MAP_0F3A, 0xf0), size == 8);

	assert((size == 4 || size == 8) && count < size * 8);
	x64_emit_vex(a, x64_immediate(op, 1, (int32_t)count), dst, 0, src);
}

void x64_bswap(struct x64 *a, unsigned int size, enum x64_reg reg)
{
	assert(size == 4 || size == 8);
	x64_emit_o(a, x64_sized_0f(size, 0xc8), reg);
}

static void count_bits(struct x64 *a, uint8_t byte, unsigned int size, enum x64_reg dst, enum x64_reg src)
{
	x64_emit_rr(a, x64_with(x64_sized_0f(size, byte), 0xf3 << X64_PREFIX_SHIFT), dst, src);
}

void x64_lzcnt(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src)
{
	count_bits(a, 0xbd, size, dst, src);
}

void x64_tzcnt(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src)
{
	count_bits(a, 0xbc, size, dst, src);
}

void x64_popcnt(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src)
{
	count_bits(a, 0xb8, size, dst, src);
}

void x64_andn(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg inverted, enum x64_reg src)
{
	assert(size == 4 || size == 8);
	x64_emit_vex(a, x64_wide_if(x64_opcode(0, X64_MAP_0F38, 0xf2), size == 8), dst, inverted, src);
}

void x64_bit_ri(struct x64 *a, enum x64_bit op, unsigned int size, enum x64_reg reg, unsigned int bit)
{
	assert(bit < size * 8);
	x64_emit_rr(a, x64_immediate(x64_sized_0f(size, 0xba), 1, (int32_t)bit), 4 + (unsigned int)op, reg);
}

void x64_bit_rr(struct x64 *a, enum x64_bit op, unsigned int size, enum x64_reg reg, enum x64_reg bit)
{
	static const uint8_t byte[] = {[X64_BT] = 0xa3, [X64_BTS] = 0xab, [X64_BTR] = 0xb3, [X64_BTC] = 0xbb};

	x64_emit_rr(a, x64_sized_0f(size, byte[op]), bit, reg);
}

void x64_xchg_mr(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg reg)
{
	x64_emit_rm(a, x64_sized(size, 0x86, 0x87), reg, mem);
}

static struct x64_op exchange(unsigned int size, uint8_t byte_form, bool lock)
{
	return x64_with(x64_sized(size, byte_form, (uint8_t)(byte_form + 1)), X64_MAP_0F | (lock ? X64_LOCK : 0));
}

void x64_lock_xadd(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg reg)
{
	x64_emit_rm(a, exchange(size, 0xc0, true), reg, mem);
}

void x64_xadd(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg reg)
{
	x64_emit_rm(a, exchange(size, 0xc0, false), reg, mem);
}

void x64_lock_cmpxchg(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg src)
{
	x64_emit_rm(a, exchange(size, 0xb0, true), src, mem);
}

void x64_cmpxchg(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg src)
{
	x64_emit_rm(a, exchange(size, 0xb0, false), src, mem);
}

void x64_mfence(struct x64 *a)
{
	x64_emit_bytes(a, (const uint8_t[]){0x0f, 0xae, 0xf0}, 3);
}
