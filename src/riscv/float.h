/*
 * IEEE 754-2008 arithmetic as RISC-V defines it (Unprivileged, chapters 11 and 12, Zfh): every result exact in
 * the given rounding mode, exception flags accrued, canonical NaNs, tininess detected after rounding.
 *
 * Values are plain bit patterns, already unboxed: NaN boxing is the caller's business (float_unbox32). `rm` is
 * a resolved rounding mode 0 to 4; `flags` is OR-ed into. Pass the accrued flags themselves, as fcsr holds
 * them, not a zero for each call: once NX is accrued most operations need not ask the host for its flags, which
 * costs several times what they do.
 *
 * Two implementations stand behind the rounding operations: float/soft.h in integer arithmetic, which defines
 * the results on every host and for every mode, and float/host.c, which uses the host's SSE2 and FMA units
 * where they agree bit by bit. A test holds one against the other. Any thread may call whose MXCSR control bits
 * are those of every C program (all exceptions masked, round to nearest, no flush to zero); they are the same
 * after the call, the status bits are undefined.
 */
#ifndef DOPPEL_RISCV_FLOAT_H
#define DOPPEL_RISCV_FLOAT_H

#include <stdbool.h>
#include <stdint.h>

enum float_rounding { FLOAT_RNE = 0, FLOAT_RTZ = 1, FLOAT_RDN = 2, FLOAT_RUP = 3, FLOAT_RMM = 4, FLOAT_DYN = 7 };
enum float_flag { FLOAT_NX = 1, FLOAT_UF = 2, FLOAT_OF = 4, FLOAT_DZ = 8, FLOAT_NV = 16 };

#define FLOAT_NAN16 UINT16_C(0x7e00)
#define FLOAT_NAN32 UINT32_C(0x7fc00000)
#define FLOAT_NAN64 UINT64_C(0x7ff8000000000000)

/* The narrower value in a 64-bit register, or the canonical NaN when it is not properly boxed. */
static inline uint32_t float_unbox32(uint64_t f)
{
	return (f >> 32) == UINT32_MAX ? (uint32_t)f : FLOAT_NAN32;
}
static inline uint16_t float_unbox16(uint64_t f)
{
	return (f >> 16) == UINT64_C(0xffffffffffff) ? (uint16_t)f : FLOAT_NAN16;
}
static inline uint64_t float_box32(uint32_t v)
{
	return UINT64_C(0xffffffff00000000) | v;
}
static inline uint64_t float_box16(uint16_t v)
{
	return UINT64_C(0xffffffffffff0000) | v;
}

/* fma computes a * b + c; the negated forms are made by the caller flipping sign bits of a and/or c. min, max:
 * minimumNumber, maximumNumber of IEEE 754-2019 (Unprivileged 11.6). eq is quiet; lt and le signal. class is
 * the ten-bit mask of fclass. to_* convert to integers with RISC-V's saturation; i32 and u32 results are to be
 * sign-extended by the caller. */
#define FLOAT_ROUNDING(name, bits, T)                                                                         \
	T name##bits##_add(T a, T b, unsigned rm, unsigned *flags);                                           \
	T name##bits##_sub(T a, T b, unsigned rm, unsigned *flags);                                           \
	T name##bits##_mul(T a, T b, unsigned rm, unsigned *flags);                                           \
	T name##bits##_div(T a, T b, unsigned rm, unsigned *flags);                                           \
	T name##bits##_sqrt(T a, unsigned rm, unsigned *flags);                                               \
	T name##bits##_fma(T a, T b, T c, unsigned rm, unsigned *flags);                                      \
	int32_t name##bits##_to_i32(T a, unsigned rm, unsigned *flags);                                       \
	uint32_t name##bits##_to_u32(T a, unsigned rm, unsigned *flags);                                      \
	int64_t name##bits##_to_i64(T a, unsigned rm, unsigned *flags);                                       \
	uint64_t name##bits##_to_u64(T a, unsigned rm, unsigned *flags);                                      \
	T name##bits##_from_i32(int32_t v, unsigned rm, unsigned *flags);                                     \
	T name##bits##_from_u32(uint32_t v, unsigned rm, unsigned *flags);                                    \
	T name##bits##_from_i64(int64_t v, unsigned rm, unsigned *flags);                                     \
	T name##bits##_from_u64(uint64_t v, unsigned rm, unsigned *flags);

#define FLOAT_CONVERSIONS(name)                                                                               \
	uint16_t name##32_to_16(uint32_t a, unsigned rm, unsigned *flags);                                    \
	uint16_t name##64_to_16(uint64_t a, unsigned rm, unsigned *flags);                                    \
	uint32_t name##16_to_32(uint16_t a, unsigned rm, unsigned *flags);                                    \
	uint32_t name##64_to_32(uint64_t a, unsigned rm, unsigned *flags);                                    \
	uint64_t name##16_to_64(uint16_t a, unsigned rm, unsigned *flags);                                    \
	uint64_t name##32_to_64(uint32_t a, unsigned rm, unsigned *flags);

#define FLOAT_COMPARING(name, bits, T)                                                                        \
	T name##bits##_min(T a, T b, unsigned *flags);                                                        \
	T name##bits##_max(T a, T b, unsigned *flags);                                                        \
	bool name##bits##_eq(T a, T b, unsigned *flags);                                                      \
	bool name##bits##_lt(T a, T b, unsigned *flags);                                                      \
	bool name##bits##_le(T a, T b, unsigned *flags);                                                      \
	uint32_t name##bits##_class(T a);

FLOAT_ROUNDING(float, 16, uint16_t)
FLOAT_ROUNDING(float, 32, uint32_t)
FLOAT_ROUNDING(float, 64, uint64_t)
FLOAT_CONVERSIONS(float)
FLOAT_COMPARING(float, 16, uint16_t)
FLOAT_COMPARING(float, 32, uint32_t)
FLOAT_COMPARING(float, 64, uint64_t)

#endif
