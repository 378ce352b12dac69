#include "board/bzimage.h"

#include <errno.h>
#include <string.h>

#define REFUSE(e, ...) error_set(e, ERROR_USAGE, -ENOEXEC, __VA_ARGS__)

#define SECTOR          512
#define BOOT_FLAG       0xaa55
#define VERSION_LEAST   0x020c /* with a 64-bit entry point: Linux 3.8 */
#define LOADED_HIGH     0x01
#define KERNEL_64       0x0001
#define ENTRY_64        0x200
#define PARAGRAPH       16
#define ALIGNMENT_LEAST GUEST_PAGE_SIZE
#define ALIGNMENT_MOST  GIB
#define ZERO_PAGE_ROOM  0x290
#define MEMORY_MOST     (2 * GIB) /* a kernel that wants more for itself is damaged */

static uint64_t field(const struct blob *blob, unsigned offset, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = size; i-- > 0;)
		value = value << 8 | blob->bytes[offset + i];
	return value;
}

static int check_kind(const struct blob *blob, struct error *e)
{
	uint64_t version;

	if (blob->length < BZIMAGE_HEADER_END)
		return REFUSE(e, "is truncated within its setup header; obtain it again");
	version = field(blob, BZIMAGE_VERSION, 2);
	if (field(blob, BZIMAGE_BOOT_FLAG, 2) != BOOT_FLAG)
		return REFUSE(e, "is damaged: its boot sector has no signature; obtain it again");
	if (version < VERSION_LEAST)
		return REFUSE(e, "has boot protocol %u.%02u, and 2.12 is needed (Linux 3.8); use a newer kernel",
			      (unsigned)version >> 8, (unsigned)version & 0xff);
	if (BZIMAGE_MAGIC + field(blob, BZIMAGE_JUMP, 1) < BZIMAGE_HEADER_END)
		return REFUSE(e, "is damaged: its setup header is too short; obtain it again");
	if (!(field(blob, BZIMAGE_LOAD_FLAGS, 1) & LOADED_HIGH))
		return REFUSE(e, "is a zImage; use a bzImage");
	if (!(field(blob, BZIMAGE_LOAD64_FLAGS, 2) & KERNEL_64))
		return REFUSE(e, "is a 32 bit x86 kernel; this machine needs one for x86-64");
	return 0;
}

/* Old kernels say 0 for 4. */
static uint64_t setup_bytes(const struct blob *blob)
{
	uint64_t sectors = field(blob, BZIMAGE_SETUP_SECTORS, 1);

	return ((sectors ? sectors : 4) + 1) * SECTOR;
}

static int check_whole(const struct blob *blob, struct error *e)
{
	uint64_t end = setup_bytes(blob) + field(blob, BZIMAGE_SIZE, 4) * PARAGRAPH;

	/* The last paragraph need not be full. */
	if (end - (PARAGRAPH - 1) > blob->length || setup_bytes(blob) + ENTRY_64 >= blob->length)
		return REFUSE(e, "is truncated: its header announces %llu bytes, and it has %zu; obtain it again",
			      (unsigned long long)end, blob->length);
	return 0;
}

static int damaged(struct error *e, const char *what, uint64_t value)
{
	return REFUSE(e, "is damaged: its setup header has %s 0x%llx; obtain it again", what,
		      (unsigned long long)value);
}

static int check_places(const struct blob *blob, struct error *e)
{
	uint64_t alignment = field(blob, BZIMAGE_ALIGNMENT, 4), memory = field(blob, BZIMAGE_MEMORY, 4);
	uint64_t preferred = field(blob, BZIMAGE_PREFERRED, 8);

	if (alignment < ALIGNMENT_LEAST || alignment > ALIGNMENT_MOST || (alignment & (alignment - 1)))
		return damaged(e, "an alignment of", alignment);
	if (memory > MEMORY_MOST)
		return damaged(e, "an amount of memory of", memory);
	if (preferred < MIB || preferred > 4 * GIB)
		return damaged(e, "a preferred address of", preferred);
	return 0;
}

/* Within the file, and within what the zero page has for it. */
static uint32_t header_end(const struct blob *blob)
{
	uint64_t end = BZIMAGE_MAGIC + field(blob, BZIMAGE_JUMP, 1);

	end = end < ZERO_PAGE_ROOM ? end : ZERO_PAGE_ROOM;
	return (uint32_t)(end < blob->length ? end : blob->length);
}

static void describe(struct program *p, const struct blob *blob)
{
	uint64_t memory = field(blob, BZIMAGE_MEMORY, 4), offset = setup_bytes(blob);

	*p = (struct program){
		.form = "bzImage",
		.start = PROGRAM_LINUX,
		.count = 1,
		.entry = ENTRY_64,
		.movable = true,
		.fixed = !field(blob, BZIMAGE_RELOCATABLE, 1),
		.alignment = field(blob, BZIMAGE_ALIGNMENT, 4),
		.text_offset = field(blob, BZIMAGE_PREFERRED, 8),
		.header_end = header_end(blob),
		.initrd_last = (uint32_t)field(blob, BZIMAGE_INITRD_MAX, 4),
		.append_max = (uint32_t)field(blob, BZIMAGE_COMMAND_SIZE, 4),
	};
	p->segments[0] = (struct program_segment){.offset = offset, .file_bytes = blob->length - offset};
	p->segments[0].memory_bytes = memory > p->segments[0].file_bytes ? memory : p->segments[0].file_bytes;
}

int bzimage_load(struct program *out, struct blob *blob, struct error *e)
{
	int r = check_kind(blob, e);

	if (r == 0)
		r = check_whole(blob, e);
	if (r == 0)
		r = check_places(blob, e);
	if (r < 0)
		return r;
	describe(out, blob);
	out->blob = *blob;
	*blob = (struct blob){0};
	return 0;
}
