/*
 * Harts without devices under any engine, and the few instruction words that their tests are written in.
 */
#ifndef TEST_ENGINE_BENCH_H
#define TEST_ENGINE_BENCH_H

#include "engine/engine.h"
#include "riscv/hart.h"

#define BENCH_RAM   UINT64_C(0x80000000)
#define BENCH_SIZE  (8 * MIB)
#define BENCH_HARTS 2

struct bench {
	struct memory memory;
	struct bus bus;
	struct clock clock;
	struct hart_cluster cluster;
	struct hart *hart[BENCH_HARTS];
	struct engine_vcpu *vcpu[BENCH_HARTS];
	const struct engine *engine;
	unsigned count; /* of harts */
};

/* Harts in M-mode at the start of RAM, floating point on, with PMP open to all modes. */
struct bench *bench_new(const struct engine *engine);
/* With this much room for translated code. */
struct bench *bench_new_with(const struct engine *engine, uint64_t code_cache);
/* The first hart alone. */
struct bench *bench_new_alone(const struct engine *engine);
void bench_free(struct bench *b);
void bench_write(struct bench *b, uint64_t address, const uint32_t *words, unsigned count);
void bench_write64(struct bench *b, uint64_t address, uint64_t value);
uint64_t bench_read64(struct bench *b, uint64_t address);
/* Runs hart `index`; 0 is no limit. */
enum engine_exit_reason bench_run(struct bench *b, unsigned index, uint64_t limit);
/* Sets pc and wakes the hart from a wfi, and tells the engine nothing: both may change between two runs. */
void bench_go(struct bench *b, unsigned index, uint64_t pc);

/* The instructions that the tests need. */
enum { WFI = 0x10500073, FENCE_I = 0x100f, RET = 0x8067, MRET = 0x30200073, NO_INSTRUCTION = 0 };
static inline uint32_t op_i(uint32_t match, unsigned rd, unsigned rs1, int32_t imm)
{
	return match | rd << 7 | rs1 << 15 | (uint32_t)imm << 20;
}
static inline uint32_t op_addi(unsigned rd, unsigned rs1, int32_t imm)
{
	return op_i(0x13, rd, rs1, imm);
}
static inline uint32_t op_add(unsigned rd, unsigned rs1, unsigned rs2)
{
	return 0x33 | rd << 7 | rs1 << 15 | rs2 << 20;
}
static inline uint32_t op_xor(unsigned rd, unsigned rs1, unsigned rs2)
{
	return 0x4033 | rd << 7 | rs1 << 15 | rs2 << 20;
}
static inline uint32_t op_ld(unsigned rd, unsigned rs1, int32_t imm)
{
	return op_i(0x3003, rd, rs1, imm);
}
/* sw and sd without an offset. */
static inline uint32_t op_sw(unsigned rs2, unsigned rs1)
{
	return 0x2023 | rs1 << 15 | rs2 << 20;
}
static inline uint32_t op_sd(unsigned rs2, unsigned rs1)
{
	return 0x3023 | rs1 << 15 | rs2 << 20;
}
static inline uint32_t op_csrw(unsigned csr, unsigned rs1)
{
	return 0x1073 | rs1 << 15 | csr << 20;
}
static inline uint32_t op_csrr(unsigned rd, unsigned csr)
{
	return 0x2073 | rd << 7 | csr << 20;
}
static inline uint32_t op_jal(unsigned rd, int32_t offset)
{
	uint32_t o = (uint32_t)offset;

	return 0x6f | rd << 7 | (o >> 20 & 1) << 31 | (o >> 1 & 0x3ff) << 21 | (o >> 11 & 1) << 20 | (o & 0xff000);
}
static inline uint32_t op_bne(unsigned rs1, unsigned rs2, int32_t offset)
{
	uint32_t o = (uint32_t)offset;

	return 0x1063 | rs1 << 15 | rs2 << 20 | (o >> 12 & 1) << 31 | (o >> 5 & 63) << 25 | (o >> 1 & 15) << 8 |
	       (o >> 11 & 1) << 7;
}

#endif
