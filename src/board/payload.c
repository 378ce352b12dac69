#include "board/payload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "board/image_header.h"

#define REFUSE(e, ...) error_set(e, ERROR_USAGE, __VA_ARGS__)

#define FIRMWARE_SPACE (2 * MIB)    /* firmware starts what follows it at this offset (OpenSBI's FW_JUMP_ADDR) */
#define REACH          (3 * GIB)    /* addresses that 32 bit loaders and firmware can still use */
#define FARTHEST       (1024 * GIB) /* from the base of RAM: more is no wish for memory, but a wrong file */

void payload_free(struct boot_payload *payload)
{
	if (!payload)
		return;
	program_finish(&payload->kernel);
	program_finish(&payload->firmware);
	boot_later_finish(&payload->later);
	blob_finish(&payload->initrd);
	free(payload->append);
	free(payload);
}

static uint64_t align_down(uint64_t a, uint64_t alignment)
{
	return a & ~(alignment - 1);
}

/* For sums of addresses and sizes that were checked against FARTHEST: they do not wrap. */
static uint64_t align_up(uint64_t a, uint64_t alignment)
{
	return align_down(a + alignment - 1, alignment);
}

static int check_reach(const struct boot_payload *p, const struct program *program, const char *role,
		       const char *path, struct error *e)
{
	for (unsigned i = 0; i < program->count; i++) {
		const struct program_segment *s = &program->segments[i];

		if (s->address < p->ram_base || s->address - p->ram_base > FARTHEST || s->memory_bytes > FARTHEST)
			return REFUSE(
				e, -EINVAL,
				"%s %s: is to be loaded at 0x%llx, 0x%llx bytes, where there is no RAM (it begins "
				"at 0x%llx); use its Image, or link it again",
				role, path, (unsigned long long)s->address, (unsigned long long)s->memory_bytes,
				(unsigned long long)p->ram_base);
	}
	return 0;
}

static int check_apart(const struct boot_payload *p, const struct payload_files *files, struct error *e)
{
	uint64_t firmware_start, firmware_end, start, end;

	if (!p->kernel.count || !p->firmware.count)
		return 0;
	program_span(&p->firmware, &firmware_start, &firmware_end);
	program_span(&p->kernel, &start, &end);
	if (start >= firmware_end || firmware_start >= end)
		return 0;
	return REFUSE(e, -EINVAL,
		      "kernel %s: lies at 0x%llx to 0x%llx and overlaps the firmware at 0x%llx to 0x%llx; use a "
		      "smaller firmware, or a kernel linked elsewhere",
		      files->kernel, (unsigned long long)start, (unsigned long long)end,
		      (unsigned long long)firmware_start, (unsigned long long)firmware_end);
}

static uint64_t end_of(const struct program *program, uint64_t fallback)
{
	uint64_t start, end;

	if (!program->count)
		return fallback;
	program_span(program, &start, &end);
	return end;
}

/* First address above firmware and kernel. */
static uint64_t programs_end(const struct boot_payload *p)
{
	uint64_t firmware = end_of(&p->firmware, p->ram_base), kernel = end_of(&p->kernel, p->ram_base);
	uint64_t end = firmware > kernel ? firmware : kernel;

	if (p->firmware.count && end < p->ram_base + FIRMWARE_SPACE)
		end = p->ram_base + FIRMWARE_SPACE;
	return end;
}

static uint64_t initrd_space(const struct boot_payload *p)
{
	return align_up(p->initrd_bytes, GUEST_PAGE_SIZE);
}

static int does_not_fit(const struct boot_payload *p, const struct payload_files *files, struct error *e)
{
	char initrd[TEXT_OF_SIZE_ROOM], programs[TEXT_OF_SIZE_ROOM], ram[TEXT_OF_SIZE_ROOM];
	uint64_t used = programs_end(p) - p->ram_base;
	uint64_t need = align_up(used + initrd_space(p), IMAGE_ALIGNMENT) + IMAGE_ALIGNMENT;
	const char *role = p->kernel.count ? "kernel" : "firmware";
	const char *path = p->kernel.count ? files->kernel : files->firmware;

	text_of_size(programs, used);
	text_of_size(ram, p->ram_bytes);
	if (!p->initrd_bytes)
		return REFUSE(
			e, -ENOSPC,
			"%s %s: needs the first %s of RAM and does not fit in %s; give --memory %lluM or more",
			role, path, programs, ram, (unsigned long long)(need / MIB));
	return REFUSE(e, -ENOSPC,
		      "initrd %s: its %s do not fit in %s of RAM beside the %s, which needs the first %s; give "
		      "--memory %lluM or more",
		      files->initrd, text_of_size(initrd, p->initrd_bytes), ram, role, programs,
		      (unsigned long long)(need / MIB));
}

/* Tree and initrd from `top` downwards, if there is room for them above the programs. */
static bool place_below(struct boot_payload *p, uint64_t top)
{
	uint64_t low = programs_end(p), space = initrd_space(p), fdt;

	if (top < p->ram_base + PAYLOAD_FDT_SPACE)
		return false;
	fdt = align_down(top - PAYLOAD_FDT_SPACE, IMAGE_ALIGNMENT);
	if (fdt < low || fdt - low < space)
		return false;
	p->fdt_address = fdt;
	p->initrd_address = fdt - space;
	return true;
}

static void place_programs(struct boot_payload *p)
{
	uint64_t offset = p->firmware.count ? FIRMWARE_SPACE : p->kernel.text_offset;

	if (p->firmware.movable)
		program_move(&p->firmware, p->ram_base);
	if (p->kernel.movable)
		program_move(&p->kernel, p->ram_base + offset);
	p->next_address = p->kernel.count ? p->kernel.entry : p->ram_base + FIRMWARE_SPACE;
}

int payload_place(struct boot_payload *payload, const struct payload_files *files, struct error *e)
{
	uint64_t ram_end = payload->ram_base + payload->ram_bytes;
	int r;

	place_programs(payload);
	r = check_reach(payload, &payload->firmware, "firmware", files->firmware, e);
	if (r == 0)
		r = check_reach(payload, &payload->kernel, "kernel", files->kernel, e);
	if (r == 0)
		r = check_apart(payload, files, e);
	if (r < 0)
		return r;
	if (payload->initrd_bytes <= FARTHEST &&
	    (place_below(payload, ram_end < REACH ? ram_end : REACH) || place_below(payload, ram_end)))
		return 0;
	return does_not_fit(payload, files, e);
}

static int check_files(const struct payload_files *files, struct error *e)
{
	if (!files->kernel && !files->firmware)
		return REFUSE(e, -EINVAL, "there is nothing to boot; give --kernel or --firmware");
	if (files->initrd && !files->kernel)
		return REFUSE(e, -EINVAL, "initrd %s: only a kernel can use it; give --kernel too", files->initrd);
	return 0;
}

static int read_all(struct boot_payload *p, const struct payload_files *files, struct error *e)
{
	int r = check_files(files, e);

	if (r == 0)
		r = boot_copy_append(&p->append, files->append, e);
	if (r == 0)
		r = boot_read_firmware(&p->firmware, files->firmware, p->ram_bytes, e);
	if (r == 0)
		r = boot_read_kernel(&p->kernel, files->kernel, ENGINE_RISCV64, p->ram_bytes, e);
	if (r == 0)
		r = boot_measure_initrd(&p->initrd_bytes, files->initrd, e);
	if (r == 0)
		r = payload_place(p, files, e);
	if (r == 0)
		r = boot_open_initrd(&p->initrd, files->initrd, p->initrd_bytes, e);
	if (r == 0)
		p->initrd_bytes = p->initrd.length;
	return r;
}

static int open_all(struct boot_payload *p, const struct payload_files *files, struct error *e)
{
	int r = check_files(files, e);

	if (r == 0)
		r = boot_copy_append(&p->append, files->append, e);
	if (r == 0)
		r = boot_later_open(&p->later, &p->initrd, files, p->ram_bytes, e);
	if (r == 0)
		p->initrd_bytes = p->initrd.length;
	return r;
}

int payload_settle(struct boot_payload *payload, struct error *e)
{
	struct payload_files files;
	int r;

	if (!boot_is_later(&payload->later))
		return 0;
	r = boot_later_parse(&payload->later, &payload->kernel, &files, ENGINE_RISCV64, payload->ram_bytes, e);
	return r < 0 ? r : payload_place(payload, &files, e);
}

static int make(struct boot_payload **out, int (*fill)(struct boot_payload *, const struct payload_files *, struct error *),
		const struct payload_files *files, gpa_t ram_base, uint64_t ram_bytes, struct error *e)
{
	struct boot_payload *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return error_errno(e, -ENOMEM, "boot payload");
	p->ram_base = ram_base.value;
	p->ram_bytes = ram_bytes;
	r = fill(p, files, e);
	if (r < 0)
		payload_free(p);
	else
		*out = p;
	return r;
}

int payload_new(struct boot_payload **out, const struct payload_files *files, gpa_t ram_base, uint64_t ram_bytes,
		struct error *e)
{
	return make(out, read_all, files, ram_base, ram_bytes, e);
}

int payload_open(struct boot_payload **out, const struct payload_files *files, gpa_t ram_base, uint64_t ram_bytes,
		 struct error *e)
{
	return make(out, open_all, files, ram_base, ram_bytes, e);
}

static int write_all(const struct boot_payload *payload, struct memory *memory, struct error *e)
{
	int r = program_write(&payload->firmware, memory);

	if (r == 0)
		r = program_write(&payload->kernel, memory);
	if (r == 0)
		r = blob_place(&payload->initrd, 0, payload->initrd.length, memory, gpa(payload->initrd_address));
	if (r == -EFAULT)
		return error_errno(e, r, "boot payload outside RAM");
	return r < 0 ? error_errno(e, r == -EBADMSG ? -ESTALE : r, "a boot file cannot be read") : 0;
}

int payload_write(struct boot_payload *payload, struct memory *memory, struct error *e)
{
	struct blob *const blobs[] = {&payload->firmware.blob, &payload->kernel.blob, &payload->initrd};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(blobs); i++)
		r = blob_check(blobs[i], e);
	if (r == 0)
		r = write_all(payload, memory, e);
	for (size_t i = 0; i < ARRAY_SIZE(blobs); i++)
		blob_rest(blobs[i]);
	return r;
}
