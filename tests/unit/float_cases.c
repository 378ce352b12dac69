#include "float_cases.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "riscv/float/number.h"
#include "riscv/float/soft.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define INFO(shape, name, bits, mnemonic) { mnemonic, bits, shape },
const struct float_operation_info float_operations[] = { FLOAT_OPERATIONS(INFO) };

struct values {
	size_t count;
	uint64_t v[400];
};

static struct float_format format_of(int bits)
{
	return bits == 16 ? FLOAT_FORMAT_16 : bits == 32 ? FLOAT_FORMAT_32 : FLOAT_FORMAT_64;
}

static uint64_t box(int bits, uint64_t v)
{
	return bits == 16 ? float_box16((uint16_t)v) : bits == 32 ? float_box32((uint32_t)v) : v;
}

static uint64_t power_of_two(struct float_format f, int exponent)
{
	return (uint64_t)(exponent + (1 << (f.exponent_bits - 1)) - 1) << f.fraction_bits;
}

static void add_both_signs(struct values *set, struct float_format f, uint64_t v)
{
	set->v[set->count++] = v;
	set->v[set->count++] = v | float_format_sign(f);
}

/* Where results overflow, underflow, tie and change binade: few enough to cross three times. */
static void add_corners(struct values *set, struct float_format f)
{
	uint64_t hidden = UINT64_C(1) << f.fraction_bits, infinity = float_format_infinity(f);
	uint64_t one = power_of_two(f, 0), odd = power_of_two(f, f.fraction_bits);
	const uint64_t corners[] = {
		0, 1, hidden - 1, hidden, hidden + 1,
		one - hidden, one - 1, one, one + 1, one + hidden / 2, one + hidden,
		power_of_two(f, -f.fraction_bits - 1), odd, odd + 1,
		infinity - 1, infinity, infinity + 1, infinity + hidden / 2,
	};
	for (size_t i = 0; i < COUNT(corners); i++)
		add_both_signs(set, f, corners[i]);
}

static void add_neighbours(struct values *set, struct float_format f)
{
	uint64_t hidden = UINT64_C(1) << f.fraction_bits, infinity = float_format_infinity(f);
	uint64_t one = power_of_two(f, 0), odd = power_of_two(f, f.fraction_bits);
	const uint64_t more[] = {
		2, 3, hidden / 2, hidden / 2 + 1, 2 * hidden - 1, 2 * hidden, 2 * hidden + 1,
		one / 2, one / 2 + 1, one - 2, one + 2, one + hidden / 2 - 1, one + hidden / 2 + 1,
		one + hidden - 1, power_of_two(f, -f.fraction_bits), odd - 1, odd + hidden,
		infinity - 2, infinity - hidden, infinity + hidden / 2 - 1, infinity + hidden / 2 + 5,
		infinity + hidden - 1,
	};
	for (size_t i = 0; i < COUNT(more); i++)
		add_both_signs(set, f, more[i]);
}

/* Around each power of two that bounds an integer type, and around halves of small integers. */
static void add_integer_bounds(struct values *set, struct float_format f)
{
	static const int bounds[] = { 7, 8, 10, 11, 15, 16, 30, 31, 32, 62, 63, 64, 65 };
	for (size_t i = 0; i < COUNT(bounds); i++) {
		if (bounds[i] > (1 << (f.exponent_bits - 1)) - 1)
			break;
		for (unsigned ulps = 0; ulps < 3; ulps++)
			add_both_signs(set, f, power_of_two(f, bounds[i]) + ulps - 1);
	}
	for (uint64_t step = 1; step < 32; step++)
		add_both_signs(set, f, power_of_two(f, (int)(step / 8)) + ((step % 8) << (f.fraction_bits - 3)));
	if (f.fraction_bits < 52)
		return;
	/* 2^31 and 2^32 less a quarter, a half and three. */
	for (uint64_t quarters = 1; quarters < 5; quarters++) {
		add_both_signs(set, f, power_of_two(f, 31) - (quarters << 20));
		add_both_signs(set, f, power_of_two(f, 32) - (quarters << 19));
		add_both_signs(set, f, power_of_two(f, 31) + (quarters << 19));
		add_both_signs(set, f, power_of_two(f, 32) + (quarters << 18));
	}
}

static void add_integers(struct values *set)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t power = UINT64_C(1) << bit;
		set->v[set->count++] = power - 1;
		set->v[set->count++] = power + 1;
		set->v[set->count++] = -power;
		set->v[set->count++] = power + (power >> 11) + (power >> 24) + (power >> 53);
		set->v[set->count++] = power + (power >> 1) - (power >> 12) - (power >> 25) - (power >> 54);
	}
}

static uint64_t next_random(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t v = (*state ^ *state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
	return v ^ v >> 31;
}

/* Long runs of equal bits, which tie and carry more often than noise. */
static uint64_t random_runs(uint64_t *state)
{
	uint64_t r = next_random(state);
	uint64_t v = (UINT64_MAX >> (r & 63)) ^ (UINT64_MAX >> (r >> 6 & 63)) ^ (UINT64_MAX >> (r >> 12 & 63));
	return r >> 62 ? v ^ UINT64_C(1) << (r >> 18 & 63) : v;
}

/* Within a few binades of one or, where tininess is decided, of the least normal number. */
static uint64_t random_near_edge(struct float_format f, uint64_t *state)
{
	uint64_t r = next_random(state), hidden = UINT64_C(1) << f.fraction_bits;
	uint64_t field = (r & 1 ? power_of_two(f, -4) : 0) + ((r >> 1 & 7) << f.fraction_bits);
	uint64_t fraction = (r & 16 ? next_random(state) : random_runs(state)) & (hidden - 1);

	return field | fraction | (r & 32 ? float_format_sign(f) : 0);
}

static uint64_t random_value(struct float_format f, const struct values *corners, uint64_t *state)
{
	uint64_t r = next_random(state), mask = 2 * float_format_sign(f) - 1;

	switch (r & 3) {
	case 0:
		return next_random(state) & mask;
	case 1: /* a corner, a few units away */
		return (corners->v[(r >> 8) % corners->count] + (r >> 2 & 7) - 3) & mask;
	default:
		return random_near_edge(f, state);
	}
}

static int operand_count(enum float_shape shape)
{
	static const int counts[] = { [F_F] = 1, [FF_F] = 2, [FFF_F] = 3, [MM_F] = 2, [MM_X] = 2, [M_X] = 1,
				      [F_X32] = 1, [F_X64] = 1, [X_F] = 1, [V_F] = 1 };
	return counts[shape];
}

static void visit_modes(struct float_case c, float_visit *visit, void *context)
{
	const struct float_operation_info *info = &float_operations[c.operation];
	bool rounds = info->shape != MM_F && info->shape != MM_X && info->shape != M_X;

	if (info->shape != X_F) {
		c.a = box(info->bits, c.a);
		c.b = box(info->bits, c.b);
		c.c = box(info->bits, c.c);
	}
	for (c.rounding = FLOAT_RNE; c.rounding <= (rounds ? FLOAT_RMM : FLOAT_RNE); c.rounding++)
		visit(&c, context);
}

static void cross(struct float_case c, const struct values *set, float_visit *visit, void *context)
{
	int operands = operand_count(float_operations[c.operation].shape);

	for (size_t i = 0; i < set->count; i++) {
		c.a = set->v[i];
		for (size_t j = 0; j < (operands > 1 ? set->count : 1); j++) {
			c.b = set->v[j];
			for (size_t k = 0; k < (operands > 2 ? set->count : 1); k++) {
				c.c = set->v[k];
				visit_modes(c, visit, context);
			}
		}
	}
}

/* A third operand that nearly cancels the product of the other two. */
static uint64_t cancelling(struct float_format f, uint64_t a, uint64_t b, uint64_t noise)
{
	unsigned flags = 0;
	struct number product = number_multiply(number_unpack(f, a), number_unpack(f, b));
	return number_pack(f, number_negate(product), FLOAT_RTZ, &flags) + (noise & 3);
}

static void visit_random(struct float_case c, const struct values *corners, unsigned count, float_visit *visit,
			 void *context)
{
	const struct float_operation_info *info = &float_operations[c.operation];
	struct float_format f = format_of(info->bits);
	uint64_t state = c.operation;

	for (unsigned i = 0; i < count; i++) {
		c.a = info->shape == X_F ? random_runs(&state) : random_value(f, corners, &state);
		c.b = random_value(f, corners, &state);
		c.c = random_value(f, corners, &state);
		if (info->shape == FFF_F && i % 3 == 0)
			c.c = cancelling(f, c.a, c.b, next_random(&state));
		visit_modes(c, visit, context);
	}
}

void float_cases_of(enum float_operation operation, unsigned random, float_visit *visit, void *context)
{
	const struct float_operation_info *info = &float_operations[operation];
	struct float_format f = format_of(info->bits);
	struct values set = { .count = 0 };

	if (info->shape == X_F) {
		add_integers(&set);
	} else {
		add_corners(&set, f);
		if (operand_count(info->shape) < 3)
			add_neighbours(&set, f);
		if (operand_count(info->shape) < 2)
			add_integer_bounds(&set, f);
	}
	cross((struct float_case){ .operation = operation }, &set, visit, context);
	visit_random((struct float_case){ .operation = operation }, &set, random, visit, context);
}

#define UNBOX16 float_unbox16
#define UNBOX32 float_unbox32
#define UNBOX64 (uint64_t)
#define BOX16 float_box16
#define BOX32 float_box32
#define BOX64 (uint64_t)
#define A(bits) UNBOX##bits(c->a)
#define B(bits) UNBOX##bits(c->b)
#define C(bits) UNBOX##bits(c->c)
#define PERFORM_F_F(p, name, bits) BOX##bits(p##bits##_##name(A(bits), c->rounding, &flags))
#define PERFORM_FF_F(p, name, bits) BOX##bits(p##bits##_##name(A(bits), B(bits), c->rounding, &flags))
#define PERFORM_FFF_F(p, name, bits) BOX##bits(p##bits##_##name(A(bits), B(bits), C(bits), c->rounding, &flags))
#define PERFORM_MM_F(p, name, bits) BOX##bits(float##bits##_##name(A(bits), B(bits), &flags))
#define PERFORM_MM_X(p, name, bits) float##bits##_##name(A(bits), B(bits), &flags)
#define PERFORM_M_X(p, name, bits) float##bits##_##name(A(bits))
#define PERFORM_F_X32(p, name, bits) (uint64_t)(int32_t)p##bits##_##name(A(bits), c->rounding, &flags)
#define PERFORM_F_X64(p, name, bits) (uint64_t)p##bits##_##name(A(bits), c->rounding, &flags)
#define PERFORM_X_F(p, name, bits) BOX##bits(INTEGER_##name(p##bits##_##name))
#define INTEGER_from_i32(f) f((int32_t)c->a, c->rounding, &flags)
#define INTEGER_from_u32(f) f((uint32_t)c->a, c->rounding, &flags)
#define INTEGER_from_i64(f) f((int64_t)c->a, c->rounding, &flags)
#define INTEGER_from_u64(f) f(c->a, c->rounding, &flags)
#define PERFORM_V_F(p, name, bits) BOX##name(p##bits##_to_##name(A(bits), c->rounding, &flags))

#define FLOAT_CASE(shape, name, bits, mnemonic)                                                              \
	case FLOAT_##bits##_##name:                                                                          \
		value = PERFORM_##shape(float, name, bits);                                                  \
		break;
#define SOFT_CASE(shape, name, bits, mnemonic)                                                               \
	case FLOAT_##bits##_##name:                                                                          \
		value = PERFORM_##shape(soft, name, bits);                                                   \
		break;

struct float_outcome float_perform(const struct float_case *c, unsigned accrued)
{
	unsigned flags = accrued;
	uint64_t value = 0;

	switch (c->operation) {
		FLOAT_OPERATIONS(FLOAT_CASE)
	}
	return (struct float_outcome){ .value = value, .flags = flags };
}

struct float_outcome float_perform_soft(const struct float_case *c, unsigned accrued)
{
	unsigned flags = accrued;
	uint64_t value = 0;

	switch (c->operation) {
		FLOAT_OPERATIONS(SOFT_CASE)
	}
	return (struct float_outcome){ .value = value, .flags = flags };
}

void float_case_print(const struct float_case *c, struct float_outcome expected, struct float_outcome actual)
{
	print_error("%s rm=%" PRIu32 " a=%016" PRIx64 " b=%016" PRIx64 " c=%016" PRIx64
		    ": expected %016" PRIx64 " flags %02" PRIx64 ", got %016" PRIx64 " flags %02" PRIx64 "\n",
		    float_operations[c->operation].mnemonic, c->rounding, c->a, c->b, c->c, expected.value,
		    expected.flags, actual.value, actual.flags);
}
