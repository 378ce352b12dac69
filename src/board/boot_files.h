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
MUST_USE int boot_read_firmware(struct program *out, const char *path, uint64_t ram_bytes, struct error *e);
/* Its length first; then its file, of at most `bytes`, which rests. Without a path as above. */
MUST_USE int boot_measure_initrd(uint64_t *bytes, const char *path, struct error *e);
MUST_USE int boot_open_initrd(struct blob *out, const char *path, uint64_t bytes, struct error *e);

/* A kernel and an initrd whose files are open, and read when they are needed. */
struct boot_later {
	struct blob kernel; /* not looked into so far */
	char *kernel_path, *initrd_path; /* for messages; initrd_path may be NULL */
};

/* There is a kernel; the initrd's blob is the caller's. To be finished on failure, too. */
MUST_USE int boot_later_open(struct boot_later *later, struct blob *initrd, const struct payload_files *files,
			     uint64_t ram_bytes, struct error *e);
void boot_later_finish(struct boot_later *later);
/* Whether the kernel is still to be understood. */
bool boot_is_later(const struct boot_later *later);
/* Understands it, once: it is *out's or finished then, and `files` has the paths. */
MUST_USE int boot_later_parse(struct boot_later *later, struct program *out, struct payload_files *files,
			      enum engine_arch arch, uint64_t ram_bytes, struct error *e);

/* -E2BIG beyond `most` bytes. */
MUST_USE int boot_check_append(const char *append, size_t most, struct error *e);
/* *out is the caller's to free(); never NULL then. -E2BIG beyond PAYLOAD_APPEND_MAX. `append` may be NULL. */
MUST_USE int boot_copy_append(char **out, const char *append, struct error *e);

#endif
