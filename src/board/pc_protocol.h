/*
 * What each of the pc's boot protocols wants in memory and registers; parts of board/pc_boot.h, for it alone.
 * The writers return 0, or -EFAULT when RAM is not there.
 */
#ifndef DOPPEL_BOARD_PC_PROTOCOL_H
#define DOPPEL_BOARD_PC_PROTOCOL_H

#include "board/pc_boot.h"

/* Zero page, page tables, descriptor table. The kernel's blob is awake. */
MUST_USE int pc_write_linux(const struct pc_boot *boot, struct memory *memory);
/* hvm_start_info, map of memory, list of modules. */
MUST_USE int pc_write_pvh(const struct pc_boot *boot, struct memory *memory);
/* Information, map of memory, list of modules. */
MUST_USE int pc_write_multiboot(const struct pc_boot *boot, struct memory *memory);

#endif
