/* The assembler's code run on this host: small functions of two integers or two doubles, compared with C. */
#include <fenv.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "engine/translate/cache.h"
#include "engine/translate/x64.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LL(value)    ((unsigned long long)(value))

#ifdef __x86_64__

#define ROOM 4096u

/* One cache for all tests; each function is a piece of it. */
static struct code_cache *cache;

/* The System V calling convention: arguments in rdi, rsi, xmm0, xmm1; results in rax, xmm0. */
typedef uint64_t integer_fn(uint64_t x, uint64_t y);
typedef double double_fn(double x, double y);

static struct x64 open_piece(void)
{
	const uint8_t *executable;
	uint8_t *writable;

	code_cache_move(cache, 0, CODE_CACHE_MIN);
	assert_true(code_cache_begin(cache, ROOM, &writable, &executable));
	return x64_begin(writable, ROOM, executable);
}

/* Ends the piece and returns its address to be called at. */
static const uint8_t *close_piece(struct x64 *a)
{
	const uint8_t *start = a->end - ROOM;

	assert_false(a->overflow);
	code_cache_end(cache, (size_t)(a->at - start));
	return code_cache_exec(cache, start);
}

static integer_fn *integer_code(struct x64 *a)
{
	const uint8_t *code = close_piece(a);
	integer_fn *fn;

	memcpy(&fn, &code, sizeof(fn));
	return fn;
}

static double_fn *double_code(struct x64 *a)
{
	const uint8_t *code = close_piece(a);
	double_fn *fn;

	memcpy(&fn, &code, sizeof(fn));
	return fn;
}

/* ---- Integer functions: emitted code with the result in rax, and the same in C ---- */

struct integer_case {
	const char *name;
	void (*emit)(struct x64 *a);
	uint64_t (*model)(uint64_t x, uint64_t y);
	const char *feature;
};

#define INTEGER(name, code, result)                                                                               \
	static void emit_##name(struct x64 *a)                                                                    \
	{                                                                                                         \
		code;                                                                                             \
		x64_ret(a);                                                                                       \
	}                                                                                                         \
	static uint64_t model_##name(uint64_t x, uint64_t y)                                                      \
	{                                                                                                         \
		(void)x;                                                                                          \
		(void)y;                                                                                          \
		return (uint64_t)(result);                                                                        \
	}

#define X    X64_RDI
#define Y    X64_RSI
#define R    X64_RAX
#define MOVE x64_mov_rr(a, 8, R, X)

INTEGER(add64, MOVE; x64_alu_rr(a, X64_ADD, 8, R, Y), x + y)
INTEGER(sub32, MOVE; x64_alu_rr(a, X64_SUB, 4, R, Y), (uint32_t)(x - y))
INTEGER(xor8, MOVE; x64_alu_rr(a, X64_XOR, 1, R, Y), x ^ (y & 0xff))
INTEGER(or_imm, MOVE; x64_alu_ri(a, X64_OR, 8, R, INT32_MIN), x | UINT64_C(0xffffffff80000000))
INTEGER(and_imm16, MOVE; x64_alu_ri(a, X64_AND, 2, R, 0x1234), x &(~UINT64_C(0xffff) | 0x1234))
INTEGER(carry, MOVE; x64_alu_rr(a, X64_ADD, 8, R, Y); x64_mov_ri(a, R, 5);
	x64_alu_ri(a, X64_ADC, 8, R, 0), 5 + (x + y < x))
INTEGER(borrow, x64_alu_rr(a, X64_CMP, 8, X, Y); x64_alu_rr(a, X64_SBB, 8, R, R), x < y ? UINT64_MAX : 0)
INTEGER(neg16, MOVE; x64_neg(a, 2, R), (x & ~UINT64_C(0xffff)) | (uint16_t)-x)
INTEGER(not32, MOVE; x64_not(a, 4, R), (uint32_t)~x)
INTEGER(imul64, MOVE; x64_imul_rr(a, 8, R, Y), x *y)
INTEGER(imul_imm, x64_imul_rri(a, 4, R, X, -7), (uint32_t)(x *(uint32_t)-7))
INTEGER(mul_high, MOVE; x64_mul(a, 8, Y); x64_mov_rr(a, 8, R, X64_RDX), (unsigned __int128)x *y >> 64)
INTEGER(imul_high, MOVE; x64_imul1(a, 8, Y); x64_mov_rr(a, 8, R, X64_RDX), (__int128)(int64_t)x *(int64_t)y >> 64)
INTEGER(divide, MOVE; x64_zero(a, X64_RDX); x64_alu_ri(a, X64_OR, 8, Y, 1); x64_div(a, 8, Y), x / (y | 1))
INTEGER(remainder32, MOVE; x64_cdq(a); x64_alu_ri(a, X64_OR, 4, Y, 2); x64_alu_ri(a, X64_AND, 4, Y, 0xff);
	x64_idiv(a, 4, Y); x64_movsx_rr(a, 4, R, X64_RDX), (int32_t)x % ((int32_t)(y | 2) & 0xff))
INTEGER(sign, MOVE; x64_cqo(a); x64_mov_rr(a, 8, R, X64_RDX), (int64_t)x < 0 ? UINT64_MAX : 0)
INTEGER(constant, x64_mov_ri(a, R, 0x123456789abcdef0), 0x123456789abcdef0)
INTEGER(constant_negative, x64_mov_ri(a, R, UINT64_C(0xffffffff80000001)), UINT64_C(0xffffffff80000001))
INTEGER(constant_half, x64_mov_ri(a, R, 0x80000001), 0x80000001)
INTEGER(sx8, x64_movsx_rr(a, 1, R, Y), (int64_t)(int8_t)y)
INTEGER(sx16, x64_movsx_rr(a, 2, R, Y), (int64_t)(int16_t)y)
INTEGER(sx32, x64_movsx_rr(a, 4, R, Y), (int64_t)(int32_t)y)
INTEGER(zx8, x64_movzx_rr(a, 1, R, Y), (uint8_t)y)
INTEGER(zx32, x64_movzx_rr(a, 4, R, Y), (uint32_t)y)
INTEGER(lea_sum, x64_lea(a, 8, R, x64_at_index(X, Y, 4, -3)), x + 4 * y - 3)
INTEGER(lea_double, x64_lea(a, 8, R, x64_at_index(X64_NONE, X, 2, 1)), 2 * x + 1)
INTEGER(shl, MOVE; x64_shift_ri(a, X64_SHL, 8, R, 13), x << 13)
INTEGER(sar32, MOVE; x64_shift_ri(a, X64_SAR, 4, R, 1), (uint32_t)((int32_t)x >> 1))
INTEGER(ror_by_cl, MOVE; x64_mov_rr(a, 4, X64_RCX, Y);
	x64_shift_rcl(a, X64_ROR, 8, R), x >> (y & 63) | x << (-y & 63))
INTEGER(shlx, x64_shiftx(a, X64_SHL, 8, R, X, Y), x << (y & 63))
INTEGER(shrx, x64_shiftx(a, X64_SHR, 4, R, X, Y), (uint32_t)x >> (y & 31))
INTEGER(sarx, x64_shiftx(a, X64_SAR, 8, R, X, Y), (int64_t)x >> (y & 63))
INTEGER(rorx, x64_rorx(a, 4, R, X, 9), (uint32_t)x >> 9 | (uint32_t)x << 23)
INTEGER(andn, x64_andn(a, 8, R, X, Y), ~x &y)
INTEGER(bswap, MOVE; x64_bswap(a, 8, R), __builtin_bswap64(x))
INTEGER(lzcnt, x64_lzcnt(a, 8, R, X), x ? __builtin_clzll(x) : 64)
INTEGER(tzcnt, x64_tzcnt(a, 4, R, X), (uint32_t)x ? __builtin_ctz((uint32_t)x) : 32)
INTEGER(popcnt, x64_popcnt(a, 8, R, X), __builtin_popcountll(x))
INTEGER(bts, MOVE; x64_bit_rr(a, X64_BTS, 8, R, Y), x | UINT64_C(1) << (y & 63))
INTEGER(btr, MOVE; x64_bit_ri(a, X64_BTR, 8, R, 33), x & ~(UINT64_C(1) << 33))
INTEGER(btc, MOVE; x64_bit_rr(a, X64_BTC, 4, R, Y), (uint32_t)x ^ UINT32_C(1) << (y & 31))
INTEGER(bit_to_byte, x64_zero(a, R); x64_bit_rr(a, X64_BT, 8, X, Y); x64_setcc(a, X64_C, R), x >> (y & 63) & 1)
INTEGER(less, x64_zero(a, R); x64_alu_rr(a, X64_CMP, 8, X, Y); x64_setcc(a, X64_L, R), (int64_t)x < (int64_t)y)
INTEGER(max, MOVE; x64_alu_rr(a, X64_CMP, 8, R, Y); x64_cmov(a, X64_B, 8, R, Y), x > y ? x : y)
INTEGER(test_bit, MOVE; x64_test_ri(a, 8, X, 0x40); x64_cmov(a, X64_Z, 8, R, Y), x & 0x40 ? x : y)
INTEGER(stack, x64_push_r(a, X); x64_push_i(a, -9); x64_alu_rm(a, X64_ADD, 8, Y, x64_at(X64_RSP, 8));
	x64_pop_r(a, R); x64_alu_rr(a, X64_ADD, 8, R, Y); x64_pop_r(a, X64_RCX), x + y - 9)
INTEGER(memory, x64_store(a, 8, x64_at(X64_RSP, -8), X); x64_store_i(a, 1, x64_at(X64_RSP, -7), 0x5a);
	x64_alu_mr(a, X64_XOR, 2, x64_at(X64_RSP, -4), Y);
	x64_load(a, 8, R, x64_at(X64_RSP, -8)), ((x & ~UINT64_C(0xff00)) | 0x5a00) ^ (y & 0xffff) << 32)
INTEGER(load_sign, x64_push_r(a, X); x64_load_sx(a, 2, R, x64_at(X64_RSP, 2));
	x64_pop_r(a, X), (int64_t)(int16_t)(x >> 16))
INTEGER(xchg, x64_push_r(a, X); x64_xchg_mr(a, 8, x64_at(X64_RSP, 0), Y); x64_pop_r(a, R);
	x64_alu_rr(a, X64_SUB, 8, R, Y), y - x)
INTEGER(xadd, x64_push_r(a, X); x64_lock_xadd(a, 4, x64_at(X64_RSP, 0), Y); x64_pop_r(a, R);
	x64_alu_rr(a, X64_XOR, 8, R, Y), ((x >> 32 << 32) | (uint32_t)(x + y)) ^ (uint32_t)x)
INTEGER(cmpxchg, x64_push_r(a, X); x64_mov_rr(a, 8, R, Y); x64_mov_ri(a, X64_RDX, 77);
	x64_lock_cmpxchg(a, 8, x64_at(X64_RSP, 0), X64_RDX); x64_pop_r(a, X64_RDX);
	x64_alu_rr(a, X64_ADD, 8, R, X64_RDX), x == y ? x + 77 : 2 * x)
INTEGER(lock_or, x64_push_r(a, X); x64_lock_alu_mr(a, X64_OR, 8, x64_at(X64_RSP, 0), Y); x64_mfence(a);
	x64_pop_r(a, R), x | y)
INTEGER(through_vector, x64_movq_xr(a, X64_XMM9, X); x64_fmov_rr(a, X64_XMM3, X64_XMM9);
	x64_movq_rx(a, R, X64_XMM3), x)
INTEGER(through_half_vector, x64_movd_xr(a, X64_XMM1, Y); x64_movd_rx(a, R, X64_XMM1), (uint32_t)y)

static uint64_t carryless(uint64_t x, uint64_t y)
{
	uint64_t product = 0;

	for (unsigned int i = 0; i < 64; i++)
		product ^= y >> i & 1 ? x << i : 0;
	return product;
}

INTEGER(clmul, x64_movq_xr(a, X64_XMM8, X); x64_movq_xr(a, X64_XMM1, Y); x64_pclmulqdq(a, X64_XMM8, X64_XMM1, 0);
	x64_movq_rx(a, R, X64_XMM8), carryless(x, y))
INTEGER(bytes_equal, x64_movq_xr(a, X64_XMM0, X); x64_movq_xr(a, X64_XMM1, Y);
	x64_pcmpeq(a, 8, X64_XMM0, X64_XMM1); x64_movq_rx(a, R, X64_XMM0), x == y ? UINT64_MAX : 0)

#undef MOVE

#define ROW(name)                                                                                                 \
	{                                                                                                         \
#name, emit_##name, model_##name, NULL                                                            \
	}
#define ROW_IF(name, feature)                                                                                     \
	{                                                                                                         \
#name, emit_##name, model_##name, feature                                                         \
	}

static const struct integer_case integer_cases[] = {
	ROW(add64),
	ROW(sub32),
	ROW(xor8),
	ROW(or_imm),
	ROW(and_imm16),
	ROW(carry),
	ROW(borrow),
	ROW(neg16),
	ROW(not32),
	ROW(imul64),
	ROW(imul_imm),
	ROW(mul_high),
	ROW(imul_high),
	ROW(divide),
	ROW(remainder32),
	ROW(sign),
	ROW(constant),
	ROW(constant_negative),
	ROW(constant_half),
	ROW(sx8),
	ROW(sx16),
	ROW(sx32),
	ROW(zx8),
	ROW(zx32),
	ROW(lea_sum),
	ROW(lea_double),
	ROW(shl),
	ROW(sar32),
	ROW(ror_by_cl),
	ROW_IF(shlx, "bmi2"),
	ROW_IF(shrx, "bmi2"),
	ROW_IF(sarx, "bmi2"),
	ROW_IF(rorx, "bmi2"),
	ROW_IF(andn, "bmi"),
	ROW(bswap),
	ROW_IF(lzcnt, "bmi2"),
	ROW_IF(tzcnt, "bmi"),
	ROW_IF(popcnt, "popcnt"),
	ROW(bts),
	ROW(btr),
	ROW(btc),
	ROW(bit_to_byte),
	ROW(less),
	ROW(max),
	ROW(test_bit),
	ROW(stack),
	ROW(memory),
	ROW(load_sign),
	ROW(xchg),
	ROW(xadd),
	ROW(cmpxchg),
	ROW(lock_or),
	ROW(through_vector),
	ROW(through_half_vector),
	ROW_IF(clmul, "pclmul"),
	ROW_IF(bytes_equal, "sse4.1"),
};

/* The builtin wants a literal. Hosts with BMI2 have LZCNT. */
static bool host_has(const char *feature)
{
	__builtin_cpu_init();
	if (!feature)
		return true;
	return (strcmp(feature, "bmi") == 0 && __builtin_cpu_supports("bmi")) ||
	       (strcmp(feature, "bmi2") == 0 && __builtin_cpu_supports("bmi2")) ||
	       (strcmp(feature, "popcnt") == 0 && __builtin_cpu_supports("popcnt")) ||
	       (strcmp(feature, "pclmul") == 0 && __builtin_cpu_supports("pclmul")) ||
	       (strcmp(feature, "sse4.1") == 0 && __builtin_cpu_supports("sse4.1")) ||
	       (strcmp(feature, "fma") == 0 && __builtin_cpu_supports("fma"));
}

static const uint64_t operands[] = {0,
				    1,
				    2,
				    63,
				    0x40,
				    0x7f,
				    0x80,
				    0x8000,
				    0xffff,
				    0x7fffffff,
				    0x80000000,
				    0xffffffff,
				    0x100000000,
				    UINT64_C(0x8000000000000000),
				    INT64_MAX,
				    UINT64_MAX,
				    0x123456789abcdef0,
				    UINT64_C(0xfedcba9876543210)};

static void test_integers(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(integer_cases); i++) {
		const struct integer_case *c = &integer_cases[i];

		if (!host_has(c->feature)) {
			print_message("%s skipped: this host lacks %s\n", c->name, c->feature);
			continue;
		}
		struct x64 a = open_piece();

		c->emit(&a);
		integer_fn *fn = integer_code(&a);

		for (size_t n = 0; n < COUNT(operands) * COUNT(operands); n++) {
			uint64_t x = operands[n % COUNT(operands)], y = operands[n / COUNT(operands)];
			uint64_t got = fn(x, y), wanted = c->model(x, y);

			if (got != wanted)
				fail_msg("%s(%llx, %llx) is %llx, wanted %llx", c->name, LL(x), LL(y), LL(got),
					 LL(wanted));
		}
	}
}

/* ---- Floats ---- */

struct double_case {
	const char *name;
	void (*emit)(struct x64 *a);
	double (*model)(double x, double y);
	const char *feature;
};

#define DOUBLE(name, code, result)                                                                                \
	static void emit_##name(struct x64 *a)                                                                    \
	{                                                                                                         \
		code;                                                                                             \
		x64_ret(a);                                                                                       \
	}                                                                                                         \
	static double model_##name(double x, double y)                                                            \
	{                                                                                                         \
		(void)x;                                                                                          \
		(void)y;                                                                                          \
		return (double)(result);                                                                          \
	}

#define FX X64_XMM0
#define FY X64_XMM1

DOUBLE(fadd, x64_farith(a, X64_FADD, 8, FX, FY), x + y)
DOUBLE(fsub, x64_farith(a, X64_FSUB, 8, FX, FY), x - y)
DOUBLE(fmul, x64_farith(a, X64_FMUL, 8, FX, FY), x *y)
DOUBLE(fdiv, x64_farith(a, X64_FDIV, 8, FX, FY), x / y)
DOUBLE(fsub3, x64_farith3(a, X64_FSUB, 8, X64_XMM9, FX, FY); x64_fmov_rr(a, FX, X64_XMM9), x - y)
DOUBLE(fsqrt, x64_farith(a, X64_FSQRT, 8, FX, FY), sqrt(y))
DOUBLE(fmin, x64_farith(a, X64_FMIN, 8, FX, FY), x < y ? x : y)
DOUBLE(fmax, x64_farith(a, X64_FMAX, 8, FX, FY), x > y ? x : y)
DOUBLE(single, x64_cvtsd2ss(a, FX, FX); x64_cvtsd2ss(a, FY, FY); x64_farith(a, X64_FMUL, 4, FX, FY);
       x64_cvtss2sd(a, FX, FX), (float)x *(float)y)
DOUBLE(fabs_, x64_mov_ri(a, R, INT64_MAX); x64_movq_xr(a, X64_XMM7, R);
       x64_flogic(a, X64_FAND, FX, X64_XMM7), fabs(x))
DOUBLE(copysign_, x64_mov_ri(a, R, UINT64_C(1) << 63); x64_movq_xr(a, X64_XMM15, R);
       x64_fmov_rr(a, X64_XMM2, X64_XMM15); x64_flogic(a, X64_FANDN, X64_XMM2, FX);
       x64_flogic(a, X64_FAND, X64_XMM15, FY); x64_flogic(a, X64_FOR, X64_XMM2, X64_XMM15);
       x64_fmov_rr(a, FX, X64_XMM2), copysign(x, y))
DOUBLE(memory_operand, x64_fstore(a, 8, x64_at(X64_RSP, -8), FY);
       x64_farith_m(a, X64_FADD, 8, FX, x64_at(X64_RSP, -8)); x64_fload(a, 8, X64_XMM4, x64_at(X64_RSP, -8));
       x64_farith(a, X64_FADD, 8, FX, X64_XMM4), x + y + y)
DOUBLE(from_integer, x64_mov_ri(a, R, UINT64_MAX - 4); x64_cvtsi2f(a, 8, 8, FX, R), -5)
DOUBLE(floor_, x64_roundsd(a, FX, FX, X64_ROUND_DOWN), floor(x))
DOUBLE(trunc_, x64_roundsd(a, FX, FX, X64_ROUND_ZERO | X64_ROUND_QUIET), trunc(x))
DOUBLE(fma132, x64_fmov_rr(a, X64_XMM2, FX); x64_fma(a, X64_FMADD, X64_FMA132, 8, FX, FY, X64_XMM2), fma(x, x, y))
DOUBLE(fma213, x64_fmov_rr(a, X64_XMM2, FX); x64_fma(a, X64_FMSUB, X64_FMA213, 8, FX, FY, X64_XMM2), fma(x, y, -x))
DOUBLE(fma231, x64_fma(a, X64_FNMADD, X64_FMA231, 8, FX, FY, FY), fma(-y, y, x))
DOUBLE(fnmsub, x64_fma(a, X64_FNMSUB, X64_FMA231, 8, FX, FY, FY), fma(-y, y, -x))

static const struct double_case double_cases[] = {
	ROW(fadd),
	ROW(fsub),
	ROW(fmul),
	ROW(fdiv),
	ROW_IF(fsub3, "avx"),
	ROW(fsqrt),
	ROW(fmin),
	ROW(fmax),
	ROW(single),
	ROW(fabs_),
	ROW(copysign_),
	ROW(memory_operand),
	ROW(from_integer),
	ROW_IF(floor_, "sse4.1"),
	ROW_IF(trunc_, "sse4.1"),
	ROW_IF(fma132, "fma"),
	ROW_IF(fma213, "fma"),
	ROW_IF(fma231, "fma"),
	ROW_IF(fnmsub, "fma"),
};

static const double doubles[] = {0.0,  -0.0,   1.0,      -1.5,     0.1,       1e300,
				 -1e9, 1e-300, 0x1p-149, INFINITY, -INFINITY, 123456789.123};

/* Equal bits, or both NaN. */
static bool same(double x, double y)
{
	return memcmp(&x, &y, sizeof(x)) == 0 || (isnan(x) && isnan(y));
}

static void test_doubles(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(double_cases); i++) {
		const struct double_case *c = &double_cases[i];

		if (!host_has(c->feature)) {
			print_message("%s skipped: this host lacks %s\n", c->name, c->feature);
			continue;
		}
		struct x64 a = open_piece();

		c->emit(&a);
		double_fn *fn = double_code(&a);

		for (size_t n = 0; n < COUNT(doubles) * COUNT(doubles); n++) {
			double x = doubles[n % COUNT(doubles)], y = doubles[n / COUNT(doubles)];
			double got = fn(x, y), wanted = c->model(x, y);

			if (!same(got, wanted))
				fail_msg("%s(%a, %a) is %a, wanted %a", c->name, x, y, got, wanted);
		}
	}
}

static void test_mxcsr(void **state)
{
	struct x64 a = open_piece();
	(void)state;

	/* Rounds 1.5 * x upward: MXCSR's rounding field set to 2, and the old value restored. */
	x64_stmxcsr(&a, x64_at(X64_RSP, -4));
	x64_load(&a, 4, X64_RAX, x64_at(X64_RSP, -4));
	x64_alu_ri(&a, X64_OR, 4, X64_RAX, 0x4000);
	x64_store(&a, 4, x64_at(X64_RSP, -8), X64_RAX);
	x64_ldmxcsr(&a, x64_at(X64_RSP, -8));
	x64_cvtf2si(&a, 8, 8, X64_RAX, X64_XMM0);
	x64_cvttf2si(&a, 8, 4, X64_RCX, X64_XMM0);
	x64_ldmxcsr(&a, x64_at(X64_RSP, -4));
	x64_alu_rr(&a, X64_ADD, 8, X64_RAX, X64_RCX);
	x64_cvtsi2f(&a, 4, 8, X64_XMM0, X64_RAX);
	x64_ret(&a);
	double_fn *fn = double_code(&a);

	assert_true(same(fn(2.25, 0), 5.0));
	assert_int_equal(fegetround(), FE_TONEAREST);
}

static void test_comparison(void **state)
{
	static const double values[] = {0.0, 1.0, -1.0, INFINITY, NAN};
	struct x64 a = open_piece();
	(void)state;

	/* ucomisd: "above" is an ordered comparison. */
	x64_zero(&a, X64_RAX);
	x64_ucomi(&a, 8, X64_XMM0, X64_XMM1);
	x64_setcc(&a, X64_A, X64_RAX);
	x64_cvtsi2f(&a, 4, 8, X64_XMM0, X64_RAX);
	x64_ret(&a);
	double_fn *fn = double_code(&a);

	for (size_t n = 0; n < COUNT(values) * COUNT(values); n++) {
		double x = values[n % COUNT(values)], y = values[n / COUNT(values)];

		if (fn(x, y) != (x > y ? 1.0 : 0.0))
			fail_msg("%a > %a is %a", x, y, fn(x, y));
	}
}

/* ---- Control ---- */

/* A loop backward, a jump out of it forward: the sum of 1 to x, at most y of them. */
static void test_loop(void **state)
{
	struct x64 a = open_piece();
	(void)state;

	x64_zero(&a, X64_RAX);
	const void *top = x64_here(&a);

	x64_test_rr(&a, 8, X64_RSI, X64_RSI);
	uint8_t *out = x64_jcc_forward(&a, X64_Z);

	x64_alu_ri(&a, X64_SUB, 8, X64_RSI, 1);
	x64_alu_rr(&a, X64_ADD, 8, X64_RAX, X64_RDI);
	x64_alu_ri(&a, X64_SUB, 8, X64_RDI, 1);
	uint8_t *done = x64_jcc_forward8(&a, X64_Z);

	x64_jmp_rel32(&a, top);
	x64_patch_here(&a, out);
	x64_patch_here8(&a, done);
	x64_ret(&a);
	integer_fn *fn = integer_code(&a);

	assert_int_equal(fn(10, 100), 55);
	assert_int_equal(fn(10, 2), 19);
	assert_int_equal(fn(10, 0), 0);
}

static uint64_t product(uint64_t x, uint64_t y)
{
	return x * y;
}

/* Called as a known address and through a register; a register the callee keeps is kept. */
static void test_calls_of_c(void **state)
{
	uint64_t (*c_function)(uint64_t, uint64_t) = product;
	struct x64 a = open_piece();
	const void *target;
	(void)state;

	memcpy(&target, &c_function, sizeof(target));
	x64_push_r(&a, X64_RBX);
	x64_mov_rr(&a, 8, X64_RBX, X64_RDI);
	x64_call_rel32(&a, target);
	x64_lea_rip(&a, X64_RCX, target);
	x64_mov_rr(&a, 8, X64_RDI, X64_RAX);
	x64_mov_ri(&a, X64_RSI, 2);
	x64_call_r(&a, X64_RCX);
	x64_alu_rr(&a, X64_ADD, 8, X64_RAX, X64_RBX);
	x64_pop_r(&a, X64_RBX);
	x64_ret(&a);
	assert_int_equal(integer_code(&a)(6, 7), 6 * 7 * 2 + 6);
}

/* Branches to a target beyond 2 GiB take the indirect form. */
static void test_far_branches(void **state)
{
	uint64_t (*c_function)(uint64_t, uint64_t) = product;
	const void *target;
	struct x64 near = open_piece(), a;
	(void)state;

	/* The copy is written here and claims to run 16 GiB away, which makes the target far; then it runs here. */
	memcpy(&target, &c_function, sizeof(target));
	a = x64_begin(near.at, ROOM, (const uint8_t *)x64_here(&near) + (UINT64_C(1) << 34));
	x64_alu_ri(&a, X64_SUB, 8, X64_RSP, 8);
	x64_call_rel32(&a, target);
	x64_alu_ri(&a, X64_ADD, 8, X64_RSP, 8);
	x64_alu_ri(&a, X64_CMP, 8, X64_RAX, 100);
	x64_mov_rr(&a, 8, X64_RDI, X64_RAX);
	x64_mov_ri(&a, X64_RSI, 3);
	x64_jcc_rel32(&a, X64_A, target);
	x64_mov_ri(&a, X64_RSI, 5);
	x64_jmp_rel32(&a, target);
	near.at = a.at;
	integer_fn *fn = integer_code(&near);

	assert_int_equal(fn(6, 7), 42 * 5);
	assert_int_equal(fn(60, 7), 420 * 3);
}

static void test_patching(void **state)
{
	struct x64 a = open_piece();
	uint8_t *places[3], *seven;
	(void)state;

	x64_nop(&a, 3);
	x64_mov_ri(&a, X64_RAX, 1);
	places[0] = x64_jmp_patchable(&a);
	x64_alu_ri(&a, X64_CMP, 4, X64_RDI, 5);
	places[1] = x64_jcc_patchable(&a, X64_E);
	x64_ret(&a);
	x64_align(&a, 32);
	assert_int_equal((uintptr_t)x64_here(&a) % 32, 0);
	seven = a.at;
	x64_mov_ri(&a, X64_RAX, 7);
	x64_ret(&a);
	places[2] = x64_call_patchable(&a);
	integer_fn *fn = integer_code(&a);

	for (size_t i = 0; i < COUNT(places); i++) {
		assert_int_equal((uintptr_t)places[i] % 4, 0);
		assert_ptr_equal(x64_patched(places[i]), places[i] + 4);
	}
	assert_int_equal(fn(4, 0), 1);
	x64_patch(places[1], seven);
	assert_ptr_equal(x64_patched(places[1]), seven);
	assert_int_equal(fn(4, 0), 1);
	assert_int_equal(fn(5, 0), 7);
	x64_patch(places[0], seven);
	assert_int_equal(fn(4, 0), 7);
	x64_patch(places[0], places[0] + 4);
	assert_int_equal(fn(4, 0), 1);
}

#endif

/* Whatever the room, nothing is written behind it, and what was emitted before stays whole. */
static void test_overflow(void **state)
{
	(void)state;
	for (size_t room = 0; room < 40; room++) {
		uint8_t *bytes = aligned_alloc(64, 64);

		assert_non_null(bytes);
		memset(bytes, 0xee, 64);
		struct x64 a = x64_begin(bytes, room, bytes);
		uint8_t *forward = x64_jmp_forward(&a);

		x64_mov_ri(&a, X64_R9, 0x123456789abcdef0);
		x64_call_rel32(&a, bytes - (INT64_C(1) << 40));
		x64_nop(&a, 3);
		x64_ret(&a);
		x64_patch_here(&a, forward);
		for (size_t i = room; i < 64; i++)
			assert_int_equal(bytes[i], 0xee);
		assert_int_equal(a.overflow, room < 5 + 10 + 16 + 3 + 1);
		assert_true(a.at <= a.end);
		free(bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef __x86_64__
		cmocka_unit_test(test_integers),     cmocka_unit_test(test_doubles),
		cmocka_unit_test(test_mxcsr),        cmocka_unit_test(test_comparison),
		cmocka_unit_test(test_loop),         cmocka_unit_test(test_calls_of_c),
		cmocka_unit_test(test_far_branches), cmocka_unit_test(test_patching),
#endif
		cmocka_unit_test(test_overflow),
	};

#ifdef __x86_64__
	struct error e = {0};

	cache = code_cache_new(CODE_CACHE_MIN, &e);
	if (!cache)
		fail_msg("%s", e.message);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	code_cache_free(cache);
	return failed;
#else
	return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
