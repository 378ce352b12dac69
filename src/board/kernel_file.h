/*
 * What a kernel or firmware file is, and how it becomes a program.
 *
 * Kernels for riscv64: Image, plain or compressed with gzip or zstd, or in an EFI zboot wrapper with one of the two;
 * ELF64. Kernels for x86-64: bzImage; ELF with an entry point for PVH or a multiboot header; what a multiboot header places;
 * these may be compressed once more with gzip or zstd. A file that is none of these is refused by name where it is known
 * (another architecture's kernel, a package, a disk image), else with the list of accepted forms: bytes without a header are
 * never run as a kernel.
 * Firmware: ELF64, or raw bytes to be placed at the base of RAM.
 *
 * The file may be hostile: what is unpacked is bounded by the guest's RAM. Messages carry no file name.
 * Thread: any.
 */
#ifndef DOPPEL_BOARD_KERNEL_FILE_H
#define DOPPEL_BOARD_KERNEL_FILE_H

#include "board/program.h"
#include "engine/engine.h"

/* Releases the blob or takes it over, also on failure. -ENOEXEC, -EBADMSG, -EFBIG as ERROR_USAGE; -ENOMEM. */
MUST_USE int kernel_parse(struct program *out, struct blob *blob, enum engine_arch arch, uint64_t ram_bytes,
			  struct error *e);
/* The same of a file that rests: an Image is understood by its beginning, and rests on; all of any other is read. */
MUST_USE int kernel_open(struct program *out, struct blob *blob, enum engine_arch arch, uint64_t ram_bytes,
			 struct error *e);
/* For riscv64. */
MUST_USE int firmware_parse(struct program *out, struct blob *blob, struct error *e);

#endif
