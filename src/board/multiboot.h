/*
 * Kernels with a multiboot header (Multiboot Specification 0.6.96): small test kernels, mostly. The header tells where the
 * file goes in memory, or leaves that to the ELF headers around it.
 */
#ifndef DOPPEL_BOARD_MULTIBOOT_H
#define DOPPEL_BOARD_MULTIBOOT_H

#include "board/program.h"

struct multiboot_header {
	size_t offset;                                   /* in the file */
	bool placed;                                     /* it says where the file goes */
	uint32_t header, load, load_end, bss_end, entry; /* addresses (3.1.3) */
};

/* Looks for it in the file's first 8 KiB: 1 when there is one, 0 when not, -ENOEXEC (ERROR_USAGE) for one that asks for what
 * this machine has not. */
MUST_USE int multiboot_find(const struct blob *blob, struct multiboot_header *out, struct error *e);
/* For files that are placed by the header. Takes the blob over on success. -ENOEXEC when it is damaged or truncated. */
MUST_USE int multiboot_load(struct program *out, struct blob *blob, const struct multiboot_header *header,
			    struct error *e);

#endif
