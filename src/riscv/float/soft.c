/* riscv/float/soft.h: each operation unpacks, calculates and packs. */
#include "riscv/float/soft.h"

#include "riscv/float/number.h"

#define UNPACK(bits, v) number_unpack(FLOAT_FORMAT_##bits, v)
#define PACK(bits, T, n) (T)number_pack(FLOAT_FORMAT_##bits, n, rm, flags)
#define SIGNED_BELOW(bits) (UINT64_C(1) << (bits))

static struct number from_signed(int64_t v)
{
	return number_from_integer(v < 0, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

#define DEFINE_ROUNDING(bits, T)                                                                              \
	T soft##bits##_add(T a, T b, unsigned rm, unsigned *flags)                                            \
	{                                                                                                     \
		return PACK(bits, T, number_add(UNPACK(bits, a), UNPACK(bits, b), rm));                       \
	}                                                                                                     \
	T soft##bits##_sub(T a, T b, unsigned rm, unsigned *flags)                                            \
	{                                                                                                     \
		return PACK(bits, T, number_add(UNPACK(bits, a), number_negate(UNPACK(bits, b)), rm));        \
	}                                                                                                     \
	T soft##bits##_mul(T a, T b, unsigned rm, unsigned *flags)                                            \
	{                                                                                                     \
		return PACK(bits, T, number_multiply(UNPACK(bits, a), UNPACK(bits, b)));                      \
	}                                                                                                     \
	T soft##bits##_div(T a, T b, unsigned rm, unsigned *flags)                                            \
	{                                                                                                     \
		return PACK(bits, T, number_divide(UNPACK(bits, a), UNPACK(bits, b), flags));                 \
	}                                                                                                     \
	T soft##bits##_sqrt(T a, unsigned rm, unsigned *flags)                                                \
	{                                                                                                     \
		return PACK(bits, T, number_square_root(UNPACK(bits, a)));                                    \
	}                                                                                                     \
	T soft##bits##_fma(T a, T b, T c, unsigned rm, unsigned *flags)                                       \
	{                                                                                                     \
		struct number product = number_multiply(UNPACK(bits, a), UNPACK(bits, b));                    \
		return PACK(bits, T, number_add(product, UNPACK(bits, c), rm));                               \
	}                                                                                                     \
	int32_t soft##bits##_to_i32(T a, unsigned rm, unsigned *flags)                                        \
	{                                                                                                     \
		return (int32_t)number_to_integer(UNPACK(bits, a), SIGNED_BELOW(31), INT32_MAX, rm, flags);   \
	}                                                                                                     \
	uint32_t soft##bits##_to_u32(T a, unsigned rm, unsigned *flags)                                       \
	{                                                                                                     \
		return (uint32_t)number_to_integer(UNPACK(bits, a), 0, UINT32_MAX, rm, flags);                \
	}                                                                                                     \
	int64_t soft##bits##_to_i64(T a, unsigned rm, unsigned *flags)                                        \
	{                                                                                                     \
		return (int64_t)number_to_integer(UNPACK(bits, a), SIGNED_BELOW(63), INT64_MAX, rm, flags);   \
	}                                                                                                     \
	uint64_t soft##bits##_to_u64(T a, unsigned rm, unsigned *flags)                                       \
	{                                                                                                     \
		return (uint64_t)number_to_integer(UNPACK(bits, a), 0, UINT64_MAX, rm, flags);                \
	}                                                                                                     \
	T soft##bits##_from_i32(int32_t v, unsigned rm, unsigned *flags)                                      \
	{                                                                                                     \
		return PACK(bits, T, from_signed(v));                                                         \
	}                                                                                                     \
	T soft##bits##_from_u32(uint32_t v, unsigned rm, unsigned *flags)                                     \
	{                                                                                                     \
		return PACK(bits, T, number_from_integer(false, v));                                          \
	}                                                                                                     \
	T soft##bits##_from_i64(int64_t v, unsigned rm, unsigned *flags)                                      \
	{                                                                                                     \
		return PACK(bits, T, from_signed(v));                                                         \
	}                                                                                                     \
	T soft##bits##_from_u64(uint64_t v, unsigned rm, unsigned *flags)                                     \
	{                                                                                                     \
		return PACK(bits, T, number_from_integer(false, v));                                          \
	}

DEFINE_ROUNDING(16, uint16_t)
DEFINE_ROUNDING(32, uint32_t)
DEFINE_ROUNDING(64, uint64_t)

#define DEFINE_CONVERSION(from, to)                                                                           \
	uint##to##_t soft##from##_to_##to(uint##from##_t a, unsigned rm, unsigned *flags)                     \
	{                                                                                                     \
		return PACK(to, uint##to##_t, UNPACK(from, a));                                               \
	}

DEFINE_CONVERSION(16, 32)
DEFINE_CONVERSION(16, 64)
DEFINE_CONVERSION(32, 16)
DEFINE_CONVERSION(32, 64)
DEFINE_CONVERSION(64, 16)
DEFINE_CONVERSION(64, 32)
