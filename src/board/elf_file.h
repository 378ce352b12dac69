/*
 * ELF executables (System V ABI; RISC-V and x86-64 psABI): loadable segments at their physical addresses.
 *
 * For riscv64: 64 bits, entered at the header's entry point. For x86-64: of 64 bits, with a note that names the entry point for
 * PVH (Xen, "PHYS32_ENTRY"), as Linux's vmlinux has it; or of 32 or 64 bits with a multiboot header (board/multiboot.h).
 */
#ifndef DOPPEL_BOARD_ELF_FILE_H
#define DOPPEL_BOARD_ELF_FILE_H

#include "board/program.h"
#include "engine/engine.h"

/* Takes the blob over on success. -ENOEXEC and ERROR_USAGE for another class, machine or kind, for what is
 * truncated, has overlapping segments, or an entry point outside them. */
MUST_USE int elf_load(struct program *out, struct blob *blob, enum engine_arch arch, struct error *e);

#endif
