/* Units that are made one operation at a time, for tests of the passes over them. Included once in a program. */
#ifndef TESTS_IR_BENCH_H
#define TESTS_IR_BENCH_H

#include "engine/translate/optimize.h"

static struct ir_unit unit;

static inline void begin(void)
{
	unit.count = unit.instructions = 0;
	unit.at = unit.bytes = 0;
}

static inline struct ir *add(enum ir_op op, unsigned size, unsigned dst, unsigned a, unsigned b, int64_t imm)
{
	struct ir *ir = &unit.ops[unit.count++];

	*ir = (struct ir){.op = (uint8_t)op,
			  .size = (uint8_t)size,
			  .dst = (uint8_t)dst,
			  .a = (uint8_t)a,
			  .b = (uint8_t)b,
			  .imm = imm,
			  .at = unit.bytes,
			  .before = (uint16_t)unit.instructions++};
	unit.bytes = (uint16_t)(unit.bytes + 4);
	return ir;
}

static inline struct ir *load(unsigned size, unsigned dst, unsigned a, int64_t imm)
{
	return add(IR_LOAD, size, dst, a, IR_ZERO, imm);
}

static inline struct ir *store(unsigned size, unsigned a, unsigned b, int64_t imm)
{
	return add(IR_STORE, size, IR_ZERO, a, b, imm);
}

static inline void plus(unsigned dst, unsigned a, int64_t imm)
{
	add(IR_ADD, 8, dst, a, IR_CONST, imm);
}

static inline void branch(int64_t to)
{
	add(IR_BRANCH, 8, IR_ZERO, 5, IR_ZERO, to);
}

#endif
