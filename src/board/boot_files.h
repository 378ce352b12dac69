/*
 * The files that a machine boots from, as they are named by whoever makes it: read for any kind of board.
 *
 * Messages name the option, the file, what is wrong and the remedy: ERROR_USAGE, ERROR_NOT_FOUND or ERROR_PERMISSION.
 * Thread: any.
 */
#ifndef DOPPEL_BOARD_BOOT_FILES_H
#define DOPPEL_BOARD_BOOT_FILES_H

#include "board/program.h"
#include "engine/engine.h"

#define PAYLOAD_APPEND_MAX 4095 /* bytes of kernel command line */

struct payload_files {
	const char *kernel, *initrd, *firmware; /* paths or NULL, not all: kernel or firmware */
	const char *append;                     /* or NULL */
};

/* All that read or open, without a path: nothing, and 0. */
MUST_USE int boot_read_kernel(struct program *out, const char *path, enum engine_arch arch, uint64_t ram_bytes,
			      struct error *e);
/* The same in two steps: opened, which tells what is wrong with a file without reading it; and understood, after which the
 * blob is the program's or finished. */
MUST_USE int boot_open_kernel(struct blob *out, const char *path, uint64_t ram_bytes, struct error *e);
MUST_USE int boot_parse_kernel(struct program *out, struct blob *blob, const char *path, enum engine_arch arch,
			       uint64_t ram_bytes, struct error *e);
MUST_USE int boot_read_firmware(struct program *out, const char *path, uint64_t ram_bytes, struct error *e);
/* Its length first, so that nothing is read which does not fit; then at most `bytes`. Without a path as above. */
MUST_USE int boot_measure_initrd(uint64_t *bytes, const char *path, struct error *e);
MUST_USE int boot_read_initrd(struct blob *out, const char *path, uint64_t bytes, struct error *e);
MUST_USE int boot_open_initrd(struct blob *out, const char *path, uint64_t bytes, struct error *e);
/* *out is the caller's to free(); never NULL then. -E2BIG beyond `most` bytes. */
MUST_USE int boot_copy_append(char **out, const char *append, size_t most, struct error *e);

#endif
