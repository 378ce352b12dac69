/* Between numbers and integers (Unprivileged, 11.7 and table 27). */
#include "riscv/float/number.h"

#include "riscv/float.h"

/* A finite number's magnitude rounded to an integer; anything from 2^64 on gives 2^64. */
static wide_t round_magnitude(struct number n, unsigned rm, bool *inexact)
{
	*inexact = false;
	if (n.kind == NUMBER_ZERO)
		return 0;
	if (n.kind == NUMBER_INFINITE || n.exponent > 63)
		return (wide_t)1 << 64;
	/* 64 integer bits above 64 of fraction. */
	wide_t fixed = number_shift_sticky(n.significand, 63 - n.exponent);
	wide_t rest = fixed << 64;
	*inexact = rest != 0;
	return (fixed >> 64) + number_rounds_up(rm, n.negative, (fixed >> 64) & 1, rest);
}

uint64_t number_to_integer(struct number n, uint64_t below, uint64_t above, unsigned rm, unsigned *flags)
{
	bool inexact;

	if (n.kind == NUMBER_NAN) {
		*flags |= FLOAT_NV;
		return above;
	}
	wide_t magnitude = round_magnitude(n, rm, &inexact);
	uint64_t limit = n.negative ? below : above;
	if (magnitude > limit) {
		*flags |= FLOAT_NV;
		magnitude = limit;
	} else if (inexact) {
		*flags |= FLOAT_NX;
	}
	return n.negative ? -(uint64_t)magnitude : (uint64_t)magnitude;
}

struct number number_from_integer(bool negative, uint64_t magnitude)
{
	return number_normalize(negative, 63, (wide_t)magnitude << 64);
}
