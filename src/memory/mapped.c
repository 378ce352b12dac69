/* RAM whose first contents are a file's, and RAM that a child inherits. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/file.h"
#include "memory/private.h"

#define FLAGS (MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE)

/* Without room for the bits nobody is told that pages are zeros. */
static void note_file(struct memory_region *region, uint64_t offset, uint64_t length)
{
	if (!region->mapped)
		region->from_file = calloc(memory_dirty_words(region), sizeof *region->from_file);
	region->mapped = true;
	if (region->from_file)
		memory_set_bits(region->from_file, offset / GUEST_PAGE_SIZE, length / GUEST_PAGE_SIZE, true);
}

int memory_map_file(struct memory *memory, unsigned index, uint64_t offset, uint64_t length, int fd, uint64_t file_offset,
		    struct error *e)
{
	struct memory_region *region = &memory->regions[index];
	uint8_t *host = region->host + offset;

	if (region->huge) {
		int r = file_read_at(fd, host, length, file_offset);

		return r < 0 ? error_errno(e, r, "reading saved memory") : 0;
	}
	note_file(region, offset, length);
	if (mmap(host, length, PROT_READ | PROT_WRITE, FLAGS, fd, (off_t)file_offset) == MAP_FAILED)
		return error_errno(e, -errno, "mapping saved memory");
	return 0;
}

void memory_mapped(const struct memory *memory, unsigned index)
{
	if (memory->regions[index].mapped)
		memory_advise(memory->regions[index].host, memory->regions[index].size);
}

/* Of a private mapping of a file, MADV_DONTNEED would bring the file's bytes back. */
int memory_drop(const struct memory_region *region, uint64_t offset, uint64_t length)
{
	uint8_t *host = region->host + offset;

	if (length == 0)
		return 0;
	if (atomic_load_explicit(&region->coming, memory_order_acquire))
		return -EBUSY;
	if (region->huge) {
		memory_clear_huge(host, length);
		return 0;
	}
	if (!region->mapped)
		return madvise(host, length, MADV_DONTNEED) < 0 ? -errno : 0;
	if (mmap(host, length, PROT_READ | PROT_WRITE, FLAGS | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		return -errno;
	memory_advise(host, length);
	if (region->from_file)
		memory_set_bits(region->from_file, offset / GUEST_PAGE_SIZE, length / GUEST_PAGE_SIZE, false);
	return 0;
}

int memory_inherit(const struct memory *memory, bool on, struct error *e)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];

		if (madvise(region->host, region->size, on ? MADV_DOFORK : MADV_DONTFORK) < 0)
			return error_errno(e, -errno, "RAM '%s' for a child", region->name);
	}
	return 0;
}
