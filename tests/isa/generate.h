/*
 * Random fragments made from the instruction table.
 *
 * A fragment has no way to escape: loads and stores go through a few registers that point into the data and
 * are never written, jumps go forward by a few instructions, loops count a register down. Everything else is left to
 * chance: all user instructions of the table and compressed ones, any operands, all rounding modes.
 *
 * The first part of the data is a table of telling operands that is only read; stores and atomics go to the rest.
 */
#ifndef ISA_GENERATE_H
#define ISA_GENERATE_H

#include <stdbool.h>

#include "protocol.h"

#define ISA_ITEMS_MAX  20000u
#define ISA_TABLE_SIZE 0x1000u

/* One instruction of a fragment. */
struct isa_item {
	uint32_t word;
	uint8_t length;
	bool inner;     /* relies on the one before it: nothing jumps here */
	int32_t target; /* item that it jumps to, or -1 */
};

struct isa_fragment {
	struct isa_start start;
	uint8_t data[ISA_DATA_SIZE];
	uint8_t code[ISA_CODE_SIZE];
	struct isa_item items[ISA_ITEMS_MAX];
	uint32_t offset[ISA_ITEMS_MAX + 1]; /* of each item from ISA_CODE, and the end */
	unsigned count;
};

/* About `length` instructions, determined by the seed. */
void isa_generate(struct isa_fragment *f, uint64_t seed, unsigned length);
/* Lets the fragment end before item `count`. */
void isa_truncate(struct isa_fragment *f, unsigned count);

/* Whether a random fragment may contain the instruction: user-level, and of an extension that the oracle has. */
bool isa_generates(unsigned id);

/* Lays the items out: offsets, branch distances, code. */
void isa_assemble(struct isa_fragment *f);

#endif
