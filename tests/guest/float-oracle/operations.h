/*
 * The floating-point instructions under test, once for both sides of the comparison: float-oracle.c executes
 * them on another machine, the unit tests call riscv/float.h. X(shape, name, bits, mnemonic): `name` is the
 * suffix of the function for that format, the shape tells operands and result apart:
 *
 *   F_F, FF_F, FFF_F    rounding, from one to three operands
 *   MM_F                minimum and maximum, which do not round
 *   MM_X, M_X           comparison and class, to an integer register
 *   F_X32, F_X64        to an integer;   X_F   from one
 *   V_F                 between formats: `name` is the format converted to
 */
#ifndef DOPPEL_TESTS_FLOAT_OPERATIONS_H
#define DOPPEL_TESTS_FLOAT_OPERATIONS_H

#include <stdint.h>

#define FLOAT_OPERATIONS_IN(X, bits, s)                                                                      \
	X(FF_F, add, bits, "fadd." s)                                                                        \
	X(FF_F, sub, bits, "fsub." s)                                                                        \
	X(FF_F, mul, bits, "fmul." s)                                                                        \
	X(FF_F, div, bits, "fdiv." s)                                                                        \
	X(F_F, sqrt, bits, "fsqrt." s)                                                                       \
	X(FFF_F, fma, bits, "fmadd." s)                                                                      \
	X(MM_F, min, bits, "fmin." s)                                                                        \
	X(MM_F, max, bits, "fmax." s)                                                                        \
	X(MM_X, eq, bits, "feq." s)                                                                          \
	X(MM_X, lt, bits, "flt." s)                                                                          \
	X(MM_X, le, bits, "fle." s)                                                                          \
	X(M_X, class, bits, "fclass." s)                                                                     \
	X(F_X32, to_i32, bits, "fcvt.w." s)                                                                  \
	X(F_X32, to_u32, bits, "fcvt.wu." s)                                                                 \
	X(F_X64, to_i64, bits, "fcvt.l." s)                                                                  \
	X(F_X64, to_u64, bits, "fcvt.lu." s)                                                                 \
	X(X_F, from_i32, bits, "fcvt." s ".w")                                                               \
	X(X_F, from_u32, bits, "fcvt." s ".wu")                                                              \
	X(X_F, from_i64, bits, "fcvt." s ".l")                                                               \
	X(X_F, from_u64, bits, "fcvt." s ".lu")

#define FLOAT_OPERATIONS(X)                                                                                  \
	FLOAT_OPERATIONS_IN(X, 16, "h")                                                                      \
	FLOAT_OPERATIONS_IN(X, 32, "s")                                                                      \
	FLOAT_OPERATIONS_IN(X, 64, "d")                                                                      \
	X(V_F, 16, 32, "fcvt.h.s")                                                                           \
	X(V_F, 16, 64, "fcvt.h.d")                                                                           \
	X(V_F, 32, 16, "fcvt.s.h")                                                                           \
	X(V_F, 32, 64, "fcvt.s.d")                                                                           \
	X(V_F, 64, 16, "fcvt.d.h")                                                                           \
	X(V_F, 64, 32, "fcvt.d.s")

#define FLOAT_OPERATION_ID(shape, name, bits, mnemonic) FLOAT_##bits##_##name,
enum float_operation { FLOAT_OPERATIONS(FLOAT_OPERATION_ID) FLOAT_OPERATION_COUNT };

/* The oracle reads cases from its standard input and answers each in order. Operands and floating-point results
 * are whole 64-bit registers, narrower values NaN-boxed. Both machines are little-endian. */
struct float_case {
	uint32_t operation;
	uint32_t rounding;
	uint64_t a, b, c;
};
struct float_outcome {
	uint64_t value;
	uint64_t flags;
};

#endif
