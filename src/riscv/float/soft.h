/*
 * The rounding operations of riscv/float.h in integer arithmetic, under names of their own: soft32_add and so
 * on. They define the results; a host path that disagrees is wrong.
 */
#ifndef DOPPEL_RISCV_FLOAT_SOFT_H
#define DOPPEL_RISCV_FLOAT_SOFT_H

#include "riscv/float.h"

FLOAT_ROUNDING(soft, 16, uint16_t)
FLOAT_ROUNDING(soft, 32, uint32_t)
FLOAT_ROUNDING(soft, 64, uint64_t)
FLOAT_CONVERSIONS(soft)

#endif
