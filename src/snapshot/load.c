#include "snapshot/load.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define READ_PAGES   256
/* Fewer pages of zeros than this between two runs are mapped with them. */
#define GAP_PAGES    64

struct loading {
	const struct snapshot_chain *chain;
	const struct snapshot_load_options *options;
	struct memory *memory;
	uint64_t total; /* rows */
};

static int check_memory(const struct loading *loading, struct error *e)
{
	const struct snapshot_header *header = &loading->chain->files[0]->header;
	const struct memory *memory = loading->memory;
	bool same = header->region_count == memory->count;

	for (unsigned i = 0; same && i < memory->count; i++)
		same = header->regions[i].base == memory->regions[i].base.value &&
		       header->regions[i].size == memory->regions[i].size;
	if (same)
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "%s has %llu MiB of memory, and this machine has %llu, or at other places: make it the same",
			 loading->chain->files[0]->name, (unsigned long long)(header->pages * GUEST_PAGE_SIZE / MIB),
			 (unsigned long long)(memory_size(memory) / MIB));
}

/* What the machine was to boot from goes. */
static void clear(struct memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		struct memory_region *region = &memory->regions[i];

		/* Locked pages can not be given back. */
		if (memory_drop(region, 0, region->size) < 0)
			memset(region->host, 0, region->size);
		memory_mark_dirty(memory, region->base, region->size);
	}
}

static void tell(const struct loading *loading, uint64_t row)
{
	if (loading->options->progress)
		loading->options->progress(loading->options->context, row * GUEST_PAGE_SIZE,
					   loading->total * GUEST_PAGE_SIZE);
}

/* ---- Reading ---- */

/* Rows from `row` on that can be read from one plain file at once. */
static uint64_t run_length(const struct loading *loading, const struct snapshot *owner, uint64_t row, uint64_t end)
{
	uint64_t count = 0;

	if (owner->header.flags & SNAPSHOT_PACKED)
		return 1;
	while (row + count < end && count < READ_PAGES && snapshot_chain_owner(loading->chain, row + count) == owner &&
	       snapshot_kind(owner, row + count) == SNAPSHOT_PAGE_HERE)
		count++;
	return count;
}

/* `below`: rows of this file and older ones are there already. */
static int read_region(const struct loading *loading, const struct memory_region *region, uint64_t first,
		       const struct snapshot *below, struct error *e)
{
	uint64_t end = first + region->size / GUEST_PAGE_SIZE, count;

	for (uint64_t row = first; row < end; row += count) {
		struct snapshot *owner = snapshot_chain_owner(loading->chain, row);
		uint8_t *to = region->host + (row - first) * GUEST_PAGE_SIZE;
		int r = 0;

		if (row % READ_PAGES == 0)
			tell(loading, row);
		count = 1;
		if (owner == below)
			continue;
		if (snapshot_kind(owner, row) == SNAPSHOT_PAGE_ZERO) {
			if (below)
				memset(to, 0, GUEST_PAGE_SIZE);
			continue;
		}
		count = run_length(loading, owner, row, end);
		r = owner->header.flags & SNAPSHOT_PACKED ? snapshot_read_page(owner, row, to, e)
							  : snapshot_read_pages(owner, row, count, to, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_all(const struct loading *loading, const struct snapshot *below, struct error *e)
{
	uint64_t first = 0;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < loading->memory->count; i++) {
		r = read_region(loading, &loading->memory->regions[i], first, below, e);
		first += loading->memory->regions[i].size / GUEST_PAGE_SIZE;
	}
	return r;
}

/* ---- Mapping ---- */

static uint64_t next_here(const struct snapshot *base, uint64_t row, uint64_t end)
{
	while (row < end && snapshot_kind(base, row) != SNAPSHOT_PAGE_HERE)
		row = snapshot_skip(base, row, end, snapshot_kind(base, row));
	return row;
}

/* The end of the run that begins at `row`, short gaps of zeros included. */
static uint64_t run_end(const struct snapshot *base, uint64_t row, uint64_t end, uint64_t gap)
{
	uint64_t until;

	do {
		until = snapshot_skip(base, row, end, SNAPSHOT_PAGE_HERE);
		row = next_here(base, until, end);
	} while (row < end && row - until < gap);
	return until;
}

static int map_region(const struct loading *loading, struct snapshot *base, unsigned index, uint64_t first, struct error *e)
{
	uint64_t start = snapshot_find(&base->header, SNAPSHOT_MEMORY)->offset, row = first;
	uint64_t end = first + loading->memory->regions[index].size / GUEST_PAGE_SIZE;
	uint64_t gap = loading->total >> MEMORY_MAPPINGS_LOG;
	int r = 0;

	if (gap < GAP_PAGES)
		gap = GAP_PAGES;
	while (r == 0 && (row = next_here(base, row, end)) < end) {
		uint64_t until = run_end(base, row, end, gap);

		r = memory_map_file(loading->memory, index, (row - first) * GUEST_PAGE_SIZE, (until - row) * GUEST_PAGE_SIZE,
				    base->fd, start + row * GUEST_PAGE_SIZE, e);
		row = until;
	}
	memory_mapped(loading->memory, index);
	return r;
}

static int map_all(const struct loading *loading, struct snapshot *base, struct error *e)
{
	uint64_t first = 0;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < loading->memory->count; i++) {
		r = map_region(loading, base, i, first, e);
		first += loading->memory->regions[i].size / GUEST_PAGE_SIZE;
	}
	return r;
}

bool snapshot_is_mapped(const struct snapshot_chain *chain)
{
	return chain->count == 1 && !(chain->files[0]->header.flags & SNAPSHOT_PACKED);
}

static int load_memory(const struct loading *loading, struct error *e)
{
	const struct snapshot_chain *chain = loading->chain;
	struct snapshot *base = chain->files[chain->count - 1];
	bool lazy = !loading->options->eager && !(base->header.flags & SNAPSHOT_PACKED);
	int r = 0;

	clear(loading->memory);
	if (base->header.flags & SNAPSHOT_EARLY)
		return filling_begin(loading->options->filling, base, loading->memory, loading->options->source, e);
	if (lazy)
		r = map_all(loading, base, e);
	if (r == 0 && !(lazy && chain->count == 1))
		r = read_all(loading, lazy ? base : NULL, e);
	return r;
}

/* The guest is another than the one that was saved, which may go on too. */
static int renew(struct machine *machine, struct error *e)
{
	struct board *board = machine_board(machine);
	uint8_t id[VMGENID_BYTES];

	if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id)
		return error_errno(e, -EIO, "random numbers");
	board->type->renew(board, id);
	return 0;
}

int snapshot_load(const struct snapshot_chain *chain, struct machine *machine, const struct snapshot_load_options *options,
		  struct error *e)
{
	struct loading loading = {.chain = chain,
				  .options = options,
				  .memory = &machine_board(machine)->memory,
				  .total = chain->files[0]->header.pages};
	int r = check_memory(&loading, e);

	if (r == 0)
		r = load_memory(&loading, e);
	if (r == 0)
		r = machine_load_state(machine, chain->files[0]->state, chain->files[0]->state_length, e);
	return r < 0 ? r : renew(machine, e);
}
