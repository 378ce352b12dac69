/*
 * What the integer instructions compute, as functions of their operands.
 *
 * semantics.def has one line for each instruction that is INSN_PURE; this header has the helpers its expressions
 * use. Interpreter, translator and constant folding all take the meaning of an instruction from there.
 */
#ifndef DOPPEL_RISCV_SEMANTICS_H
#define DOPPEL_RISCV_SEMANTICS_H

#include <stdint.h>

typedef unsigned __int128 uint128_t;
typedef __int128 int128_t;

/* Sign extension from 32 bits, as the W instructions leave their results. */
static inline uint64_t sem_w(uint64_t v)
{
	return (uint64_t)(int64_t)(int32_t)(uint32_t)v;
}

static inline uint64_t sem_mulhu(uint64_t a, uint64_t b)
{
	return (uint64_t)((uint128_t)a * b >> 64);
}

static inline uint64_t sem_mulh(uint64_t a, uint64_t b)
{
	return (uint64_t)(((int128_t)(int64_t)a * (int64_t)b) >> 64);
}

static inline uint64_t sem_mulhsu(uint64_t a, uint64_t b)
{
	return (uint64_t)(((int128_t)(int64_t)a * (int128_t)b) >> 64);
}

/* Division never traps (Unprivileged 7.2): by zero it gives all ones and the dividend, on overflow the dividend and 0. */
static inline uint64_t sem_div(uint64_t a, uint64_t b)
{
	if (b == 0)
		return UINT64_MAX;
	if (b == UINT64_MAX)
		return 0 - a;
	return (uint64_t)((int64_t)a / (int64_t)b);
}

static inline uint64_t sem_rem(uint64_t a, uint64_t b)
{
	if (b == 0)
		return a;
	if (b == UINT64_MAX)
		return 0;
	return (uint64_t)((int64_t)a % (int64_t)b);
}

static inline uint64_t sem_divu(uint64_t a, uint64_t b)
{
	return b ? a / b : UINT64_MAX;
}

static inline uint64_t sem_remu(uint64_t a, uint64_t b)
{
	return b ? a % b : a;
}

static inline uint64_t sem_rol(uint64_t a, uint64_t b)
{
	return a << (b & 63) | a >> (-b & 63);
}

static inline uint64_t sem_ror(uint64_t a, uint64_t b)
{
	return a >> (b & 63) | a << (-b & 63);
}

static inline uint64_t sem_rolw(uint64_t a, uint64_t b)
{
	return sem_w((uint32_t)a << (b & 31) | (uint32_t)a >> (-b & 31));
}

static inline uint64_t sem_rorw(uint64_t a, uint64_t b)
{
	return sem_w((uint32_t)a >> (b & 31) | (uint32_t)a << (-b & 31));
}

static inline uint64_t sem_clz(uint64_t a)
{
	return a ? (uint64_t)__builtin_clzll(a) : 64;
}

static inline uint64_t sem_clzw(uint64_t a)
{
	return (uint32_t)a ? (uint64_t)__builtin_clz((uint32_t)a) : 32;
}

static inline uint64_t sem_ctz(uint64_t a)
{
	return a ? (uint64_t)__builtin_ctzll(a) : 64;
}

static inline uint64_t sem_ctzw(uint64_t a)
{
	return (uint32_t)a ? (uint64_t)__builtin_ctz((uint32_t)a) : 32;
}

/* Each byte that is not zero becomes 0xff. */
static inline uint64_t sem_orc_b(uint64_t a)
{
	uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
	uint64_t set = (((a & low) + low) | a) & ~low;

	return (set >> 7) * 0xff;
}

static inline uint128_t sem_clmul_full(uint64_t a, uint64_t b)
{
	uint128_t sum = 0;

	for (unsigned i = 0; i < 64; i++)
		if (b >> i & 1)
			sum ^= (uint128_t)a << i;
	return sum;
}

#endif
