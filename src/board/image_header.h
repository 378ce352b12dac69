/*
 * The headers of Linux kernel images: the RISC-V `Image` (Linux, Documentation/arch/riscv/boot-image-header.rst),
 * the EFI zboot wrapper around a compressed one, and as much of the PE header of their EFI stubs as tells a whole
 * file from a truncated one (Microsoft PE Format).
 */
#ifndef DOPPEL_BOARD_IMAGE_HEADER_H
#define DOPPEL_BOARD_IMAGE_HEADER_H

#include "board/program.h"

#define IMAGE_ALIGNMENT (2 * MIB) /* of the address where the kernel is placed */

/* Takes the blob over on success: a movable program. -ENOEXEC and ERROR_USAGE when the header is damaged or the file
 * truncated. */
MUST_USE int image_load(struct program *out, struct blob *blob, struct error *e);

/* Where a zboot file's payload lies, and how it is compressed ("gzip", "zstd" ...). */
struct zboot_payload {
	uint64_t offset, length;
	char compression[32]; /* printable ASCII */
};
MUST_USE int zboot_parse(const struct blob *blob, struct zboot_payload *out, struct error *e);

#endif
