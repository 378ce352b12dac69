/* RAM that is there for good: touched, in huge pages, and never swapped out. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/memory.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* At most this part may be in small pages: the ends of a region, which are not aligned. */
#define SMALL_PART 16

/* Bytes in huge pages of the mappings within [start, end), by /proc/self/smaps (proc(5)). */
static uint64_t huge_bytes(uintptr_t start, uintptr_t end)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	uint64_t sum = 0, kilobytes;
	bool inside = false;
	char line[512];

	if (!maps)
		return 0;
	while (fgets(line, sizeof line, maps)) {
		uintptr_t from, to;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2)
			inside = from >= start && to <= end;
		else if (inside && sscanf(line, "AnonHugePages: %" SCNu64, &kilobytes) == 1)
			sum += kilobytes * KIB;
	}
	fclose(maps);
	return sum;
}

/* They are never swapped out: it is enough that they are there. */
static int touch_huge(const struct memory_region *region, struct error *e)
{
	if (madvise(region->host, region->size, MADV_POPULATE_WRITE) < 0 && errno != EINVAL)
		return error_set(e, ERROR_STATE, -ENOMEM, "the host's huge pages for %s can not be used (%s)", region->name,
				 strerror(errno));
	return 0;
}

static int lock_region(const struct memory_region *region, struct error *e)
{
	uintptr_t start = (uintptr_t)region->host;
	uint64_t huge;

	if (region->huge)
		return touch_huge(region, e);
	if (madvise(region->host, region->size, MADV_HUGEPAGE) < 0)
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "this host's kernel has no huge pages for %s; see "
				 "/sys/kernel/mm/transparent_hugepage/enabled", region->name);
	if (mlock(region->host, region->size) < 0)
		return error_set(e, errno == ENOMEM ? ERROR_STATE : ERROR_PERMISSION, -errno,
				 "%s can not be locked in the host's memory; begin as root, or with a greater limit (ulimit -l), "
				 "or give the machine less memory",
				 region->name);
	huge = huge_bytes(start, start + region->size);
	if (huge >= region->size - region->size / SMALL_PART)
		return 0;
	return error_set(e, ERROR_STATE, -ENOMEM,
			 "only %" PRIu64 "M of %" PRIu64 "M of %s are in huge pages; the host's memory is too scattered: free "
			 "some, or write 1 to /proc/sys/vm/compact_memory",
			 huge / MIB, region->size / MIB, region->name);
}

int memory_lock(struct memory *memory, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < memory->count; i++)
		r = lock_region(&memory->regions[i], e);
	return r;
}
