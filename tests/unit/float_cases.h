/*
 * Operands that are hard on floating-point arithmetic, for every operation of float-oracle/operations.h, and the
 * operations on riscv/float.h and riscv/float/soft.h. The sequence is the same on every run.
 */
#ifndef DOPPEL_TESTS_FLOAT_CASES_H
#define DOPPEL_TESTS_FLOAT_CASES_H

#include "../guest/float-oracle/operations.h"

#include <stdbool.h>

enum float_shape { F_F, FF_F, FFF_F, MM_F, MM_X, M_X, F_X32, F_X64, X_F, V_F };
struct float_operation_info {
	const char *mnemonic;
	int bits;
	enum float_shape shape;
};
extern const struct float_operation_info float_operations[FLOAT_OPERATION_COUNT];

/* Calls `visit` for corner values crossed and `random` further tuples, each in every rounding mode it depends
 * on. */
typedef void float_visit(const struct float_case *c, void *context);
void float_cases_of(enum float_operation operation, unsigned random, float_visit *visit, void *context);

/* `accrued` are the flags set beforehand. */
struct float_outcome float_perform(const struct float_case *c, unsigned accrued);
struct float_outcome float_perform_soft(const struct float_case *c, unsigned accrued);

void float_case_print(const struct float_case *c, struct float_outcome expected, struct float_outcome actual);

#endif
