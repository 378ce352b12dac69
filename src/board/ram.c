#include "board/ram.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/zeros.h"

#define RAM_VERSION 1
#define RUN_PAGES   256

void ram_clear(struct memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];

		/* Locked pages refuse it, and those that are coming. */
		if (memory_drop(region, 0, region->size) < 0)
			memset(region->host, 0, region->size);
		memory_mark_dirty(memory, region->base, region->size);
	}
}

/* Pages from `first` on that are not zero, RUN_PAGES at most. */
static uint64_t run_length(const struct memory_region *region, uint64_t first)
{
	uint64_t pages = region->size >> GUEST_PAGE_SHIFT, count = 0;

	while (count < RUN_PAGES && first + count < pages &&
	       !zeros_only(region->host + ((first + count) << GUEST_PAGE_SHIFT), GUEST_PAGE_SIZE))
		count++;
	return count;
}

static uint64_t save_region(const struct memory_region *region, struct state_writer *w)
{
	uint64_t pages = region->size >> GUEST_PAGE_SHIFT, saved = 0;

	for (uint64_t first = 0; first < pages && !w->failed;) {
		uint64_t count = run_length(region, first);
		uint64_t offset = first << GUEST_PAGE_SHIFT;
		char instance[24];

		snprintf(instance, sizeof instance, "%" PRIx64, region->base.value + offset);
		if (count)
			state_save_bytes(w, RAM_KIND, instance, RAM_VERSION, region->host + offset,
					 count << GUEST_PAGE_SHIFT);
		saved += count;
		first += count ? count : 1;
	}
	return saved;
}

uint64_t ram_save(const struct memory *memory, struct state_writer *w)
{
	uint64_t saved = 0;

	for (unsigned i = 0; i < memory->count; i++)
		saved += save_region(&memory->regions[i], w);
	return saved;
}

/* Only the spelling that ram_save uses: lower case, no leading zeros. */
static bool parse_address(const char *text, uint64_t *address)
{
	char again[24];
	uint64_t value = strtoull(text, NULL, 16);

	snprintf(again, sizeof again, "%" PRIx64, value);
	*address = value;
	return strcmp(text, again) == 0;
}

static int refuse(const struct state_section *section, const char *why, struct error *e)
{
	return error_set(e, ERROR_FAILED, -EBADMSG,
			 "saved RAM at \"%s\" (%zu bytes) %s: the saved state is damaged", section->instance,
			 section->length, why);
}

int ram_load(struct memory *memory, const struct state_section *section, uint64_t *next, uint64_t *pages,
	     struct error *e)
{
	uint64_t address;

	if (section->version != RAM_VERSION)
		return refuse(section, "has an unknown version", e);
	if (!parse_address(section->instance, &address))
		return refuse(section, "has no valid address", e);
	if (section->length == 0 || (address | section->length) % GUEST_PAGE_SIZE)
		return refuse(section, "is not made of whole pages", e);
	if (address < *next)
		return refuse(section, "is out of order", e);
	if (memory_write(memory, gpa(address), section->payload, section->length) < 0)
		return refuse(section, "lies outside this machine's RAM", e);
	*next = address + section->length;
	*pages += section->length >> GUEST_PAGE_SHIFT;
	return 0;
}
