#include "board/pc_boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "board/pc_map.h"
#include "board/pc_protocol.h"
#include "board/pc_ranges.h"

#define REFUSE(e, ...) error_set(e, ERROR_USAGE, __VA_ARGS__)

void pc_boot_free(struct pc_boot *boot)
{
	if (!boot)
		return;
	boot_later_finish(&boot->later);
	program_finish(&boot->kernel);
	blob_finish(&boot->initrd);
	free(boot->append);
	free(boot);
}

static uint64_t align_down(uint64_t a, uint64_t alignment)
{
	return a & ~(alignment - 1);
}

/* For sums of addresses and sizes below 8 GiB: they do not wrap. */
static uint64_t align_up(uint64_t a, uint64_t alignment)
{
	return align_down(a + alignment - 1, alignment);
}

/* A kernel where it wishes to be is one that needs not move itself. */
static void place_kernel(struct pc_boot *boot)
{
	struct program *kernel = &boot->kernel;
	uint64_t size = kernel->segments[0].memory_bytes, wish = kernel->text_offset;

	if (!kernel->movable)
		return;
	if (!kernel->fixed && (size > pc_ram_low(boot->ram_bytes) || wish > pc_ram_low(boot->ram_bytes) - size))
		wish = align_up(PC_HIGH_MEMORY, kernel->alignment);
	program_move(kernel, wish);
}

static int check_reach(const struct program *kernel, const char *path, struct error *e)
{
	for (unsigned i = 0; i < kernel->count; i++) {
		const struct program_segment *s = &kernel->segments[i];

		if (s->address < PC_HIGH_MEMORY || s->address > PC_HOLE || s->memory_bytes > PC_HOLE)
			return REFUSE(
				e, -EINVAL,
				"kernel %s: is to be loaded at 0x%llx, 0x%llx bytes; only addresses from 1 MiB to "
				"3 GiB are possible; link it again",
				path, (unsigned long long)s->address, (unsigned long long)s->memory_bytes);
	}
	return 0;
}

static uint64_t initrd_space(const struct pc_boot *boot)
{
	return align_up(boot->initrd_bytes, GUEST_PAGE_SIZE);
}

/* The address after the last that an initrd can have. */
static uint64_t initrd_limit(const struct pc_boot *boot)
{
	uint64_t limit = pc_ram_low(boot->ram_bytes);

	if (boot->kernel.start == PROGRAM_LINUX && boot->kernel.initrd_last < limit)
		limit = (uint64_t)boot->kernel.initrd_last + 1;
	return align_down(limit, GUEST_PAGE_SIZE);
}

static uint64_t kernel_end(const struct pc_boot *boot)
{
	uint64_t start, end;

	program_span(&boot->kernel, &start, &end);
	return align_up(end, GUEST_PAGE_SIZE);
}

static int does_not_fit(const struct pc_boot *boot, const struct payload_files *files, struct error *e)
{
	char initrd[TEXT_OF_SIZE_ROOM], kernel[TEXT_OF_SIZE_ROOM], ram[TEXT_OF_SIZE_ROOM];
	uint64_t need = align_up(kernel_end(boot) + initrd_space(boot), MIB);

	text_of_size(kernel, kernel_end(boot));
	text_of_size(ram, boot->ram_bytes);
	if (need > initrd_limit(boot) && need <= pc_ram_low(boot->ram_bytes))
		return REFUSE(
			e, -ENOSPC,
			"initrd %s: its %s do not fit below the address 0x%x, the last that the kernel takes; use a smaller one",
			files->initrd, text_of_size(initrd, boot->initrd_bytes), boot->kernel.initrd_last);
	if (!boot->initrd_bytes)
		return REFUSE(
			e, -ENOSPC,
			"kernel %s: needs the first %s of RAM and does not fit in %s; give --memory %lluM or more",
			files->kernel, kernel, ram, (unsigned long long)(need / MIB));
	return REFUSE(
		e, -ENOSPC,
		"initrd %s: its %s do not fit in %s of RAM beside the kernel, which needs the first %s; give --memory "
		"%lluM or more",
		files->initrd, text_of_size(initrd, boot->initrd_bytes), ram, kernel,
		(unsigned long long)(need / MIB));
}

int pc_boot_place(struct pc_boot *boot, const struct payload_files *files, struct error *e)
{
	uint64_t limit;
	int r;

	place_kernel(boot);
	r = check_reach(&boot->kernel, files->kernel, e);
	if (r < 0)
		return r;
	limit = initrd_limit(boot);
	if (boot->initrd_bytes > PC_HOLE)
		return REFUSE(e, -ENOSPC,
			      "initrd %s: is larger than the 3 GiB that it could have; use a smaller one",
			      files->initrd);
	if (kernel_end(boot) > pc_ram_low(boot->ram_bytes) || limit < initrd_space(boot) ||
	    limit - initrd_space(boot) < kernel_end(boot))
		return does_not_fit(boot, files, e);
	boot->initrd_address = limit - initrd_space(boot);
	return 0;
}

static int check_files(const struct payload_files *files, struct error *e)
{
	if (files->firmware)
		return REFUSE(e, -EINVAL, "firmware %s: this machine has none; give its kernel with --kernel",
			      files->firmware);
	if (!files->kernel)
		return REFUSE(e, -EINVAL, "there is nothing to boot; give --kernel");
	return 0;
}

static size_t append_most(const struct program *kernel)
{
	return kernel->start == PROGRAM_LINUX && kernel->append_max < PAYLOAD_APPEND_MAX ? kernel->append_max
											 : PAYLOAD_APPEND_MAX;
}

static int check_append(const struct pc_boot *boot, struct error *e)
{
	return boot_check_append(boot->append, append_most(&boot->kernel), e);
}

static int read_all(struct pc_boot *boot, const struct payload_files *files, struct error *e)
{
	int r = check_files(files, e);

	if (r == 0)
		r = boot_read_kernel(&boot->kernel, files->kernel, ENGINE_X86_64, boot->ram_bytes, e);
	if (r == 0)
		r = boot_copy_append(&boot->append, files->append, e);
	if (r == 0)
		r = check_append(boot, e);
	if (r == 0)
		r = boot_measure_initrd(&boot->initrd_bytes, files->initrd, e);
	if (r == 0)
		r = pc_boot_place(boot, files, e);
	if (r == 0)
		r = boot_open_initrd(&boot->initrd, files->initrd, boot->initrd_bytes, e);
	if (r == 0)
		boot->initrd_bytes = boot->initrd.length;
	return r;
}

static int open_all(struct pc_boot *boot, const struct payload_files *files, struct error *e)
{
	int r = check_files(files, e);

	if (r == 0)
		r = boot_copy_append(&boot->append, files->append, e);
	if (r == 0)
		r = boot_later_open(&boot->later, &boot->initrd, files, boot->ram_bytes, e);
	if (r == 0)
		boot->initrd_bytes = boot->initrd.length;
	return r;
}

int pc_boot_settle(struct pc_boot *boot, struct error *e)
{
	struct payload_files files;
	int r;

	if (!boot_is_later(&boot->later))
		return 0;
	r = boot_later_parse(&boot->later, &boot->kernel, &files, ENGINE_X86_64, boot->ram_bytes, e);
	if (r == 0)
		r = check_append(boot, e);
	return r < 0 ? r : pc_boot_place(boot, &files, e);
}

static int make(struct pc_boot **out, int (*fill)(struct pc_boot *, const struct payload_files *, struct error *),
		const struct payload_files *files, uint64_t ram_bytes, struct error *e)
{
	struct pc_boot *boot = calloc(1, sizeof *boot);
	int r;

	if (!boot)
		return error_errno(e, -ENOMEM, "boot payload");
	boot->ram_bytes = ram_bytes;
	r = fill(boot, files, e);
	if (r < 0)
		pc_boot_free(boot);
	else
		*out = boot;
	return r;
}

int pc_boot_new(struct pc_boot **out, const struct payload_files *files, uint64_t ram_bytes, struct error *e)
{
	return make(out, read_all, files, ram_bytes, e);
}

int pc_boot_open(struct pc_boot **out, const struct payload_files *files, uint64_t ram_bytes, struct error *e)
{
	return make(out, open_all, files, ram_bytes, e);
}

static int write_tables(const struct pc_boot *boot, struct memory *memory)
{
	int r = memory_write(memory, gpa(PC_COMMAND_LINE), boot->append, strlen(boot->append) + 1);

	if (r < 0)
		return r;
	switch (boot->kernel.start) {
	case PROGRAM_LINUX:
		return pc_write_linux(boot, memory);
	case PROGRAM_PVH:
		return pc_write_pvh(boot, memory);
	default:
		return pc_write_multiboot(boot, memory);
	}
}

static int write_all(const struct pc_boot *boot, struct memory *memory, struct error *e)
{
	int r = program_write(&boot->kernel, memory);

	if (r == 0)
		r = memory_write(memory, gpa(boot->initrd_address), boot->initrd.bytes, boot->initrd.length);
	if (r == 0)
		r = write_tables(boot, memory);
	return r < 0 ? error_errno(e, r, "boot payload outside RAM") : 0;
}

int pc_boot_write(struct pc_boot *boot, struct memory *memory, struct error *e)
{
	int r = blob_wake(&boot->kernel.blob, e);

	if (r == 0)
		r = blob_wake(&boot->initrd, e);
	if (r == 0)
		r = write_all(boot, memory, e);
	blob_rest(&boot->kernel.blob);
	blob_rest(&boot->initrd);
	return r;
}
