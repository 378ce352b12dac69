#include "cli/regions.h"

#include <inttypes.h>
#include <stdlib.h>

static int by_instructions(const void *a, const void *b)
{
	const struct region *x = a, *y = b;

	return x->instructions > y->instructions ? -1 : x->instructions < y->instructions;
}

static struct region region_of(const struct symbols *symbols, const struct profile_spot *spot)
{
	const struct symbol *symbol = symbols_find(symbols, spot->pc, PROFILE_SPOT_BYTES);

	return (struct region){.address = symbol ? symbol->address : spot->pc & ~(GUEST_PAGE_SIZE - 1),
			       .name = symbol ? symbol->name : NULL,
			       .instructions = spot->instructions,
			       .priv = spot->priv};
}

struct region *regions_make(const struct symbols *symbols, const struct profile_spot *spots, size_t count,
			    size_t *made)
{
	struct region *regions = calloc(count + 1, sizeof *regions);

	*made = 0;
	for (size_t i = 0; regions && i < count; i++) {
		struct region region = region_of(symbols, &spots[i]);
		struct region *last = *made ? &regions[*made - 1] : NULL;

		/* Spots of one region follow each other. */
		if (last && last->address == region.address && last->priv == region.priv &&
		    last->name == region.name)
			last->instructions += region.instructions;
		else
			regions[(*made)++] = region;
	}
	if (regions)
		qsort(regions, *made, sizeof *regions, by_instructions);
	return regions;
}

static const struct column columns[] = {
	{.key = "share_percent", .type = COLUMN_REAL},
	{.key = "mode"},
	{.key = "address"},
	{.key = "what", .names = true},
	{.key = "instructions", .type = COLUMN_COUNT, .programs = true},
};

struct table *regions_table(const struct region *regions, size_t count, uint64_t total)
{
	static const char *const modes[] = {
		[PRIV_U] = "user", [PRIV_S] = "supervisor", [2] = "?", [PRIV_M] = "machine"};
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	char address[32];

	for (size_t i = 0; table && i < count && i < REGIONS_SHOWN; i++) {
		snprintf(address, sizeof address, "%016" PRIx64, regions[i].address);
		table_real(table, 100 * (double)regions[i].instructions / (double)(total ? total : 1));
		table_text(table, modes[regions[i].priv & 3]);
		table_text(table, address);
		table_text(table, regions[i].name ? regions[i].name : "a page");
		table_number(table, regions[i].instructions);
	}
	return table;
}
