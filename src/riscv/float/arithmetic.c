/* Sum, product, quotient and square root of numbers, exact but for the sticky bit. */
#include "riscv/float/number.h"

#include "riscv/float.h"

static const struct number invalid_operation = { .kind = NUMBER_NAN, .invalid = true };

static bool either(struct number a, struct number b, enum number_kind kind)
{
	return a.kind == kind || b.kind == kind;
}

/* NaN payloads are not propagated (Unprivileged, 11.3): only whether NV is due. */
static struct number nan_of(struct number a, struct number b)
{
	return (struct number){ .kind = NUMBER_NAN, .invalid = a.invalid || b.invalid };
}

static uint64_t top_half(struct number n)
{
	return (uint64_t)(n.significand >> 64);
}

/* Of finite numbers. The low 21 bits of an exact product of two 53-bit significands are zero, so the sticky bit
 * is used only when the exponents differ by more than that; then subtraction cancels one bit at most. */
static struct number add_finite(struct number a, struct number b, unsigned rm)
{
	if (a.exponent < b.exponent || (a.exponent == b.exponent && a.significand < b.significand))
		return add_finite(b, a, rm);
	wide_t large = a.significand >> 1;
	wide_t small = number_shift_sticky(b.significand, a.exponent - b.exponent + 1);
	if (a.negative == b.negative)
		return number_normalize(a.negative, a.exponent + 1, large + small);
	bool negative = large == small ? rm == FLOAT_RDN : a.negative;
	return number_normalize(negative, a.exponent + 1, large - small);
}

struct number number_add(struct number a, struct number b, unsigned rm)
{
	if (either(a, b, NUMBER_NAN))
		return nan_of(a, b);
	if (a.kind == NUMBER_INFINITE && b.kind == NUMBER_INFINITE && a.negative != b.negative)
		return invalid_operation;
	if (a.kind == NUMBER_ZERO && b.kind == NUMBER_ZERO && a.negative != b.negative)
		a.negative = rm == FLOAT_RDN;
	if (a.kind == NUMBER_INFINITE || b.kind == NUMBER_ZERO)
		return a;
	if (b.kind == NUMBER_INFINITE || a.kind == NUMBER_ZERO)
		return b;
	return add_finite(a, b, rm);
}

struct number number_multiply(struct number a, struct number b)
{
	bool negative = a.negative != b.negative;

	if (either(a, b, NUMBER_NAN))
		return nan_of(a, b);
	if (either(a, b, NUMBER_INFINITE)) {
		if (either(a, b, NUMBER_ZERO))
			return invalid_operation;
		return (struct number){ .kind = NUMBER_INFINITE, .negative = negative };
	}
	if (either(a, b, NUMBER_ZERO))
		return (struct number){ .kind = NUMBER_ZERO, .negative = negative };
	return number_normalize(negative, a.exponent + b.exponent + 1, (wide_t)top_half(a) * top_half(b));
}

struct number number_divide(struct number a, struct number b, unsigned *flags)
{
	bool negative = a.negative != b.negative;

	if (either(a, b, NUMBER_NAN))
		return nan_of(a, b);
	if (a.kind == b.kind && a.kind != NUMBER_FINITE)
		return invalid_operation;
	if (a.kind == NUMBER_INFINITE || b.kind == NUMBER_ZERO) {
		*flags |= a.kind == NUMBER_FINITE ? FLOAT_DZ : 0;
		return (struct number){ .kind = NUMBER_INFINITE, .negative = negative };
	}
	if (a.kind == NUMBER_ZERO || b.kind == NUMBER_INFINITE)
		return (struct number){ .kind = NUMBER_ZERO, .negative = negative };
	wide_t dividend = (wide_t)top_half(a) << 63;
	wide_t quotient = dividend / top_half(b);
	bool sticky = quotient * top_half(b) != dividend;
	return number_normalize(negative, a.exponent - b.exponent, quotient << 64 | sticky);
}

/* The integer root of v >= 2^126, below which every 64-bit root bit is tried from the top. */
static uint64_t integer_root(wide_t v)
{
	uint64_t root = 0;

	for (uint64_t bit = UINT64_C(1) << 63; bit; bit >>= 1) {
		uint64_t trial = root | bit;
		if ((wide_t)trial * trial <= v)
			root = trial;
	}
	return root;
}

struct number number_square_root(struct number a)
{
	if (a.kind == NUMBER_NAN || a.kind == NUMBER_ZERO)
		return a;
	if (a.negative)
		return invalid_operation;
	if (a.kind == NUMBER_INFINITE)
		return a;
	/* value = square * 2^(even - 126), and square from 2^126 to 2^128. */
	bool odd = a.exponent & 1;
	wide_t square = (wide_t)top_half(a) << (odd ? 64 : 63);
	uint64_t root = integer_root(square);
	bool sticky = (wide_t)root * root != square;
	return number_normalize(false, (a.exponent - odd) / 2, (wide_t)root << 64 | sticky);
}
