#include "board/multiboot.h"

#include <errno.h>
#include <string.h>

#define REFUSE(e, ...) error_set(e, ERROR_USAGE, -ENOEXEC, __VA_ARGS__)

#define MAGIC       UINT32_C(0x1badb002)
#define SEARCH_SIZE 8192

enum {
	WANTS_ALIGNED_MODULES = 1 << 0,
	WANTS_MEMORY_MAP = 1 << 1,
	WANTS_VIDEO = 1 << 2,
	HAS_ADDRESSES = 1 << 16,
};
#define REQUIREMENTS 0xffffu /* flags that a loader must understand */

enum { MAGIC_WORD, FLAGS, CHECKSUM, HEADER_ADDRESS, LOAD, LOAD_END, BSS_END, ENTRY, WORDS };

static uint32_t word(const struct blob *blob, size_t offset, unsigned index)
{
	le32_t wire;

	memcpy(&wire, blob->bytes + offset + index * sizeof wire, sizeof wire);
	return le32_get(wire);
}

static bool has_words(const struct blob *blob, size_t offset, unsigned count)
{
	return blob->length >= offset + count * sizeof(le32_t);
}

static int read_header(const struct blob *blob, size_t at, struct multiboot_header *out, struct error *e)
{
	uint32_t flags = word(blob, at, FLAGS);
	uint32_t unknown = flags & REQUIREMENTS & ~(uint32_t)(WANTS_ALIGNED_MODULES | WANTS_MEMORY_MAP);

	if (unknown & WANTS_VIDEO)
		return REFUSE(
			e,
			"asks by its multiboot header for a video mode; this machine has a serial console only");
	if (unknown)
		return REFUSE(e, "asks by its multiboot header for features 0x%x, which are not known", unknown);
	*out = (struct multiboot_header){.offset = at, .placed = flags & HAS_ADDRESSES};
	if (!out->placed)
		return 1;
	if (!has_words(blob, at, WORDS))
		return REFUSE(e, "is truncated within its multiboot header; obtain it again");
	out->header = word(blob, at, HEADER_ADDRESS);
	out->load = word(blob, at, LOAD);
	out->load_end = word(blob, at, LOAD_END);
	out->bss_end = word(blob, at, BSS_END);
	out->entry = word(blob, at, ENTRY);
	return 1;
}

int multiboot_find(const struct blob *blob, struct multiboot_header *out, struct error *e)
{
	for (size_t at = 0; at < SEARCH_SIZE && has_words(blob, at, CHECKSUM + 1); at += sizeof(le32_t))
		if (word(blob, at, MAGIC_WORD) == MAGIC &&
		    word(blob, at, MAGIC_WORD) + word(blob, at, FLAGS) + word(blob, at, CHECKSUM) == 0)
			return read_header(blob, at, out, e);
	return 0;
}

static int damaged(struct error *e)
{
	return REFUSE(e, "is damaged: the addresses in its multiboot header contradict each other");
}

int multiboot_load(struct program *out, struct blob *blob, const struct multiboot_header *h, struct error *e)
{
	struct program_segment s = {.address = h->load};
	uint64_t end;

	/* The header lies in what is loaded, so its own place tells where the file begins. */
	if (h->load > h->header || h->header - h->load > h->offset)
		return damaged(e);
	s.offset = h->offset - (h->header - h->load);
	s.file_bytes = h->load_end ? (uint64_t)h->load_end - h->load : blob->length - s.offset;
	if (h->load_end && h->load_end < h->load)
		return damaged(e);
	if (s.file_bytes > blob->length - s.offset)
		return REFUSE(e,
			      "is truncated: its multiboot header announces more than its bytes; obtain it again");
	end = s.address + s.file_bytes;
	end = h->bss_end > end ? h->bss_end : end;
	s.memory_bytes = end - s.address;
	if (h->entry < h->load || h->entry >= end)
		return damaged(e);
	*out = (struct program){
		.blob = *blob,
		.form = "multiboot",
		.start = PROGRAM_MULTIBOOT,
		.segments = {s},
		.count = 1,
		.entry = h->entry,
	};
	*blob = (struct blob){0};
	return 0;
}
