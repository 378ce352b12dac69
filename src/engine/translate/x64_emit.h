/*
 * The encoder beneath the assembler: prefixes, opcode, ModRM, SIB, displacement and immediate of one
 * instruction, SDM 2, chapter 2. Only x64*.c include this.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_X64_EMIT_H
#define DOPPEL_ENGINE_TRANSLATE_X64_EMIT_H

#include <assert.h>

#include "base/types.h"
#include "engine/translate/x64.h"

enum x64_map { X64_MAP_ONE_BYTE, X64_MAP_0F, X64_MAP_0F38, X64_MAP_0F3A };

struct x64_op {
	uint8_t prefix; /* mandatory prefix of the opcode: 0x66, 0xf3, 0xf2, or 0 */
	uint8_t map;    /* enum x64_map */
	uint8_t byte;   /* the opcode's last byte */
	bool half;      /* operand size prefix: 16 bits */
	bool wide;      /* REX.W: 64 bits */
	bool lock;
	bool byte_reg;    /* ModRM.reg names the low byte of a general register */
	bool byte_rm;     /* ModRM.rm does */
	uint8_t imm_size; /* 0, 1, 2 or 4 */
	int32_t imm;
};

/* The opcode of an integer instruction that has one form for bytes and one for the other sizes. */
static inline struct x64_op x64_sized(unsigned int size, uint8_t byte_form, uint8_t other_form)
{
	assert(size == 1 || size == 2 || size == 4 || size == 8);
	return (struct x64_op){
		.byte = size == 1 ? byte_form : other_form,
		.half = size == 2,
		.wide = size == 8,
		.byte_reg = size == 1,
		.byte_rm = size == 1,
	};
}

/* As x64_sized for an instruction whose ModRM.reg is a digit, a further part of the opcode. */
static inline struct x64_op x64_group(unsigned int size, uint8_t byte_form, uint8_t other_form)
{
	struct x64_op op = x64_sized(size, byte_form, other_form);

	op.byte_reg = false;
	return op;
}

/* As x64_sized for an instruction of the map 0f without a byte form. */
static inline struct x64_op x64_sized_0f(unsigned int size, uint8_t byte)
{
	struct x64_op op = x64_sized(size, 0, byte);

	assert(size != 1);
	op.map = X64_MAP_0F;
	return op;
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
