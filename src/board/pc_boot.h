/*
 * What a pc boots from, where it lies in RAM, and the state in which its first CPU begins: as payload.h, for x86-64.
 *
 * Three ways in: Linux's 64-bit boot protocol (Linux, Documentation/arch/x86/boot.rst), PVH (Xen,
 * docs/misc/pvh.pandoc), multiboot (Multiboot Specification 0.6.96). All leave tables in low RAM (pc_map.h), the kernel at the
 * address that it wishes for or at another that it can use, and the initrd, page aligned, as high as the kernel can reach
 * below 3 GiB.
 *
 * Thread: the owner, while no vCPU runs.
 */
#ifndef DOPPEL_BOARD_PC_BOOT_H
#define DOPPEL_BOARD_PC_BOOT_H

#include "board/boot_files.h"
#include "x86/cpu.h"

struct pc_boot {
	struct program kernel;
	struct boot_later later; /* pc_boot_open's */
	struct blob initrd;
	uint64_t initrd_bytes; /* its length, known before it is read; 0: none */
	char *append;          /* never NULL */
	uint64_t ram_bytes;
	uint64_t initrd_address;
};

/* Errors as payload_new. There is no firmware here: ERROR_USAGE. */
MUST_USE int pc_boot_new(struct pc_boot **out, const struct payload_files *files, uint64_t ram_bytes,
			 struct error *e);
/* The same for a machine whose memory comes from elsewhere: the files are opened, and read when it starts anew. */
MUST_USE int pc_boot_open(struct pc_boot **out, const struct payload_files *files, uint64_t ram_bytes,
			  struct error *e);
/* What pc_boot_open left to be done; without effect otherwise. */
MUST_USE int pc_boot_settle(struct pc_boot *boot, struct error *e);
/* Accepts NULL. */
void pc_boot_free(struct pc_boot *boot);

/* Sets all addresses, from the kernel, initrd_bytes and ram_bytes; `files` is for messages. -ENOSPC when it does not fit,
 * with the --memory that would do; -EINVAL when the kernel is linked to where it cannot be. */
MUST_USE int pc_boot_place(struct pc_boot *boot, const struct payload_files *files, struct error *e);

/* Copies kernel, initrd and what the boot protocol wants into RAM, which is zero. -ESTALE when a file has changed. */
MUST_USE int pc_boot_write(struct pc_boot *boot, struct memory *memory, struct error *e);
/* After x86_cpu_reset of CPU 0: where and how it begins. */
void pc_boot_enter(const struct pc_boot *boot, struct x86_cpu *cpu);

#endif
