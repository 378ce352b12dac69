/* Unpacking, and rounding into a format. */
#include "riscv/float/number.h"

#include "riscv/float.h"

static int minimum_exponent(struct float_format f)
{
	return 2 - (1 << (f.exponent_bits - 1));
}

static int leading_zeros(wide_t v)
{
	uint64_t high = (uint64_t)(v >> 64);
	return high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)v);
}

struct number number_normalize(bool negative, int exponent, wide_t v)
{
	if (!v)
		return (struct number){ .kind = NUMBER_ZERO, .negative = negative };
	int shift = leading_zeros(v);
	return (struct number){ .kind = NUMBER_FINITE, .negative = negative, .exponent = exponent - shift,
				.significand = v << shift };
}

struct number number_unpack(struct float_format f, uint64_t bits)
{
	bool negative = bits & float_format_sign(f);
	uint64_t hidden = UINT64_C(1) << f.fraction_bits;
	uint64_t fraction = bits & (hidden - 1);
	int field = (int)((bits & float_format_infinity(f)) >> f.fraction_bits);

	if (float_format_is_nan(f, bits))
		return (struct number){ .kind = NUMBER_NAN, .invalid = float_format_is_signaling(f, bits) };
	if (field == (1 << f.exponent_bits) - 1)
		return (struct number){ .kind = NUMBER_INFINITE, .negative = negative };
	if (field)
		fraction |= hidden;
	int exponent = minimum_exponent(f) + (field ? field - 1 : 0);
	return number_normalize(negative, exponent, (wide_t)fraction << (127 - f.fraction_bits));
}

bool number_rounds_up(unsigned rm, bool negative, bool odd, wide_t rest)
{
	switch (rm) {
	case FLOAT_RNE:
		return rest > WIDE_TOP || (rest == WIDE_TOP && odd);
	case FLOAT_RDN:
		return negative && rest;
	case FLOAT_RUP:
		return !negative && rest;
	case FLOAT_RMM:
		return rest >= WIDE_TOP;
	default:
		return false;
	}
}

wide_t number_shift_sticky(wide_t v, int count)
{
	if (count == 0)
		return v;
	if (count > 127)
		return v != 0;
	return v >> count | ((v << (128 - count)) != 0);
}

/* The top `precision` bits of v, rounded: up to 2^precision. */
static uint64_t round_top(wide_t v, int precision, unsigned rm, bool negative)
{
	uint64_t kept = (uint64_t)(v >> (128 - precision));
	return kept + number_rounds_up(rm, negative, kept & 1, v << precision);
}

static uint64_t overflow(struct float_format f, bool negative, unsigned rm, unsigned *flags)
{
	*flags |= FLOAT_OF | FLOAT_NX;
	bool to_infinity = number_rounds_up(rm, negative, true, ~(wide_t)0);
	return float_format_infinity(f) - !to_infinity;
}

/* Tiny after rounding (Unprivileged, 11.2): below the least normal number even when rounded to full precision.
 * */
static bool is_tiny(struct float_format f, struct number n, unsigned rm)
{
	int below = minimum_exponent(f) - n.exponent;
	int precision = f.fraction_bits + 1;
	return below > 1 || (below == 1 && round_top(n.significand, precision, rm, n.negative) >> precision == 0);
}

static uint64_t pack_finite(struct float_format f, struct number n, unsigned rm, unsigned *flags)
{
	int precision = f.fraction_bits + 1;
	int minimum = minimum_exponent(f);
	int raised = n.exponent < minimum ? minimum : n.exponent;

	if (n.exponent > 1 - minimum)
		return overflow(f, n.negative, rm, flags);
	wide_t significand = number_shift_sticky(n.significand, raised - n.exponent);
	/* The hidden bit, where there is one, adds the 1 by which the exponent field exceeds raised - minimum, and
	 * a carry out of the fraction moves on to the next exponent. */
	uint64_t bits = ((uint64_t)(raised - minimum) << f.fraction_bits) +
			round_top(significand, precision, rm, n.negative);
	if (bits >= float_format_infinity(f))
		return overflow(f, n.negative, rm, flags);
	if (significand << precision)
		*flags |= is_tiny(f, n, rm) ? FLOAT_NX | FLOAT_UF : FLOAT_NX;
	return bits;
}

uint64_t number_pack(struct float_format f, struct number n, unsigned rm, unsigned *flags)
{
	uint64_t magnitude = 0;

	switch (n.kind) {
	case NUMBER_NAN:
		*flags |= n.invalid ? FLOAT_NV : 0;
		return float_format_infinity(f) | float_format_quiet(f);
	case NUMBER_INFINITE:
		magnitude = float_format_infinity(f);
		break;
	case NUMBER_FINITE:
		magnitude = pack_finite(f, n, rm, flags);
		break;
	case NUMBER_ZERO:
		break;
	}
	return magnitude | (n.negative ? float_format_sign(f) : 0);
}
