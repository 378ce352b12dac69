/*
 * The map of memory as a guest is told it (ACPI 6.4, 15): one list behind the e820 table, and those of PVH and multiboot.
 */
#ifndef DOPPEL_BOARD_PC_RANGES_H
#define DOPPEL_BOARD_PC_RANGES_H

#include "base/types.h"

enum pc_range_type { PC_RAM = 1, PC_RESERVED_RANGE = 2 };

struct pc_range {
	uint64_t base, size;
	uint32_t type; /* the same numbers everywhere */
};

#define PC_RANGES_MAX 8

/* Of a machine with so much RAM; ascending, disjoint. Returns how many. */
unsigned pc_ranges(struct pc_range ranges[PC_RANGES_MAX], uint64_t ram_bytes);
/* Bytes of RAM below the hole, and above 4 GiB. */
uint64_t pc_ram_low(uint64_t ram_bytes);
uint64_t pc_ram_high(uint64_t ram_bytes);

#endif
