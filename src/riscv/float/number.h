/*
 * The one form in which float/soft.h calculates: a format's bit pattern is unpacked into a struct number,
 * operations take and return numbers that are exact (or exact but for a sticky bit far below any format's
 * precision), and packing rounds once. So fma is number_add(number_multiply(a, b), c). Pure functions: any
 * thread.
 */
#ifndef DOPPEL_RISCV_FLOAT_NUMBER_H
#define DOPPEL_RISCV_FLOAT_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

typedef unsigned __int128 wide_t;
#define WIDE_TOP ((wide_t)1 << 127)

/* An interchange format of IEEE 754-2008, 3.4: a sign bit, then these. */
struct float_format {
	int exponent_bits;
	int fraction_bits;
};
#define FLOAT_FORMAT_16 ((struct float_format){ 5, 10 })
#define FLOAT_FORMAT_32 ((struct float_format){ 8, 23 })
#define FLOAT_FORMAT_64 ((struct float_format){ 11, 52 })

static inline uint64_t float_format_infinity(struct float_format f)
{
	return ((UINT64_C(1) << f.exponent_bits) - 1) << f.fraction_bits;
}
static inline uint64_t float_format_sign(struct float_format f)
{
	return UINT64_C(1) << (f.exponent_bits + f.fraction_bits);
}
static inline uint64_t float_format_quiet(struct float_format f)
{
	return UINT64_C(1) << (f.fraction_bits - 1);
}
static inline bool float_format_is_nan(struct float_format f, uint64_t bits)
{
	return (bits & (float_format_sign(f) - 1)) > float_format_infinity(f);
}
static inline bool float_format_is_signaling(struct float_format f, uint64_t bits)
{
	return float_format_is_nan(f, bits) && !(bits & float_format_quiet(f));
}

enum number_kind { NUMBER_ZERO, NUMBER_FINITE, NUMBER_INFINITE, NUMBER_NAN };

/* A finite number is significand * 2^(exponent - 127), bit 127 of the significand set. Bit 0 is sticky: when a
 * calculation dropped ones below it, it is set, and at least 60 exact bits stand above it. */
struct number {
	enum number_kind kind;
	bool negative;
	bool invalid; /* a NaN that raises NV when packed: a signaling operand, or an invalid operation's result */
	int exponent;
	wide_t significand;
};

struct number number_unpack(struct float_format f, uint64_t bits);

/* Rounds to the format: the only place where OF, UF and NX of a floating-point result are raised. */
uint64_t number_pack(struct float_format f, struct number n, unsigned rm, unsigned *flags);

/* Whether a magnitude moves up to the next: `odd` is its last bit, `rest` what follows, half being WIDE_TOP. */
bool number_rounds_up(unsigned rm, bool negative, bool odd, wide_t rest);

/* Shifts right by any count from 0, keeping in bit 0 whether any one was dropped. */
wide_t number_shift_sticky(wide_t v, int count);

/* The finite number v * 2^(exponent - 127) for any v, or a zero of that sign when v is 0. */
struct number number_normalize(bool negative, int exponent, wide_t v);

/* rm decides only the sign of an exact zero sum (IEEE 754-2008, 6.3). */
struct number number_add(struct number a, struct number b, unsigned rm);
struct number number_multiply(struct number a, struct number b);
struct number number_divide(struct number a, struct number b, unsigned *flags);
struct number number_square_root(struct number a);

static inline struct number number_negate(struct number n)
{
	n.negative = !n.negative;
	return n;
}

/* To an integer from -below to above, saturating with NV alone (Unprivileged, table 27); -below and above are
 * what a value too small and too large give, NaN counts as too large. The result is in two's complement. */
uint64_t number_to_integer(struct number n, uint64_t below, uint64_t above, unsigned rm, unsigned *flags);
struct number number_from_integer(bool negative, uint64_t magnitude);

#endif
