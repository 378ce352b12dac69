/*
 * The encoder beneath the assembler: prefixes, opcode, ModRM, SIB, displacement and immediate of one
 * instruction, SDM 2, chapter 2. Only x64*.c include this.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_X64_EMIT_H
#define DOPPEL_ENGINE_TRANSLATE_X64_EMIT_H

#include <assert.h>

#include "base/types.h"
#include "engine/translate/x64.h"

/*
 * An instruction but for its operands. One word of flags, since millions of instructions are made in the boot of a guest:
 * bits 0 to 7 the opcode's last byte, 8 to 15 its mandatory prefix (0x66, 0xf3, 0xf2, or 0), above them what is named here.
 */
struct x64_op {
	uint32_t bits;
	int32_t imm;
};
_Static_assert(sizeof(struct x64_op) == 8 && sizeof(struct x64_mem) == 8, "both are passed in a register each");

#define X64_PREFIX_SHIFT 8
#define X64_MAP_SHIFT    16
#define X64_IMM_SHIFT    29 /* bytes of the immediate: 0, 1, 2 or 4 */

enum x64_map {
	X64_MAP_ONE_BYTE,
	X64_MAP_0F = 1 << X64_MAP_SHIFT,
	X64_MAP_0F38 = 2 << X64_MAP_SHIFT,
	X64_MAP_0F3A = 3 << X64_MAP_SHIFT,
	X64_MAP_MASK = 3 << X64_MAP_SHIFT,
};

enum x64_flag {
	X64_WIDE = 1 << 24,     /* REX.W: 64 bits */
	X64_HALF = 1 << 25,     /* operand size prefix: 16 bits */
	X64_LOCK = 1 << 26,
	X64_BYTE_REG = 1 << 27, /* ModRM.reg names the low byte of a general register */
	X64_BYTE_RM = 1 << 28,  /* ModRM.rm does */
};

static inline bool x64_is_size(unsigned int size)
{
	return size <= 8 && (0x116u >> size & 1);
}

/* Of a form that has no sizes, or one that does not need them. */
static inline struct x64_op x64_opcode(uint8_t prefix, enum x64_map map, unsigned int byte)
{
	return (struct x64_op){.bits = byte | (uint32_t)map | (uint32_t)prefix << X64_PREFIX_SHIFT};
}

static inline struct x64_op x64_with(struct x64_op op, uint32_t flags)
{
	op.bits |= flags;
	return op;
}

static inline struct x64_op x64_wide_if(struct x64_op op, bool wide)
{
	return x64_with(op, wide ? X64_WIDE : 0);
}

static inline struct x64_op x64_immediate(struct x64_op op, unsigned int size, int32_t imm)
{
	op.bits |= size << X64_IMM_SHIFT;
	op.imm = imm;
	return op;
}

/* The opcode of an integer instruction that has one form for bytes and one for the other sizes. */
static inline struct x64_op x64_sized(unsigned int size, uint8_t byte_form, uint8_t other_form)
{
	static const uint32_t by_size[] = {[1] = X64_BYTE_REG | X64_BYTE_RM, [2] = X64_HALF, [4] = 0, [8] = X64_WIDE};

	assert(x64_is_size(size));
	return (struct x64_op){.bits = by_size[size] | (size == 1 ? byte_form : other_form)};
}

/* As x64_sized for an instruction whose ModRM.reg is a digit, a further part of the opcode. */
static inline struct x64_op x64_group(unsigned int size, uint8_t byte_form, uint8_t other_form)
{
	struct x64_op op = x64_sized(size, byte_form, other_form);

	op.bits &= ~(uint32_t)X64_BYTE_REG;
	return op;
}

/* As x64_sized for an instruction of the map 0f without a byte form. */
static inline struct x64_op x64_sized_0f(unsigned int size, uint8_t byte)
{
	assert(size != 1);
	return x64_with(x64_sized(size, 0, byte), X64_MAP_0F);
}

/* An instruction has at most 15 bytes; the rest is slack for stores of a fixed width. */
#define X64_LONGEST (15 + 4)

/* Most instructions are made in their place. */
static inline bool x64_has_room(const struct x64 *a)
{
	return likely(a->end - a->at >= X64_LONGEST);
}

/* Appends `count` bytes, all or none. */
void x64_emit_bytes(struct x64 *a, const uint8_t *bytes, size_t count);

/* With ModRM: reg (or the opcode's digit) and a register or memory. */
void x64_emit_rr(struct x64 *a, struct x64_op op, unsigned int reg, unsigned int rm);
void x64_emit_rm(struct x64 *a, struct x64_op op, unsigned int reg, struct x64_mem mem);

/* With a register in the low bits of the opcode. */
void x64_emit_o(struct x64 *a, struct x64_op op, unsigned int reg);

/* With a VEX prefix of three bytes: vector length 128, `vvvv` the second source. */
void x64_emit_vex(struct x64 *a, struct x64_op op, unsigned int reg, unsigned int vvvv, unsigned int rm);

static inline bool x64_fits_i8(int64_t value)
{
	return value == (int8_t)value;
}

static inline bool x64_fits_i32(int64_t value)
{
	return value == (int32_t)value;
}

#endif
