#include "snapshot/marks.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NS 5000000

static uint64_t groups_of(uint64_t bytes)
{
	return (bytes / GUEST_PAGE_SIZE + MARKS_GROUP - 1) / MARKS_GROUP;
}

uint64_t marks_size(const struct snapshot_header *header)
{
	uint64_t bytes = sizeof(struct marks);

	for (unsigned i = 0; i < header->region_count; i++)
		bytes += groups_of(header->regions[i].size);
	return (bytes + GUEST_PAGE_SIZE - 1) & ~(GUEST_PAGE_SIZE - 1);
}

uint64_t marks_count(const struct memory *memory)
{
	return marks_group(memory, memory->count, 0);
}

uint64_t marks_group(const struct memory *memory, unsigned region, uint64_t page)
{
	uint64_t group = page / MARKS_GROUP;

	for (unsigned i = 0; i < region; i++)
		group += groups_of(memory->regions[i].size);
	return group;
}

bool marks_find(const struct memory *memory, uint64_t group, struct marks_place *place)
{
	uint64_t row = 0;

	for (unsigned i = 0; i < memory->count; i++) {
		uint64_t pages = memory->regions[i].size / GUEST_PAGE_SIZE, groups = groups_of(memory->regions[i].size);
		uint64_t page = group * MARKS_GROUP;

		if (group < groups) {
			*place = (struct marks_place){.region = i, .page = page, .row = row + page};
			place->pages = pages - page < MARKS_GROUP ? pages - page : MARKS_GROUP;
			return true;
		}
		group -= groups;
		row += pages;
	}
	return false;
}

/* Not the private kind: the two sides are processes that share no memory but this. */
void marks_wake(struct marks *marks)
{
	atomic_fetch_add(&marks->turn, 1);
	(void)syscall(SYS_futex, &marks->turn, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void marks_wait(const struct marks *marks, uint32_t turn)
{
	const struct timespec patience = {.tv_nsec = WAIT_NS};

	(void)syscall(SYS_futex, &marks->turn, FUTEX_WAIT, turn, &patience, NULL, 0);
}
