#include "memory/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/huge.h"
#include "memory/private.h"

void memory_init(struct memory *memory)
{
	*memory = (struct memory){.map = -1};
}

void memory_finish(struct memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		munmap(memory->regions[i].host, memory->regions[i].size);
		free(memory->regions[i].dirty);
		free(memory->regions[i].from_file);
	}
	memory_close_map(memory);
	memory_init(memory);
}

/* At a multiple of HUGE_PAGE, so that the kernel can back it with huge pages when it has some. */
static int map_aligned(uint64_t size, uint8_t **host, struct error *e)
{
	*host = huge_map(size);
	if (*host)
		return 0;
	return error_set(e, ERROR_FAILED, -ENOMEM,
			 "the host has no address space for %" PRIu64 " MiB of guest RAM; "
			 "give the guest less memory, or raise the limit (ulimit -v)",
			 size / MIB);
}

void memory_advise(uint8_t *host, uint64_t size)
{
	(void)madvise(host, size, MADV_HUGEPAGE);
	(void)madvise(host, size, MADV_DONTDUMP);
	/* Processes that the monitor starts have no business in it. */
	(void)madvise(host, size, MADV_DONTFORK);
}

/* Where a region [base, base + size) belongs in the table; -EINVAL when it overlaps another. */
static int place(const struct memory *memory, gpa_t base, uint64_t size)
{
	unsigned at = 0;

	while (at < memory->count && memory->regions[at].base.value < base.value)
		at++;
	if (at < memory->count && memory->regions[at].base.value - base.value < size)
		return -EINVAL;
	if (at > 0 && base.value - memory->regions[at - 1].base.value < memory->regions[at - 1].size)
		return -EINVAL;
	return (int)at;
}

static int check_range(gpa_t base, uint64_t size, struct error *e)
{
	uint64_t last;

	if ((base.value | size) & (GUEST_PAGE_SIZE - 1) || size == 0)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "RAM of %" PRIu64 " bytes at 0x%" PRIx64 ": both must be multiples of 4 KiB, and "
				 "the size not zero",
				 size, base.value);
	if (!checked_add(base.value, size - 1, &last))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "RAM of %" PRIu64 " bytes at 0x%" PRIx64 " ends beyond the address space", size,
				 base.value);
	return 0;
}

int memory_add_ram(struct memory *memory, gpa_t base, uint64_t size, const char *name, struct error *e)
{
	int code = check_range(base, size, e), at;
	struct memory_region *slot;
	uint8_t *host;

	if (code)
		return code;
	if (memory->count == MEMORY_REGIONS_MAX)
		return error_set(e, ERROR_FAILED, -ENOSPC,
				 "RAM '%s': the machine has %u regions already, the most it can have", name,
				 memory->count);
	at = place(memory, base, size);
	if (at < 0)
		return error_set(e, ERROR_USAGE, at, "RAM '%s' at 0x%" PRIx64 " overlaps other RAM", name,
				 base.value);
	code = memory->huge_pages ? memory_map_huge(size, &host, e) : map_aligned(size, &host, e);
	if (code)
		return code;
	memory_advise(host, size);
	slot = &memory->regions[at];
	memmove(slot + 1, slot, (memory->count - (unsigned)at) * sizeof *slot);
	*slot = (struct memory_region){.base = base, .size = size, .host = host, .huge = memory->huge_pages};
	snprintf(slot->name, sizeof slot->name, "%s", name);
	if (memory->count++ == 0)
		memory_open_map(memory);
	return 0;
}

const struct memory_region *memory_find(const struct memory *memory, gpa_t address, uint64_t length)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];
		uint64_t offset = address.value - region->base.value;

		if (offset < region->size)
			return length <= region->size - offset ? region : NULL;
	}
	return NULL;
}

void *memory_host(const struct memory *memory, gpa_t address, uint64_t length)
{
	const struct memory_region *region = memory_find(memory, address, length);

	return region ? region->host + (address.value - region->base.value) : NULL;
}

gpa_t memory_physical(const struct memory *memory, const void *host)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];
		uintptr_t offset = (uintptr_t)host - (uintptr_t)region->host;

		if (offset < region->size)
			return gpa_add(region->base, offset);
	}
	/* Not from memory_host: the caller's mistake, with no address to answer. */
	abort();
}

/*
 * A guest that writes memory while a device copies it gets what hardware would give: some old bytes, some new.
 * That race is the guest's own, so ThreadSanitizer is kept from reporting it.
 */
#ifdef __SANITIZE_THREAD__
__attribute__((no_sanitize("thread"), noinline)) void memory_copy(void *to, const void *from, uint64_t length)
{
	volatile uint8_t *t = to;
	const volatile uint8_t *f = from;

	while (length--)
		*t++ = *f++;
}
#else
void memory_copy(void *to, const void *from, uint64_t length)
{
	memcpy(to, from, length);
}
#endif

int memory_read(const struct memory *memory, gpa_t address, void *to, uint64_t length)
{
	const void *from = memory_host(memory, address, length);

	if (!from)
		return length ? -EFAULT : 0;
	if (length)
		memory_copy(to, from, length);
	return 0;
}

int memory_write(struct memory *memory, gpa_t address, const void *from, uint64_t length)
{
	void *to = memory_host(memory, address, length);

	if (!to)
		return length ? -EFAULT : 0;
	if (!length)
		return 0;
	memory_copy(to, from, length);
	memory_mark_dirty(memory, address, length);
	return 0;
}

int memory_discard(struct memory *memory, gpa_t address, uint64_t length)
{
	const struct memory_region *region = memory_find(memory, address, length);
	int r;

	if ((address.value | length) & (GUEST_PAGE_SIZE - 1))
		return -EINVAL;
	if (!region)
		return -EFAULT;
	if (region->huge)
		return -EOPNOTSUPP;
	r = memory_drop(region, address.value - region->base.value, length);
	if (r == 0)
		memory_mark_dirty(memory, address, length);
	return r;
}

uint64_t memory_size(const struct memory *memory)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < memory->count; i++)
		total += memory->regions[i].size;
	return total;
}
