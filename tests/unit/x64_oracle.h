/*
 * What the assembler wrote against what another program reads: the test says after each instruction how it is
 * written in Intel's syntax, and in the end objdump must read the same text at the same offset, and GNU as must not
 * find a shorter encoding.
 */
#ifndef DOPPEL_TESTS_X64_ORACLE_H
#define DOPPEL_TESTS_X64_ORACLE_H

#include "base/error.h"
#include "engine/translate/x64.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LL(value)    ((unsigned long long)(value))

#define EACH_REG(name) for (enum x64_reg name = X64_RAX; name <= X64_R15; name++)
#define EACH_XMM(name) for (enum x64_xmm name = X64_XMM0; name <= X64_XMM15; name++)
#define EACH_CC(name)  for (enum x64_cc name = X64_O; name <= X64_G; name++)
/* 1, 2, 4, 8 from a least one. */
#define EACH_SIZE(name, least) for (unsigned int name = (least); name <= 8; name *= 2)
#define EACH_MEM(name)                                                                                            \
	for (size_t i_ = 0; i_ < oracle_mem_count_few(); i_++)                                                    \
		for (struct x64_mem name = oracle_mem_of_few(i_), *once_ = &name; once_; once_ = NULL)

/* A register that varies with the others. */
static inline enum x64_reg other_reg(unsigned int seed)
{
	return (enum x64_reg)(seed * 7 % 16);
}

struct oracle {
	struct x64 a; /* the test emits here */
	uint8_t *start;
	struct line *lines;
	size_t count, room;
};

/* Skips the test where objdump or as is missing. */
void oracle_begin(struct oracle *o);

/* All bytes since the last call are one instruction, written like this. */
void oracle_wants(struct oracle *o, const char *format, ...) PRINTF_LIKE(2, 3);

/* As oracle_wants where GNU as is not asked: targets of branches, and forms that it never chooses. */
void oracle_wants_only_read(struct oracle *o, const char *format, ...) PRINTF_LIKE(2, 3);

/* Bytes since the last call. */
size_t oracle_pending(const struct oracle *o);

/* Compares and prints each difference, fails the test on any, and frees. */
void oracle_end(struct oracle *o);

/* The names of a general register and of a vector register. */
const char *reg_name(unsigned int size, enum x64_reg reg);
const char *xmm_name(enum x64_xmm reg);

/* A memory operand as objdump writes it, with the size in words: valid until 8 more were asked for. */
const char *mem_name(unsigned int size, struct x64_mem mem);
/* Without the size in words. */
const char *address_name(struct x64_mem mem);

/* An immediate as objdump writes it: sign-extended to the size, in hexadecimal. */
uint64_t imm_shown(unsigned int size, int32_t imm);

/* Memory operands. All: every base, index and scale, and displacements of each width. */
struct x64_mem oracle_mem_of_all(size_t i);
size_t oracle_mem_count_all(void);
/* Few: those where the encoding differs. */
struct x64_mem oracle_mem_of_few(size_t i);
size_t oracle_mem_count_few(void);

#endif
