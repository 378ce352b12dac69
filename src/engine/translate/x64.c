#include "engine/translate/x64.h"

#include <assert.h>
#include <string.h>

#include "engine/translate/x64_emit.h"

struct x64 x64_begin(uint8_t *writable, size_t room, const void *executable)
{
	ptrdiff_t run = (ptrdiff_t)((uintptr_t)executable - (uintptr_t)writable);

	assert(run % 64 == 0);
	return (struct x64){.at = writable, .end = writable + room, .run = run};
}

const void *x64_here(const struct x64 *a)
{
	return (const void *)((uintptr_t)a->at + (uintptr_t)a->run);
}

static unsigned int immediate_size(unsigned int size)
{
	return size < 4 ? size : 4;
}

/* The part of `imm` that an operation of this size sees. */
static int32_t seen(unsigned int size, int32_t imm)
{
	return size == 1 ? (int8_t)imm : size == 2 ? (int16_t)imm : imm;
}

/* ---- Arithmetic and logic ---- */

static struct x64_op alu(enum x64_alu op, unsigned int size, unsigned int form)
{
	unsigned int first = (unsigned int)op << 3 | form;

	return x64_sized(size, (uint8_t)first, (uint8_t)(first | 1));
}

enum { ALU_TO_RM = 0, ALU_TO_REG = 2, ALU_RAX_IMM = 4 };

void x64_alu_rr(struct x64 *a, enum x64_alu op, unsigned int size, enum x64_reg dst, enum x64_reg src)
{
	x64_emit_rr(a, alu(op, size, ALU_TO_RM), src, dst);
}

static struct x64_op alu_immediate(unsigned int size, int32_t imm)
{
	bool is_short = x64_fits_i8(seen(size, imm));

	return x64_immediate(x64_group(size, 0x80, is_short ? 0x83 : 0x81), is_short ? 1 : immediate_size(size),
			      imm);
}

void x64_alu_ri(struct x64 *a, enum x64_alu op, unsigned int size, enum x64_reg dst, int32_t imm)
{
	bool is_short = size != 1 && x64_fits_i8(seen(size, imm));

	if (dst == X64_RAX && !is_short) {
		x64_emit_o(a, x64_immediate(alu(op, size, ALU_RAX_IMM), immediate_size(size), imm), 0);
	} else {
		x64_emit_rr(a, alu_immediate(size, imm), op, dst);
	}
}

void x64_alu_rm(struct x64 *a, enum x64_alu op, unsigned int size, enum x64_reg dst, struct x64_mem mem)
{
	x64_emit_rm(a, alu(op, size, ALU_TO_REG), dst, mem);
}

void x64_alu_mr(struct x64 *a, enum x64_alu op, unsigned int size, struct x64_mem mem, enum x64_reg src)
{
	x64_emit_rm(a, alu(op, size, ALU_TO_RM), src, mem);
}

void x64_alu_mi(struct x64 *a, enum x64_alu op, unsigned int size, struct x64_mem mem, int32_t imm)
{
	x64_emit_rm(a, alu_immediate(size, imm), op, mem);
}

void x64_lock_alu_mr(struct x64 *a, enum x64_alu op, unsigned int size, struct x64_mem mem, enum x64_reg src)
{
	struct x64_op locked = alu(op, size, ALU_TO_RM);

	assert(op != X64_CMP);
	x64_emit_rm(a, x64_with(locked, X64_LOCK), src, mem);
}

void x64_test_rr(struct x64 *a, unsigned int size, enum x64_reg x, enum x64_reg y)
{
	x64_emit_rr(a, x64_sized(size, 0x84, 0x85), y, x);
}

/* A mask whose sign bit is clear gives the same ZF, SF and PF at every size that holds it. */
static unsigned int test_size(unsigned int size, int32_t imm)
{
	if (imm >= 0 && imm <= INT8_MAX)
		return 1;
	return size == 8 && imm >= 0 ? 4 : size;
}

void x64_test_ri(struct x64 *a, unsigned int size, enum x64_reg x, int32_t imm)
{
	size = test_size(size, imm);
	if (x == X64_RAX)
		x64_emit_o(a, x64_immediate(x64_sized(size, 0xa8, 0xa9), immediate_size(size), imm), 0);
	else
		x64_emit_rr(a, x64_immediate(x64_group(size, 0xf6, 0xf7), immediate_size(size), imm), 0, x);
}

void x64_test_mi(struct x64 *a, unsigned int size, struct x64_mem mem, int32_t imm)
{
	x64_emit_rm(a, x64_immediate(x64_group(size, 0xf6, 0xf7), immediate_size(size), imm), 0, mem);
}

/* The group of opcodes f6 and f7, SDM 2, table A-6. */
enum { UNARY_NOT = 2, UNARY_NEG, UNARY_MUL, UNARY_IMUL, UNARY_DIV, UNARY_IDIV };

static void unary(struct x64 *a, unsigned int digit, unsigned int size, enum x64_reg reg)
{
	x64_emit_rr(a, x64_group(size, 0xf6, 0xf7), digit, reg);
}

void x64_neg(struct x64 *a, unsigned int size, enum x64_reg reg)
{
	unary(a, UNARY_NEG, size, reg);
}

void x64_not(struct x64 *a, unsigned int size, enum x64_reg reg)
{
	unary(a, UNARY_NOT, size, reg);
}

void x64_mul(struct x64 *a, unsigned int size, enum x64_reg reg)
{
	unary(a, UNARY_MUL, size, reg);
}

void x64_imul1(struct x64 *a, unsigned int size, enum x64_reg reg)
{
	unary(a, UNARY_IMUL, size, reg);
}

void x64_div(struct x64 *a, unsigned int size, enum x64_reg reg)
{
	unary(a, UNARY_DIV, size, reg);
}

void x64_idiv(struct x64 *a, unsigned int size, enum x64_reg reg)
{
	unary(a, UNARY_IDIV, size, reg);
}

void x64_imul_rr(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src)
{
	x64_emit_rr(a, x64_sized_0f(size, 0xaf), dst, src);
}

void x64_imul_rri(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src, int32_t imm)
{
	bool is_short = x64_fits_i8(seen(size, imm));

	assert(size != 1);
	x64_emit_rr(a,
		    x64_immediate(x64_sized(size, 0, is_short ? 0x6b : 0x69), is_short ? 1 : immediate_size(size),
				   imm),
		    dst, src);
}

void x64_cqo(struct x64 *a)
{
	x64_emit_bytes(a, (const uint8_t[]){0x48, 0x99}, 2);
}

void x64_cdq(struct x64 *a)
{
	x64_emit_bytes(a, (const uint8_t[]){0x99}, 1);
}

/* ---- Moves ---- */

void x64_mov_rr(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src)
{
	x64_emit_rr(a, x64_sized(size, 0x88, 0x89), src, dst);
}

static void movabs(struct x64 *a, enum x64_reg dst, uint64_t imm)
{
	uint8_t bytes[10] = {(uint8_t)(0x48 | dst >> 3), (uint8_t)(0xb8 | (dst & 7))};

	assert(dst < X64_NONE);
	memcpy(bytes + 2, &imm, 8);
	x64_emit_bytes(a, bytes, sizeof(bytes));
}

void x64_mov_ri(struct x64 *a, enum x64_reg dst, uint64_t imm)
{
	if (imm <= UINT32_MAX)
		x64_emit_o(a, x64_immediate(x64_sized(4, 0, 0xb8), 4, (int32_t)imm), dst);
	else if (x64_fits_i32((int64_t)imm))
		x64_emit_rr(a, x64_immediate(x64_group(8, 0, 0xc7), 4, (int32_t)imm), 0, dst);
	else
		movabs(a, dst, imm);
}

void x64_zero(struct x64 *a, enum x64_reg dst)
{
	x64_alu_rr(a, X64_XOR, 4, dst, dst);
}

void x64_load(struct x64 *a, unsigned int size, enum x64_reg dst, struct x64_mem mem)
{
	x64_emit_rm(a, x64_sized(size, 0x8a, 0x8b), dst, mem);
}

void x64_store(struct x64 *a, unsigned int size, struct x64_mem mem, enum x64_reg src)
{
	x64_emit_rm(a, x64_sized(size, 0x88, 0x89), src, mem);
}

void x64_store_i(struct x64 *a, unsigned int size, struct x64_mem mem, int32_t imm)
{
	x64_emit_rm(a, x64_immediate(x64_group(size, 0xc6, 0xc7), immediate_size(size), imm), 0, mem);
}

/* movsx to 64 bits, and a plain move of 64. */
static struct x64_op sign_extending(unsigned int size)
{
	static const struct x64_op ops[] = {
		[1] = {.bits = 0xbe | X64_MAP_0F | X64_WIDE},
		[2] = {.bits = 0xbf | X64_MAP_0F | X64_WIDE},
		[4] = {.bits = 0x63 | X64_WIDE},
		[8] = {.bits = 0x8b | X64_WIDE},
	};

	assert(x64_is_size(size));
	return ops[size];
}

/* Writing 32 bits of a register clears the rest, which spares the REX prefix. */
static struct x64_op zero_extending(unsigned int size)
{
	static const struct x64_op ops[] = {
		[1] = {.bits = 0xb6 | X64_MAP_0F | X64_BYTE_RM},
		[2] = {.bits = 0xb7 | X64_MAP_0F},
		[4] = {.bits = 0x8b},
		[8] = {.bits = 0x8b | X64_WIDE},
	};

	assert(x64_is_size(size));
	return ops[size];
}

void x64_load_sx(struct x64 *a, unsigned int size, enum x64_reg dst, struct x64_mem mem)
{
	x64_emit_rm(a, sign_extending(size), dst, mem);
}

void x64_load_zx(struct x64 *a, unsigned int size, enum x64_reg dst, struct x64_mem mem)
{
	x64_emit_rm(a, zero_extending(size), dst, mem);
}

void x64_movsx_rr(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src)
{
	x64_emit_rr(a, sign_extending(size), dst, src);
}

void x64_movzx_rr(struct x64 *a, unsigned int size, enum x64_reg dst, enum x64_reg src)
{
	x64_emit_rr(a, zero_extending(size), dst, src);
}

void x64_lea(struct x64 *a, unsigned int size, enum x64_reg dst, struct x64_mem mem)
{
	assert(size != 1);
	x64_emit_rm(a, x64_sized(size, 0, 0x8d), dst, mem);
}

void x64_lea_rip(struct x64 *a, enum x64_reg dst, const void *target)
{
	uint8_t bytes[7] = {(uint8_t)(0x48 | dst >> 3 << 2), 0x8d, (uint8_t)(0x05 | (dst & 7) << 3)};
	int64_t distance = (int64_t)((uintptr_t)target - (uintptr_t)x64_here(a) - sizeof(bytes));

	assert(dst < X64_NONE);
	if (!x64_fits_i32(distance)) {
		x64_mov_ri(a, dst, (uintptr_t)target);
		return;
	}
	memcpy(bytes + 3, &distance, 4);
	x64_emit_bytes(a, bytes, sizeof(bytes));
}

void x64_cmov(struct x64 *a, enum x64_cc cc, unsigned int size, enum x64_reg dst, enum x64_reg src)
{
	x64_emit_rr(a, x64_sized_0f(size, (uint8_t)(0x40 | cc)), dst, src);
}

void x64_cmov_rm(struct x64 *a, enum x64_cc cc, unsigned int size, enum x64_reg dst, struct x64_mem mem)
{
	x64_emit_rm(a, x64_sized_0f(size, (uint8_t)(0x40 | cc)), dst, mem);
}

void x64_setcc(struct x64 *a, enum x64_cc cc, enum x64_reg reg)
{
	x64_emit_rr(a, x64_with(x64_opcode(0, X64_MAP_0F, 0x90u | cc), X64_BYTE_RM), 0, reg);
}

void x64_push_r(struct x64 *a, enum x64_reg reg)
{
	x64_emit_o(a, x64_opcode(0, X64_MAP_ONE_BYTE, 0x50), reg);
}

void x64_pop_r(struct x64 *a, enum x64_reg reg)
{
	x64_emit_o(a, x64_opcode(0, X64_MAP_ONE_BYTE, 0x58), reg);
}

void x64_push_i(struct x64 *a, int32_t imm)
{
	bool is_short = x64_fits_i8(imm);

	x64_emit_o(a, x64_immediate(x64_opcode(0, X64_MAP_ONE_BYTE, is_short ? 0x6a : 0x68), is_short ? 1 : 4, imm), 0);
}

void x64_push_m(struct x64 *a, struct x64_mem mem)
{
	x64_emit_rm(a, x64_opcode(0, X64_MAP_ONE_BYTE, 0xff), 6, mem);
}
