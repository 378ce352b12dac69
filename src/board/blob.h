/*
 * A boot file: read whole, or unpacked from another. One that was read can rest: its memory goes back to the host, and
 * the open file is read again when it is needed, into memory of its own or where it belongs in the guest's.
 *
 * Messages carry no file name: the caller knows which option named the file and puts it in front.
 * Thread: any. Ownership: the bytes belong to the struct; blob_finish releases them.
 */
#ifndef DOPPEL_BOARD_BLOB_H
#define DOPPEL_BOARD_BLOB_H

#include "base/error.h"
#include "base/types.h"
#include "memory/memory.h"

struct blob {
	uint8_t *bytes;
	size_t length;
	bool has_file; /* it can rest */
	int file;
	int64_t changed_ns; /* when the file was, before it was read */
};

/* Accepts an empty or finished blob. */
void blob_finish(struct blob *blob);

/* Reads a regular, non-empty file of at most `limit` bytes. ERROR_NOT_FOUND, ERROR_PERMISSION, or ERROR_USAGE for
 * what can not be a boot file: -EISDIR, -EFBIG, -EINVAL. */
MUST_USE int blob_read(struct blob *out, const char *path, uint64_t limit, struct error *e);

/* The same checks, but it rests until blob_wake. */
MUST_USE int blob_open(struct blob *out, const char *path, uint64_t limit, struct error *e);

/* Gives the memory back; without effect for what was unpacked, or rests already. */
void blob_rest(struct blob *blob);
/* The bytes are there again. -ESTALE when the file is not what it was, other errno when it can not be read. */
MUST_USE int blob_wake(struct blob *blob, struct error *e);

/* Of one that rests, only the beginning is there, BLOB_GLANCE bytes at least; the others read as zeros until it rested
 * again. Else as blob_wake. */
#define BLOB_GLANCE (64 * KIB)
MUST_USE int blob_glance(struct blob *blob, struct error *e);
/* Of one that rests: -ESTALE when the file is not what it was, other errno when nothing is known of it. */
MUST_USE int blob_check(const struct blob *blob, struct error *e);
/* Puts `length` bytes from `offset` on into RAM; of one that rests straight from the file. -EFAULT outside RAM, -EBADMSG where
 * the file ends before, other errno when it can not be read. */
MUST_USE int blob_place(const struct blob *blob, uint64_t offset, uint64_t length, struct memory *memory, gpa_t to);

/* Length of a file that blob_read would take; the same errors, -EFBIG aside. */
MUST_USE int blob_measure(uint64_t *length, const char *path, struct error *e);

#define TEXT_OF_SIZE_ROOM 24
/* "640 KiB", "31 MiB": rounded up, so that it names an amount that suffices. */
const char *text_of_size(char text[TEXT_OF_SIZE_ROOM], uint64_t bytes);

#endif
