#include "board/image_header.h"

#include <errno.h>
#include <string.h>

#define REFUSE(e, ...) error_set(e, ERROR_USAGE, -ENOEXEC, __VA_ARGS__)

/* No kernel claims more memory than this for itself: a larger number is damage. */
#define IMAGE_SIZE_MAX (64 * GIB)

struct image_header {
	uint8_t code[8];
	le64_t text_offset;
	le64_t image_size;
	le64_t flags;
	le32_t version;
	le32_t reserved1;
	le64_t reserved2;
	char magic[8];
	char magic2[4];
	le32_t pe_offset;
};
_Static_assert(sizeof(struct image_header) == 64, "the Image header has 64 bytes");

#define IMAGE_FLAG_BIG_ENDIAN 1

struct pe_header {
	char signature[4];
	le16_t machine;
	le16_t section_count;
	uint8_t unused[12];
	le16_t optional_size;
	le16_t characteristics;
};
_Static_assert(sizeof(struct pe_header) == 24, "the PE signature and COFF header have 24 bytes");

struct pe_section {
	uint8_t unused[16];
	le32_t raw_size;
	le32_t raw_offset;
	uint8_t unused2[16];
};
_Static_assert(sizeof(struct pe_section) == 40, "a COFF section header has 40 bytes");

#define PE_MACHINE_RISCV64 0x5064

static int truncated(struct error *e)
{
	return REFUSE(e, "is truncated: its EFI header announces more than its bytes; obtain it again");
}

static int check_pe_sections(const struct blob *blob, uint64_t at, unsigned count, struct error *e)
{
	for (unsigned i = 0; i < count; i++) {
		struct pe_section section;
		uint64_t from = at + i * sizeof section;

		if (from + sizeof section > blob->length)
			return truncated(e);
		memcpy(&section, blob->bytes + from, sizeof section);
		if ((uint64_t)le32_get(section.raw_offset) + le32_get(section.raw_size) > blob->length)
			return truncated(e);
	}
	return 0;
}

/* Checks a file that begins like an EFI program ("MZ"): right machine, all sections there. `at` is where its
 * PE header lies. */
static int check_pe(const struct blob *blob, uint64_t at, struct error *e)
{
	struct pe_header pe;

	if (at + sizeof pe > blob->length)
		return truncated(e);
	memcpy(&pe, blob->bytes + at, sizeof pe);
	if (memcmp(pe.signature, "PE\0\0", 4) != 0)
		return REFUSE(e, "is damaged: there is no PE header at offset 0x%llx; obtain it again",
			      (unsigned long long)at);
	if (le16_get(pe.machine) != PE_MACHINE_RISCV64)
		return REFUSE(e, "is an EFI program for PE machine 0x%x; this machine is riscv64 (0x%x)",
			      le16_get(pe.machine), PE_MACHINE_RISCV64);
	return check_pe_sections(blob, at + sizeof pe + le16_get(pe.optional_size), le16_get(pe.section_count), e);
}

static bool starts_with_mz(const struct blob *blob)
{
	return blob->length >= 2 && memcmp(blob->bytes, "MZ", 2) == 0;
}

static int check_image_header(const struct image_header *h, struct error *e)
{
	uint64_t text_offset = le64_get(h->text_offset);

	if (le64_get(h->flags) & IMAGE_FLAG_BIG_ENDIAN)
		return REFUSE(e, "is a big-endian Image; this machine is little-endian");
	if (text_offset % GUEST_PAGE_SIZE != 0 || text_offset > GIB)
		return REFUSE(e, "is damaged: its Image header has a load offset of 0x%llx; obtain it again",
			      (unsigned long long)text_offset);
	if (le64_get(h->image_size) > IMAGE_SIZE_MAX)
		return REFUSE(e, "is damaged: its Image header has a size of 0x%llx bytes; obtain it again",
			      (unsigned long long)le64_get(h->image_size));
	return 0;
}

int image_load(struct program *out, struct blob *blob, struct error *e)
{
	struct image_header header;
	uint64_t memory_bytes;
	int r;

	if (blob->length < sizeof header)
		return REFUSE(e, "is truncated within its Image header; obtain it again");
	memcpy(&header, blob->bytes, sizeof header);
	r = check_image_header(&header, e);
	if (r < 0)
		return r;
	r = starts_with_mz(blob) ? check_pe(blob, le32_get(header.pe_offset), e) : 0;
	if (r < 0)
		return r;
	/* The header counts what the kernel zeroes itself (.bss), which the file does not hold. */
	memory_bytes = le64_get(header.image_size);
	program_single(out, "Image", blob, memory_bytes > blob->length ? memory_bytes : blob->length);
	out->text_offset = le64_get(header.text_offset);
	return 0;
}

struct zboot_header {
	char magic[8]; /* "MZ", two bytes, "zimg" */
	le32_t payload_offset;
	le32_t payload_size;
	uint8_t reserved[8];
	char compression[32];
	le32_t linux_magic;
	le32_t pe_offset;
};
_Static_assert(sizeof(struct zboot_header) == 64, "the zboot header has 64 bytes");

static void copy_printable(char *to, const char *from, size_t room)
{
	size_t at = 0;

	for (; at + 1 < room && from[at] > ' ' && from[at] <= '~'; at++)
		to[at] = from[at];
	to[at] = '\0';
}

int zboot_parse(const struct blob *blob, struct zboot_payload *out, struct error *e)
{
	struct zboot_header header;
	struct zboot_payload payload;
	int r;

	if (blob->length < sizeof header)
		return REFUSE(e, "is truncated within its zboot header; obtain it again");
	memcpy(&header, blob->bytes, sizeof header);
	payload.offset = le32_get(header.payload_offset);
	payload.length = le32_get(header.payload_size);
	copy_printable(payload.compression, header.compression, sizeof payload.compression);
	if (payload.offset + payload.length > blob->length)
		return REFUSE(e, "is truncated: its zboot payload ends at byte %llu of %zu; obtain it again",
			      (unsigned long long)(payload.offset + payload.length), blob->length);
	r = check_pe(blob, le32_get(header.pe_offset), e);
	if (r < 0)
		return r;
	*out = payload;
	return 0;
}
