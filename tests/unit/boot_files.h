/*
 * Boot files made for a test: Images, ELF files, compressed and zboot forms, right or wrong in one respect, and a
 * directory to put them in.
 */
#ifndef DOPPEL_TESTS_BOOT_FILES_H
#define DOPPEL_TESTS_BOOT_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <elf.h>
#include <zlib.h>
#include <zstd.h>

#include "board/blob.h"

static inline void put32(struct blob *b, size_t at, uint32_t value)
{
	le32_t v = le32_put(value);

	memcpy(b->bytes + at, &v, sizeof v);
}

static inline void put64(struct blob *b, size_t at, uint64_t value)
{
	le64_t v = le64_put(value);

	memcpy(b->bytes + at, &v, sizeof v);
}

/* Bytes that do not compress well and differ from place to place. */
static inline struct blob make_noise(size_t length)
{
	struct blob b = {.bytes = malloc(length), .length = length};
	uint32_t x = 12345;

	assert_non_null(b.bytes);
	for (size_t i = 0; i < length; i++) {
		x = x * 1664525 + 1013904223;
		b.bytes[i] = (uint8_t)(x >> 24);
	}
	return b;
}

static inline struct blob make_image(size_t length, uint64_t text_offset, uint64_t image_size)
{
	struct blob b = make_noise(length);

	memset(b.bytes, 0, length < 64 ? length : 64);
	put64(&b, 8, text_offset);
	put64(&b, 16, image_size);
	memcpy(b.bytes + 48, "RISCV\0\0\0RSC\x05", 12);
	return b;
}

/* Adds a PE header of one section, at `at`, that covers the file from `from` on. */
static inline void add_pe(struct blob *b, uint32_t at, uint16_t machine, uint32_t from)
{
	memcpy(b->bytes, "MZ", 2);
	put32(b, 60, at);
	memset(b->bytes + at, 0, 24 + 40);
	memcpy(b->bytes + at, "PE\0\0", 4);
	b->bytes[at + 4] = (uint8_t)machine;
	b->bytes[at + 5] = (uint8_t)(machine >> 8);
	b->bytes[at + 6] = 1;
	put32(b, at + 24 + 16, (uint32_t)b->length - from);
	put32(b, at + 24 + 20, from);
}

static inline struct blob make_gzip(const struct blob *inner)
{
	z_stream z = {0};
	struct blob b;

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	b.length = deflateBound(&z, inner->length);
	b.bytes = malloc(b.length);
	assert_non_null(b.bytes);
	z.next_in = inner->bytes;
	z.avail_in = (uInt)inner->length;
	z.next_out = b.bytes;
	z.avail_out = (uInt)b.length;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	b.length = z.total_out;
	deflateEnd(&z);
	return b;
}

static inline struct blob make_zstd(const struct blob *inner)
{
	struct blob b;

	b.length = ZSTD_compressBound(inner->length);
	b.bytes = malloc(b.length);
	assert_non_null(b.bytes);
	b.length = ZSTD_compress(b.bytes, b.length, inner->bytes, inner->length, 3);
	assert_false(ZSTD_isError(b.length));
	return b;
}

#define ZBOOT_PAYLOAD 256
static inline struct blob make_zboot(const struct blob *packed, const char *compression)
{
	struct blob b = {.bytes = calloc(1, ZBOOT_PAYLOAD + packed->length),
			 .length = ZBOOT_PAYLOAD + packed->length};

	assert_non_null(b.bytes);
	memcpy(b.bytes + ZBOOT_PAYLOAD, packed->bytes, packed->length);
	memcpy(b.bytes + 4, "zimg", 4);
	put32(&b, 8, ZBOOT_PAYLOAD);
	put32(&b, 12, (uint32_t)packed->length);
	strcpy((char *)b.bytes + 24, compression);
	put32(&b, 56, 0x818223cd);
	add_pe(&b, 64, 0x5064, ZBOOT_PAYLOAD);
	return b;
}

struct elf_segment {
	uint64_t virtual_address, physical_address, file_bytes, memory_bytes;
};

/* An executable whose segments' bytes follow its headers in order; entry at the first segment's start. */
static inline struct blob make_elf(const struct elf_segment *segments, unsigned count)
{
	size_t at = sizeof(Elf64_Ehdr) + count * sizeof(Elf64_Phdr), length = at;
	Elf64_Ehdr h = {.e_type = ET_EXEC,
			.e_machine = EM_RISCV,
			.e_version = 1,
			.e_ehsize = sizeof h,
			.e_phoff = sizeof h,
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = (Elf64_Half)count,
			.e_entry = count ? segments[0].virtual_address : 0};
	struct blob b;

	for (unsigned i = 0; i < count; i++)
		length += segments[i].file_bytes;
	b = make_noise(length);
	memcpy(h.e_ident, ELFMAG "\2\1\1", 7);
	memcpy(b.bytes, &h, sizeof h);
	for (unsigned i = 0; i < count; i++) {
		const struct elf_segment *s = &segments[i];
		Elf64_Phdr p = {.p_type = PT_LOAD,
				.p_offset = at,
				.p_vaddr = s->virtual_address,
				.p_paddr = s->physical_address,
				.p_filesz = s->file_bytes,
				.p_memsz = s->memory_bytes};

		memcpy(b.bytes + sizeof h + i * sizeof p, &p, sizeof p);
		at += s->file_bytes;
	}
	return b;
}

static inline size_t elf_phdr(unsigned index, size_t field)
{
	return sizeof(Elf64_Ehdr) + index * sizeof(Elf64_Phdr) + field;
}

/* A directory of the test's own, and files in it. */
struct boot_directory {
	char path[64];
	char *names[16];
	unsigned count;
};

static inline void directory_init(struct boot_directory *d)
{
	*d = (struct boot_directory){.path = "/tmp/doppel-board-XXXXXX"};
	assert_non_null(mkdtemp(d->path));
}

static inline void directory_finish(struct boot_directory *d)
{
	for (unsigned i = 0; i < d->count; i++) {
		unlink(d->names[i]);
		free(d->names[i]);
	}
	assert_int_equal(rmdir(d->path), 0);
}

/* Writes and releases the blob; the path belongs to the directory. */
static inline const char *directory_add(struct boot_directory *d, const char *name, struct blob *blob)
{
	char *path;
	FILE *f;

	assert_true(d->count < 16);
	assert_true(asprintf(&path, "%s/%s", d->path, name) > 0);
	d->names[d->count++] = path;
	f = fopen(path, "wbe");
	assert_non_null(f);
	assert_int_equal(fwrite(blob->bytes, 1, blob->length, f), blob->length);
	assert_int_equal(fclose(f), 0);
	blob_finish(blob);
	return path;
}

/* Fails unless `text` contains `part`, showing both. */
#define assert_contains(text, part)                                                                               \
	do {                                                                                                      \
		if (!strstr(text, part))                                                                          \
			fail_msg("\"%s\" does not contain \"%s\"", text, part);                                   \
	} while (0)

#endif
