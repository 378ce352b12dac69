#include "host/code.h"

#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define PAGE UINT64_C(4096)

/* What may be written to is no copy of its file's. */
static void rest_segment(const struct dl_phdr_info *object, const ElfW(Phdr) *segment)
{
	uint64_t first = (object->dlpi_addr + segment->p_vaddr) & ~(PAGE - 1);
	uint64_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_filesz + PAGE - 1) & ~(PAGE - 1);

	if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
		(void)madvise((void *)(uintptr_t)first, end - first, MADV_DONTNEED);
}

static int rest_object(struct dl_phdr_info *object, size_t size, void *nothing)
{
	(void)size;
	(void)nothing;
	for (unsigned i = 0; i < object->dlpi_phnum; i++)
		rest_segment(object, &object->dlpi_phdr[i]);
	return 0;
}

void host_code_rest(void)
{
	dl_iterate_phdr(rest_object, NULL);
}
