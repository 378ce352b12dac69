/* The names of riscv/float.h that no host path takes: binary16 everywhere, every format off x86-64. */
#include "riscv/float/soft.h"

#define FORWARD_ROUNDING(bits, T)                                                                             \
	T float##bits##_add(T a, T b, unsigned rm, unsigned *flags)                                           \
	{                                                                                                     \
		return soft##bits##_add(a, b, rm, flags);                                                     \
	}                                                                                                     \
	T float##bits##_sub(T a, T b, unsigned rm, unsigned *flags)                                           \
	{                                                                                                     \
		return soft##bits##_sub(a, b, rm, flags);                                                     \
	}                                                                                                     \
	T float##bits##_mul(T a, T b, unsigned rm, unsigned *flags)                                           \
	{                                                                                                     \
		return soft##bits##_mul(a, b, rm, flags);                                                     \
	}                                                                                                     \
	T float##bits##_div(T a, T b, unsigned rm, unsigned *flags)                                           \
	{                                                                                                     \
		return soft##bits##_div(a, b, rm, flags);                                                     \
	}                                                                                                     \
	T float##bits##_sqrt(T a, unsigned rm, unsigned *flags)                                               \
	{                                                                                                     \
		return soft##bits##_sqrt(a, rm, flags);                                                       \
	}                                                                                                     \
	T float##bits##_fma(T a, T b, T c, unsigned rm, unsigned *flags)                                      \
	{                                                                                                     \
		return soft##bits##_fma(a, b, c, rm, flags);                                                  \
	}                                                                                                     \
	int32_t float##bits##_to_i32(T a, unsigned rm, unsigned *flags)                                       \
	{                                                                                                     \
		return soft##bits##_to_i32(a, rm, flags);                                                     \
	}                                                                                                     \
	uint32_t float##bits##_to_u32(T a, unsigned rm, unsigned *flags)                                      \
	{                                                                                                     \
		return soft##bits##_to_u32(a, rm, flags);                                                     \
	}                                                                                                     \
	int64_t float##bits##_to_i64(T a, unsigned rm, unsigned *flags)                                       \
	{                                                                                                     \
		return soft##bits##_to_i64(a, rm, flags);                                                     \
	}                                                                                                     \
	uint64_t float##bits##_to_u64(T a, unsigned rm, unsigned *flags)                                      \
	{                                                                                                     \
		return soft##bits##_to_u64(a, rm, flags);                                                     \
	}                                                                                                     \
	T float##bits##_from_i32(int32_t v, unsigned rm, unsigned *flags)                                     \
	{                                                                                                     \
		return soft##bits##_from_i32(v, rm, flags);                                                   \
	}                                                                                                     \
	T float##bits##_from_u32(uint32_t v, unsigned rm, unsigned *flags)                                    \
	{                                                                                                     \
		return soft##bits##_from_u32(v, rm, flags);                                                   \
	}                                                                                                     \
	T float##bits##_from_i64(int64_t v, unsigned rm, unsigned *flags)                                     \
	{                                                                                                     \
		return soft##bits##_from_i64(v, rm, flags);                                                   \
	}                                                                                                     \
	T float##bits##_from_u64(uint64_t v, unsigned rm, unsigned *flags)                                    \
	{                                                                                                     \
		return soft##bits##_from_u64(v, rm, flags);                                                   \
	}

#define FORWARD_CONVERSION(from, to)                                                                          \
	uint##to##_t float##from##_to_##to(uint##from##_t a, unsigned rm, unsigned *flags)                    \
	{                                                                                                     \
		return soft##from##_to_##to(a, rm, flags);                                                    \
	}

FORWARD_ROUNDING(16, uint16_t)
FORWARD_CONVERSION(16, 32)
FORWARD_CONVERSION(16, 64)
FORWARD_CONVERSION(32, 16)
FORWARD_CONVERSION(64, 16)
#ifndef __x86_64__
FORWARD_ROUNDING(32, uint32_t)
FORWARD_ROUNDING(64, uint64_t)
FORWARD_CONVERSION(32, 64)
FORWARD_CONVERSION(64, 32)
#endif
