/*
 * Linux kernels for x86-64 as distributions ship them: bzImage, entered by the 64-bit boot protocol (Linux,
 * Documentation/arch/x86/boot.rst). The kernel unpacks itself, whatever it is compressed with.
 *
 * What is loaded is the part after the real-mode code, entered 0x200 bytes from its start. The setup header within the file is
 * copied into the zero page by whoever lays the kernel out (board/pc_boot.h).
 */
#ifndef DOPPEL_BOARD_BZIMAGE_H
#define DOPPEL_BOARD_BZIMAGE_H

#include "board/program.h"

/* Offsets within the file, and the same within the zero page. */
enum {
	BZIMAGE_SETUP_SECTORS = 0x1f1,
	BZIMAGE_SIZE = 0x1f4, /* of what is loaded, in units of 16 bytes */
	BZIMAGE_BOOT_FLAG = 0x1fe,
	BZIMAGE_JUMP = 0x201, /* from 0x202, bytes to the header's end */
	BZIMAGE_MAGIC = 0x202,
	BZIMAGE_VERSION = 0x206,
	BZIMAGE_LOADER = 0x210,
	BZIMAGE_LOAD_FLAGS = 0x211,
	BZIMAGE_CODE32 = 0x214,
	BZIMAGE_INITRD = 0x218,
	BZIMAGE_INITRD_SIZE = 0x21c,
	BZIMAGE_COMMAND_LINE = 0x228,
	BZIMAGE_INITRD_MAX = 0x22c,
	BZIMAGE_ALIGNMENT = 0x230,
	BZIMAGE_RELOCATABLE = 0x234,
	BZIMAGE_LOAD64_FLAGS = 0x236,
	BZIMAGE_COMMAND_SIZE = 0x238,
	BZIMAGE_PREFERRED = 0x258,
	BZIMAGE_MEMORY = 0x260,
	BZIMAGE_HEADER_END = 0x268, /* of what this reads */
};

/* Takes the blob over on success. -ENOEXEC and ERROR_USAGE for a kernel of 32 bits, one too old, or a file that is damaged or
 * truncated. */
MUST_USE int bzimage_load(struct program *out, struct blob *blob, struct error *e);

#endif
