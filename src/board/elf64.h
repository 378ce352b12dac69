/*
 * ELF64 executables for RISC-V (System V ABI, RISC-V psABI): loadable segments at their physical addresses.
 */
#ifndef DOPPEL_BOARD_ELF64_H
#define DOPPEL_BOARD_ELF64_H

#include "board/program.h"

/* Takes the blob over on success. -ENOEXEC and ERROR_USAGE for another class, machine or kind, for what is
 * truncated, has overlapping segments, or an entry point outside them. */
MUST_USE int elf64_load(struct program *out, struct blob *blob, struct error *e);

#endif
