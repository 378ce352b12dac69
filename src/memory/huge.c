/*
 * RAM of pages of 2 MiB that the host's administrator has reserved.
 *
 * The mapping is shared, so that the host promises all of it when it is made: a private one would need further pages, which
 * nobody has promised, when a child of ours looks at it. For the same reason no page is ever given back: others may
 * take it, and then the guest's next access would end the monitor.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/private.h"

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif
#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

/* False: this kernel has no such pages. */
static bool pool_count(const char *name, uint64_t *count)
{
	char path[sizeof POOL + 32];
	FILE *file;
	bool told;

	snprintf(path, sizeof path, POOL "%s", name);
	file = fopen(path, "re");
	if (!file)
		return false;
	told = fscanf(file, "%" SCNu64, count) == 1;
	fclose(file);
	return told;
}

static int refuse(uint64_t size, int code, struct error *e)
{
	uint64_t wanted = size / HUGE_PAGE, total, unused, promised;
	uint64_t free_pages;

	if (!pool_count("nr_hugepages", &total) || !pool_count("free_hugepages", &unused) ||
	    !pool_count("resv_hugepages", &promised))
		return error_set(e, ERROR_STATE, code, "this host's kernel has no huge pages of 2 MiB; run without --hugepages");
	free_pages = unused > promised ? unused - promised : 0;
	if (free_pages >= wanted)
		return error_errno(e, code, "%" PRIu64 " of the host's huge pages of 2 MiB for guest RAM", wanted);
	return error_set(e, ERROR_STATE, code,
			 "guest RAM needs %" PRIu64 " of the host's huge pages of 2 MiB, and %" PRIu64 " of %" PRIu64
			 " are free; reserve more as root (sysctl vm.nr_hugepages=%" PRIu64 "), give the guest less memory, or "
			 "run it without --hugepages",
			 wanted, free_pages, total, total + wanted - free_pages);
}

int memory_map_huge(uint64_t size, uint8_t **host, struct error *e)
{
	void *start;

	if (size % HUGE_PAGE)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "RAM of %" PRIu64 "K is not made of huge pages; with --hugepages, --memory takes multiples of 2M",
				 size / KIB);
	start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
	if (start == MAP_FAILED)
		return refuse(size, errno == ENOMEM ? -ENOMEM : -errno, e);
	*host = start;
	return 0;
}

/* False: nobody has touched the page that this is in, so it is zeros, and no use in making it. */
static bool is_touched(uint8_t *at)
{
	uint8_t *page = (uint8_t *)((uintptr_t)at & ~(uintptr_t)(HUGE_PAGE - 1));
	unsigned char told = 1;

	return mincore(page, GUEST_PAGE_SIZE, &told) < 0 || told & 1;
}

void memory_clear_huge(uint8_t *host, uint64_t length)
{
	while (length) {
		uint64_t rest = HUGE_PAGE - ((uintptr_t)host & (HUGE_PAGE - 1));
		uint64_t part = rest < length ? rest : length;

		if (is_touched(host))
			memset(host, 0, part);
		host += part;
		length -= part;
	}
}
