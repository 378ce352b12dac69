/*
 * riscv/float.h on the SSE2 and FMA units of x86-64 (Intel SDM volume 1, chapters 10 and 11): they round, and
 * detect tininess after rounding, as RISC-V does. What they have no answer for goes to the integer
 * implementation: rounding to nearest with ties away, NaN results (whose NV differs for the fma of infinity * 0
 * + NaN), integers out of range.
 *
 * Reading MXCSR costs several times what an addition does, so two paths lead through each operation. The short
 * one is for round to nearest even once NX is accrued, the state most programs are in after their first
 * division: when the result itself shows that it neither overflowed, underflowed nor was invalid, no flag can
 * change and MXCSR is not touched. The long one sets the mode, reads the status, and sets the mode of every C
 * program again. The compiler knows nothing of rounding modes; volatile assembly keeps the order.
 */
#ifdef __x86_64__
#include <string.h>

#include "riscv/float/number.h"
#include "riscv/float/soft.h"

#define MXCSR_STATUS 0x3fu
#define MXCSR_ALL_MASKED 0x1f80u

/* MXCSR by RISC-V rounding mode: that rounding control, every exception masked, no status, no flush to zero. */
static const uint32_t control_of[] = {
	[FLOAT_RNE] = MXCSR_ALL_MASKED,
	[FLOAT_RDN] = MXCSR_ALL_MASKED | 1 << 13,
	[FLOAT_RUP] = MXCSR_ALL_MASKED | 2 << 13,
	[FLOAT_RTZ] = MXCSR_ALL_MASKED | 3 << 13,
};

/* RISC-V's flags for MXCSR's IE, DE, ZE, OE, UE and PE; a denormal operand is no exception to RISC-V. */
#define FLAGS_OF(s)                                                                                            \
	(((s) & 1 ? FLOAT_NV : 0) | ((s) & 4 ? FLOAT_DZ : 0) | ((s) & 8 ? FLOAT_OF : 0) |                      \
	 ((s) & 16 ? FLOAT_UF : 0) | ((s) & 32 ? FLOAT_NX : 0))
#define FLAGS_4(s) FLAGS_OF(s), FLAGS_OF((s) + 1), FLAGS_OF((s) + 2), FLAGS_OF((s) + 3)
#define FLAGS_16(s) FLAGS_4(s), FLAGS_4((s) + 4), FLAGS_4((s) + 8), FLAGS_4((s) + 12)
static const uint8_t flags_of[MXCSR_STATUS + 1] = { FLAGS_16(0), FLAGS_16(16), FLAGS_16(32), FLAGS_16(48) };

static inline void enter(unsigned rm)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(control_of[rm]));
}

/* The flags raised since enter; the mode is round to nearest even again. */
static inline unsigned leave(unsigned rm)
{
	uint32_t mxcsr;

	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	if (rm != FLOAT_RNE)
		enter(FLOAT_RNE);
	return flags_of[mxcsr & MXCSR_STATUS];
}

static inline bool short_path(unsigned rm, unsigned accrued)
{
	return rm == FLOAT_RNE && (accrued & FLOAT_NX);
}

static inline float value32(uint32_t bits)
{
	float v;
	memcpy(&v, &bits, sizeof v);
	return v;
}

static inline double value64(uint64_t bits)
{
	double v;
	memcpy(&v, &bits, sizeof v);
	return v;
}

static inline uint32_t pattern32(float v)
{
	uint32_t bits;
	memcpy(&bits, &v, sizeof bits);
	return bits;
}

static inline uint64_t pattern64(double v)
{
	uint64_t bits;
	memcpy(&bits, &v, sizeof bits);
	return bits;
}

#define MAGNITUDE(bits, v) ((v) & (float_format_sign(FLOAT_FORMAT_##bits) - 1))
#define LEAST_NORMAL(bits) (UINT64_C(1) << FLOAT_FORMAT_##bits.fraction_bits)
#define INFINITY_OF(bits) float_format_infinity(FLOAT_FORMAT_##bits)

/* Proof of no flag but NX: for an operation whose tiny results are exact, that the result is finite; for any,
 * that it also lies above the least normal number, to which a tiny result may have been rounded up. */
static inline bool finite32(uint32_t v)
{
	return MAGNITUDE(32, v) < INFINITY_OF(32);
}

static inline bool finite64(uint64_t v)
{
	return MAGNITUDE(64, v) < INFINITY_OF(64);
}

static inline bool normal32(uint32_t v)
{
	return finite32(v) && MAGNITUDE(32, v) > LEAST_NORMAL(32);
}

static inline bool normal64(uint64_t v)
{
	return finite64(v) && MAGNITUDE(64, v) > LEAST_NORMAL(64);
}

/* The body of an operation: `run` executes the instruction on a F, `proof` is one of the above, `soft` is the
 * same operation in integers. */
#define TWO_PATHS(F, bits, proof, run, soft)                                                                  \
	F x;                                                                                                  \
	if (short_path(rm, *flags)) {                                                                         \
		x = run;                                                                                      \
		if (proof##bits(pattern##bits(x)))                                                            \
			return pattern##bits(x);                                                              \
	}                                                                                                     \
	if (rm > FLOAT_RUP)                                                                                   \
		return soft;                                                                                  \
	enter(rm);                                                                                            \
	x = run;                                                                                              \
	unsigned raised = leave(rm);                                                                          \
	if (x != x)                                                                                           \
		return soft;                                                                                  \
	*flags |= raised;                                                                                     \
	return pattern##bits(x);

#define HOST_TWO(bits, T, F, name, proof, text)                                                               \
	static inline F run_##name##bits(F x, F y)                                                            \
	{                                                                                                     \
		__asm__ volatile(text " %1, %0" : "+x"(x) : "x"(y));                                          \
		return x;                                                                                     \
	}                                                                                                     \
	T float##bits##_##name(T a, T b, unsigned rm, unsigned *flags)                                        \
	{                                                                                                     \
		TWO_PATHS(F, bits, proof, run_##name##bits(value##bits(a), value##bits(b)),                   \
			  soft##bits##_##name(a, b, rm, flags))                                               \
	}

#define HOST_SQRT(bits, T, F, text)                                                                           \
	static inline F run_sqrt##bits(F y)                                                                   \
	{                                                                                                     \
		F x;                                                                                          \
		__asm__ volatile(text " %1, %0" : "=x"(x) : "x"(y));                                          \
		return x;                                                                                     \
	}                                                                                                     \
	T float##bits##_sqrt(T a, unsigned rm, unsigned *flags)                                               \
	{                                                                                                     \
		TWO_PATHS(F, bits, finite, run_sqrt##bits(value##bits(a)), soft##bits##_sqrt(a, rm, flags))   \
	}

#define HOST_FMA(bits, T, F, text)                                                                            \
	static inline F run_fma##bits(F x, F y, F z)                                                          \
	{                                                                                                     \
		__asm__ volatile(text " %2, %1, %0" : "+x"(x) : "x"(y), "x"(z));                              \
		return x;                                                                                     \
	}                                                                                                     \
	T float##bits##_fma(T a, T b, T c, unsigned rm, unsigned *flags)                                      \
	{                                                                                                     \
		if (!__builtin_cpu_supports("fma"))                                                           \
			return soft##bits##_fma(a, b, c, rm, flags);                                          \
		TWO_PATHS(F, bits, normal, run_fma##bits(value##bits(a), value##bits(b), value##bits(c)),     \
			  soft##bits##_fma(a, b, c, rm, flags))                                               \
	}

/* The signed 64-bit conversion serves all four integer types; outside low to high, which exclude the INT64_MIN
 * that stands for an invalid result, the integer implementation saturates. In range NX is the only flag there
 * is. C's casts round toward zero, for which there is an instruction that needs no mode. */
#define HOST_TO(bits, T, name, R, low, high, text)                                                         \
	R float##bits##_to_##name(T a, unsigned rm, unsigned *flags)                                          \
	{                                                                                                     \
		int64_t v;                                                                                    \
		unsigned raised = 0;                                                                          \
		if (rm > FLOAT_RUP)                                                                           \
			return soft##bits##_to_##name(a, rm, flags);                                          \
		if (rm == FLOAT_RTZ && (*flags & FLOAT_NX)) {                                                 \
			__asm__ volatile("cvtts" text : "=r"(v) : "x"(value##bits(a)));                       \
		} else {                                                                                      \
			enter(rm);                                                                            \
			__asm__ volatile("cvts" text : "=r"(v) : "x"(value##bits(a)));                        \
			raised = leave(rm);                                                                   \
		}                                                                                             \
		if (v < (low) || v > (high))                                                                  \
			return soft##bits##_to_##name(a, rm, flags);                                          \
		*flags |= raised;                                                                             \
		return (R)v;                                                                                  \
	}

#define HOST_TO_ALL(bits, T, text)                                                                         \
	HOST_TO(bits, T, i32, int32_t, INT32_MIN, INT32_MAX, text)                                         \
	HOST_TO(bits, T, u32, uint32_t, 0, UINT32_MAX, text)                                               \
	HOST_TO(bits, T, i64, int64_t, -INT64_MAX, INT64_MAX, text)                                        \
	HOST_TO(bits, T, u64, uint64_t, 0, INT64_MAX, text)

/* `beyond` says that v is no signed 64-bit integer. */
#define HOST_FROM(bits, T, F, name, V, beyond)                                                                \
	T float##bits##_from_##name(V v, unsigned rm, unsigned *flags)                                        \
	{                                                                                                     \
		if (beyond)                                                                                   \
			return soft##bits##_from_##name(v, rm, flags);                                        \
		TWO_PATHS(F, bits, finite, run_from##bits((int64_t)v), soft##bits##_from_##name(v, rm, flags)) \
	}

#define HOST_FROM_ALL(bits, T, F, text)                                                                       \
	static inline F run_from##bits(int64_t v)                                                             \
	{                                                                                                     \
		F x = 0;                                                                                      \
		__asm__ volatile(text " %1, %0" : "+x"(x) : "r"(v));                                          \
		return x;                                                                                     \
	}                                                                                                     \
	HOST_FROM(bits, T, F, i32, int32_t, false)                                                            \
	HOST_FROM(bits, T, F, u32, uint32_t, false)                                                           \
	HOST_FROM(bits, T, F, i64, int64_t, false)                                                            \
	HOST_FROM(bits, T, F, u64, uint64_t, v > INT64_MAX)

#define HOST_FORMAT(bits, T, F, s)                                                                            \
	HOST_TWO(bits, T, F, add, finite, "adds" s)                                                           \
	HOST_TWO(bits, T, F, sub, finite, "subs" s)                                                           \
	HOST_TWO(bits, T, F, mul, normal, "muls" s)                                                           \
	HOST_TWO(bits, T, F, div, normal, "divs" s)                                                           \
	HOST_SQRT(bits, T, F, "sqrts" s)                                                                      \
	HOST_FMA(bits, T, F, "vfmadd213s" s)                                                                  \
	HOST_TO_ALL(bits, T, s "2si %1, %0")                                                               \
	HOST_FROM_ALL(bits, T, F, "cvtsi2s" s "q")

HOST_FORMAT(32, uint32_t, float, "s")
HOST_FORMAT(64, uint64_t, double, "d")

static inline float run_narrow(double y)
{
	float x = 0;
	__asm__ volatile("cvtsd2ss %1, %0" : "+x"(x) : "x"(y));
	return x;
}

uint32_t float64_to_32(uint64_t a, unsigned rm, unsigned *flags)
{
	TWO_PATHS(float, 32, normal, run_narrow(value64(a)), soft64_to_32(a, rm, flags))
}

/* Always exact: only a signaling NaN raises a flag. */
uint64_t float32_to_64(uint32_t a, unsigned rm, unsigned *flags)
{
	double x = 0;

	if (!finite32(a))
		return soft32_to_64(a, rm, flags);
	__asm__ volatile("cvtss2sd %1, %0" : "+x"(x) : "x"(value32(a)));
	return pattern64(x);
}
#endif
