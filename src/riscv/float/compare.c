/* Comparison, minimum, maximum and classification by integer comparison of the bit patterns. */
#include "riscv/float.h"

#include "riscv/float/number.h"

typedef struct float_format format;

static inline bool any_nan(format f, uint64_t a, uint64_t b)
{
	return float_format_is_nan(f, a) || float_format_is_nan(f, b);
}

static inline unsigned signaling(format f, uint64_t a, uint64_t b)
{
	return float_format_is_signaling(f, a) || float_format_is_signaling(f, b) ? FLOAT_NV : 0;
}

/* An integer that orders as the number does, -0 just below +0. */
static inline int64_t order(format f, uint64_t v)
{
	int64_t magnitude = (int64_t)(v & (float_format_sign(f) - 1));
	return v & float_format_sign(f) ? -magnitude - 1 : magnitude;
}

static inline bool both_zero(format f, uint64_t a, uint64_t b)
{
	return !((a | b) & (float_format_sign(f) - 1));
}

static inline bool equal(format f, uint64_t a, uint64_t b, unsigned *flags)
{
	*flags |= signaling(f, a, b);
	return !any_nan(f, a, b) && (a == b || both_zero(f, a, b));
}

static inline bool less(format f, uint64_t a, uint64_t b, bool or_equal, unsigned *flags)
{
	if (any_nan(f, a, b)) {
		*flags |= FLOAT_NV;
		return false;
	}
	if (a == b || both_zero(f, a, b))
		return or_equal;
	return order(f, a) < order(f, b);
}

static inline uint64_t extreme(format f, uint64_t a, uint64_t b, bool want_max, unsigned *flags)
{
	*flags |= signaling(f, a, b);
	if (float_format_is_nan(f, a) && float_format_is_nan(f, b))
		return float_format_infinity(f) | float_format_quiet(f);
	if (any_nan(f, a, b))
		return float_format_is_nan(f, a) ? b : a;
	return (order(f, a) < order(f, b)) == want_max ? b : a;
}

/* The bits of fclass (Unprivileged, table 28): 0 to 7 from -infinity to +infinity, 8 signaling, 9 quiet NaN. */
static inline uint32_t classify(format f, uint64_t v)
{
	uint64_t magnitude = v & (float_format_sign(f) - 1);
	bool negative = v & float_format_sign(f);
	unsigned size;

	if (float_format_is_nan(f, v))
		return v & float_format_quiet(f) ? 1u << 9 : 1u << 8;
	if (magnitude == 0)
		size = 0;
	else if (magnitude >> f.fraction_bits == 0)
		size = 1;
	else
		size = magnitude < float_format_infinity(f) ? 2 : 3;
	return 1u << (negative ? 3 - size : 4 + size);
}

#define DEFINE_COMPARING(bits, T)                                                                             \
	T float##bits##_min(T a, T b, unsigned *flags)                                                        \
	{                                                                                                     \
		return (T)extreme(FLOAT_FORMAT_##bits, a, b, false, flags);                                   \
	}                                                                                                     \
	T float##bits##_max(T a, T b, unsigned *flags)                                                        \
	{                                                                                                     \
		return (T)extreme(FLOAT_FORMAT_##bits, a, b, true, flags);                                    \
	}                                                                                                     \
	bool float##bits##_eq(T a, T b, unsigned *flags)                                                      \
	{                                                                                                     \
		return equal(FLOAT_FORMAT_##bits, a, b, flags);                                               \
	}                                                                                                     \
	bool float##bits##_lt(T a, T b, unsigned *flags)                                                      \
	{                                                                                                     \
		return less(FLOAT_FORMAT_##bits, a, b, false, flags);                                         \
	}                                                                                                     \
	bool float##bits##_le(T a, T b, unsigned *flags)                                                      \
	{                                                                                                     \
		return less(FLOAT_FORMAT_##bits, a, b, true, flags);                                          \
	}                                                                                                     \
	uint32_t float##bits##_class(T a)                                                                     \
	{                                                                                                     \
		return classify(FLOAT_FORMAT_##bits, a);                                                      \
	}

DEFINE_COMPARING(16, uint16_t)
DEFINE_COMPARING(32, uint32_t)
DEFINE_COMPARING(64, uint64_t)
