#include "base/huge.h"

#include <stdint.h>
#include <sys/mman.h>

/* Linux 6.1; absent from older headers. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* Of x86-64 hosts. */
#define SMALL_PAGE ((size_t)4096)

void *huge_map(size_t size)
{
	size_t whole, before;
	char *start;

	if (__builtin_add_overflow(size, HUGE_PAGE + SMALL_PAGE, &whole))
		return NULL;
	size = (size + SMALL_PAGE - 1) & -SMALL_PAGE;
	whole = size + HUGE_PAGE;
	start = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (start == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)start & (HUGE_PAGE - 1);
	if (before)
		munmap(start, before);
	munmap(start + before + size, HUGE_PAGE - before);
	return start + before;
}

void huge_fill(void *start, size_t size)
{
	(void)madvise(start, size, MADV_HUGEPAGE);
	(void)madvise(start, size, MADV_COLLAPSE);
}
