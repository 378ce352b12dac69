/* Which pages of RAM may be other than zeros. */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "memory/private.h"

#define RANGES 256

/* The kernel's PAGEMAP_SCAN (Documentation/admin-guide/mm/pagemap.rst; Linux 6.7), which older headers lack. */
#define PRESENT (UINT64_C(1) << 3)
#define SWAPPED (UINT64_C(1) << 4)

struct range {
	uint64_t start, end, categories;
};

struct scan {
	uint64_t size, flags, start, end, walk_end;
	uint64_t ranges, range_count, page_count;
	uint64_t inverted, all_of, any_of, told;
};
_Static_assert(_IOWR('f', 16, struct scan) == MEMORY_SCAN_REQUEST, "as the filters of the walls have it");

void memory_open_map(struct memory *memory)
{
	memory->map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	memory->map_of = getpid();
}

void memory_close_map(struct memory *memory)
{
	if (memory->map >= 0)
		close(memory->map);
}

void memory_set_bits(uint64_t *bits, uint64_t first, uint64_t count, bool set)
{
	for (uint64_t i = first, end = first + count; i < end;) {
		uint64_t some = 64 - i % 64 < end - i ? 64 - i % 64 : end - i;
		uint64_t mask = (some == 64 ? UINT64_MAX : (UINT64_C(1) << some) - 1) << i % 64;

		bits[i / 64] = set ? bits[i / 64] | mask : bits[i / 64] & ~mask;
		i += some;
	}
}

/* False: the host does not tell. */
static bool ask(const struct memory *memory, const struct memory_region *region, uint64_t *bits)
{
	uint64_t start = (uintptr_t)region->host, end = start + region->size;
	struct range ranges[RANGES];

	while (start < end) {
		struct scan scan = {.size = sizeof scan,
				    .start = start,
				    .end = end,
				    .ranges = (uintptr_t)ranges,
				    .range_count = RANGES,
				    .any_of = PRESENT | SWAPPED,
				    .told = PRESENT | SWAPPED};
		int count = ioctl(memory->map, MEMORY_SCAN_REQUEST, &scan);

		if (count < 0 || scan.walk_end <= start)
			return false;
		for (int i = 0; i < count; i++)
			memory_set_bits(bits, (ranges[i].start - (uintptr_t)region->host) / GUEST_PAGE_SIZE,
					(ranges[i].end - ranges[i].start) / GUEST_PAGE_SIZE, true);
		start = scan.walk_end;
	}
	return true;
}

void memory_touched(const struct memory *memory, unsigned index, uint64_t *bits)
{
	const struct memory_region *region = &memory->regions[index];
	size_t words = memory_dirty_words(region);
	/* The map is of the process that opened it. */
	bool can = memory->map >= 0 && memory->map_of == getpid() && !region->huge && region->mapped == (region->from_file != NULL);

	memset(bits, 0, words * sizeof *bits);
	if (!can || !ask(memory, region, bits))
		memset(bits, 0xff, words * sizeof *bits);
	for (size_t i = 0; region->from_file && i < words; i++)
		bits[i] |= region->from_file[i];
}
