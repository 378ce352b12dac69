/*
 * Code to be placed in guest RAM: a kernel or a firmware, after its file was understood.
 *
 * Whatever the file's form, what is left is a list of segments within one buffer, and an entry point.
 * Thread: any. Ownership: program_finish releases the buffer.
 */
#ifndef DOPPEL_BOARD_PROGRAM_H
#define DOPPEL_BOARD_PROGRAM_H

#include "board/blob.h"
#include "memory/memory.h"

#define PROGRAM_SEGMENTS_MAX 32

struct program_segment {
	uint64_t address;      /* guest-physical; from 0 while the program is movable */
	uint64_t offset;       /* of its bytes in the blob */
	uint64_t file_bytes;   /* at most memory_bytes: the rest is zero */
	uint64_t memory_bytes; /* at least 1; address + memory_bytes does not wrap */
};

/* How it is entered. */
enum program_start {
	PROGRAM_DIRECT,    /* RISC-V: at its entry, as the board says */
	PROGRAM_LINUX,     /* x86: the 64-bit boot protocol */
	PROGRAM_PVH,       /* x86: with a hvm_start_info (Xen, docs/misc/pvh.pandoc) */
	PROGRAM_MULTIBOOT, /* x86: with a multiboot information */
};

struct program {
	struct blob blob;
	const char *form; /* "Image", "ELF", "raw", "bzImage" ... */
	enum program_start start;
	struct program_segment segments[PROGRAM_SEGMENTS_MAX]; /* disjoint */
	unsigned count; /* 0: there is no program */
	uint64_t entry;
	bool movable;         /* it runs at any 2 MiB aligned address, see program_move */
	uint64_t text_offset; /* movable: where it wishes to be, from the base of RAM */
	/* PROGRAM_LINUX: */
	bool fixed;           /* it is to be moved to text_offset and nowhere else */
	uint64_t alignment;   /* of any other address */
	uint32_t header_end;  /* within the blob: the setup header (board/bzimage.h) ends before it */
	uint32_t initrd_last; /* highest address that the initrd may use */
	uint32_t append_max;  /* bytes of command line that it takes */
};

void program_finish(struct program *program);
/* Makes an empty program that owns `bytes` of one segment at address 0, entered at its start. */
void program_single(struct program *program, const char *form, struct blob *blob, uint64_t memory_bytes);
/* Places a program whose addresses start from 0 at `address`. */
void program_move(struct program *program, uint64_t address);
/* Lowest address, and the one after the highest. */
void program_span(const struct program *program, uint64_t *start, uint64_t *end);
/* Copies the segments into RAM, which must hold them; what is zero in a segment is not written: RAM is zeroed
 * before. Errors as blob_place. */
MUST_USE int program_write(const struct program *program, struct memory *memory);

#endif
