/*
 * Where a guest's instructions went: spots of a profile gathered into functions, or pages of code without symbols.
 */
#ifndef DOPPEL_CLI_REGIONS_H
#define DOPPEL_CLI_REGIONS_H

#include "cli/symbols.h"
#include "cli/table.h"
#include "machine/profile.h"

#define REGIONS_SHOWN 40

/* A function, or a page of code without a symbol. */
struct region {
	uint64_t address, instructions;
	const char *name; /* the symbol's; NULL: none */
	uint8_t priv;     /* enum riscv_privilege, or anything when it comes from a monitor */
};

/* Those of spots that are sorted by mode and address, most instructions first; *made of them, on the heap; NULL without
 * memory. `symbols` may be NULL; names stay its own. */
struct region *regions_make(const struct symbols *symbols, const struct profile_spot *spots, size_t count,
			    size_t *made);
/* The first REGIONS_SHOWN as a table; shares are of `total` instructions. NULL without memory. */
struct table *regions_table(const struct region *regions, size_t count, uint64_t total);

#endif
