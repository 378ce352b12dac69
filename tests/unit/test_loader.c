/* Kernel and firmware files: each accepted form, and each way in which one can be wrong. */
#include "boot_files.h"

#include <errno.h>

#include "board/kernel_file.h"

#define RAM (64 * MIB)

static struct program parse(struct blob blob)
{
	struct error e = {0};
	struct program p;

	if (kernel_parse(&p, &blob, ENGINE_RISCV64, RAM, &e) < 0)
		fail_msg("refused: %s", e.message);
	assert_null(blob.bytes);
	return p;
}

/* Refused as the request's fault with a message that has `part`; the blob is released. */
static void refused(struct blob blob, const char *part)
{
	struct error e = {0};
	struct program p = {.count = 99};
	int r = kernel_parse(&p, &blob, ENGINE_RISCV64, RAM, &e);

	if (r >= 0)
		fail_msg("accepted as %s; \"%s\" was expected", p.form, part);
	assert_contains(e.message, part);
	assert_int_equal(e.kind, ERROR_USAGE);
	assert_int_equal(p.count, 99);
	assert_null(blob.bytes);
}

static void is_image(struct program p, const struct blob *image, uint64_t memory_bytes)
{
	assert_string_equal(p.form, "Image");
	assert_true(p.movable);
	assert_int_equal(p.count, 1);
	assert_int_equal(p.entry, 0);
	assert_int_equal(p.text_offset, 0x200000);
	assert_int_equal(p.segments[0].file_bytes, image->length);
	assert_int_equal(p.segments[0].memory_bytes, memory_bytes);
	assert_int_equal(p.blob.length, image->length);
	assert_memory_equal(p.blob.bytes, image->bytes, image->length);
	program_finish(&p);
}

static struct blob copy_of(const struct blob *b)
{
	struct blob copy = {.bytes = malloc(b->length), .length = b->length};

	assert_non_null(copy.bytes);
	memcpy(copy.bytes, b->bytes, b->length);
	return copy;
}

static void test_image(void **state)
{
	struct blob image = make_image(300000, 0x200000, 400000), larger = make_image(5000, 0x200000, 0);
	struct blob stub = make_image(8192, 0x200000, 8192);

	(void)state;
	is_image(parse(copy_of(&image)), &image, 400000);
	is_image(parse(copy_of(&larger)), &larger, 5000);
	add_pe(&stub, 64, 0x5064, 4096);
	is_image(parse(copy_of(&stub)), &stub, 8192);
	blob_finish(&image);
	blob_finish(&larger);
	blob_finish(&stub);
}

static void test_compressed(void **state)
{
	struct blob image = make_image(1000000, 0x200000, 1200000);
	struct blob gzip = make_gzip(&image), zstd = make_zstd(&image), twice = make_gzip(&zstd);

	(void)state;
	is_image(parse(copy_of(&gzip)), &image, 1200000);
	is_image(parse(copy_of(&zstd)), &image, 1200000);
	is_image(parse(twice), &image, 1200000);
	is_image(parse(make_zboot(&gzip, "gzip")), &image, 1200000);
	is_image(parse(make_zboot(&zstd, "zstd")), &image, 1200000);
	is_image(parse(make_zboot(&zstd, "zstd22")), &image, 1200000);
	blob_finish(&image);
	blob_finish(&gzip);
	blob_finish(&zstd);
}

static struct blob joined(struct blob a, struct blob b)
{
	a.bytes = realloc(a.bytes, a.length + b.length);
	assert_non_null(a.bytes);
	memcpy(a.bytes + a.length, b.bytes, b.length);
	a.length += b.length;
	blob_finish(&b);
	return a;
}

/* Members and frames one after another are one file; other bytes behind them are not its business. */
static void test_compressed_in_parts(void **state)
{
	struct blob image = make_image(200000, 0x200000, 0);
	struct blob head = {.bytes = image.bytes, .length = 70000},
		    tail = {.bytes = image.bytes + 70000, .length = 130000};

	(void)state;
	is_image(parse(joined(make_gzip(&head), make_gzip(&tail))), &image, 200000);
	is_image(parse(joined(make_zstd(&head), make_zstd(&tail))), &image, 200000);
	is_image(parse(joined(make_gzip(&image), make_noise(100))), &image, 200000);
	is_image(parse(joined(make_zstd(&image), make_noise(4))), &image, 200000);
	blob_finish(&image);
}

static void test_elf(void **state)
{
	static const struct elf_segment segments[] = {
		{0xffffffff80000000, 0x80200000, 5000, 9000},
		{0xffffffff80400000, 0x80400000, 0, 4096},
		{0xffffffff80600000, 0x80600000, 100, 100},
	};
	struct blob elf = make_elf(segments, 3);
	struct program p;

	(void)state;
	put64(&elf, elf_phdr(1, offsetof(Elf64_Phdr, p_offset)), 1 << 30);
	put64(&elf, offsetof(Elf64_Ehdr, e_entry), 0xffffffff80000010);
	p = parse(copy_of(&elf));
	assert_string_equal(p.form, "ELF");
	assert_false(p.movable);
	assert_int_equal(p.count, 3);
	assert_int_equal(p.entry, 0x80200010);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(p.segments[i].address, segments[i].physical_address);
		assert_int_equal(p.segments[i].file_bytes, segments[i].file_bytes);
		assert_int_equal(p.segments[i].memory_bytes, segments[i].memory_bytes);
	}
	assert_int_equal(p.segments[2].offset, elf.length - 100);
	program_finish(&p);
	blob_finish(&elf);
}

/* An Image with one field changed. */
static struct blob image_with(size_t at, uint64_t value)
{
	struct blob image = make_image(8192, 0x200000, 8192);

	put64(&image, at, value);
	return image;
}

static struct blob cut(struct blob b, size_t length)
{
	assert_true(length < b.length);
	b.length = length;
	b.bytes = realloc(b.bytes, length);
	return b;
}

static struct blob stub_image(uint16_t machine)
{
	struct blob image = make_image(8192, 0x200000, 8192);

	add_pe(&image, 64, machine, 4096);
	return image;
}

static void test_bad_image(void **state)
{
	struct blob far = stub_image(0x5064), no_pe = stub_image(0x5064);

	(void)state;
	refused(image_with(24, 1), "big-endian");
	refused(image_with(8, 0x200001), "load offset of 0x200001");
	refused(image_with(8, UINT64_C(1) << 62), "load offset");
	refused(image_with(16, UINT64_MAX), "size of 0xffffffffffffffff");
	refused(cut(make_image(8192, 0, 0), 60), "truncated within its Image header");
	refused(cut(stub_image(0x5064), 8191), "is truncated");
	refused(cut(stub_image(0x5064), 100), "is truncated");
	refused(cut(stub_image(0x5064), 80), "is truncated");
	refused(stub_image(0xaa64), "PE machine 0xaa64");
	put32(&far, 60, UINT32_MAX);
	refused(far, "is truncated");
	no_pe.bytes[64] = 'Q';
	refused(no_pe, "no PE header at offset 0x40");
}

static void test_bad_compressed(void **state)
{
	struct blob image = make_image(300000, 0x200000, 0), noise = make_noise(5000);
	struct blob gzip = make_gzip(&image), zstd = make_zstd(&image), bad = copy_of(&gzip),
		    bad_zstd = copy_of(&zstd);
	struct blob plain = make_gzip(&noise);

	(void)state;
	refused(cut(copy_of(&gzip), gzip.length - 100), "gzip data ends too early");
	refused(cut(copy_of(&gzip), 5), "gzip data ends too early");
	refused(cut(copy_of(&zstd), zstd.length - 1), "zstd data ends too early");
	refused(cut(copy_of(&zstd), 4), "zstd data ends too early");
	bad.bytes[bad.length - 6] ^= 1;
	refused(bad, "gzip data");
	memset(bad_zstd.bytes + 4, 0xff, 40);
	refused(bad_zstd, "zstd data");
	refused(plain, "is not a kernel");
	blob_finish(&image);
	blob_finish(&noise);
	blob_finish(&gzip);
	blob_finish(&zstd);
}

/* A few KiB that become more than the guest's RAM. */
static void test_bomb(void **state)
{
	struct blob zeros = {.bytes = calloc(1, RAM + 1), .length = RAM + 1};
	struct blob gzip = make_gzip(&zeros), zstd = make_zstd(&zeros), layers = make_image(100, 0, 0);

	(void)state;
	refused(make_zboot(&gzip, "gzip"), "more than the guest's RAM of 64 MiB");
	refused(gzip, "more than the guest's RAM of 64 MiB");
	refused(zstd, "more than the guest's RAM of 64 MiB");
	for (unsigned i = 0; i < 4; i++) {
		struct blob outer = make_gzip(&layers);

		blob_finish(&layers);
		layers = outer;
	}
	refused(layers, "more than 3 times over");
	blob_finish(&zeros);
}

static struct blob zboot_with(size_t at, uint32_t value)
{
	struct blob image = make_image(5000, 0x200000, 0), gzip = make_gzip(&image),
		    zboot = make_zboot(&gzip, "gzip");

	put32(&zboot, at, value);
	blob_finish(&image);
	blob_finish(&gzip);
	return zboot;
}

static void test_bad_zboot(void **state)
{
	struct blob whole = zboot_with(16, 0), packed = make_noise(100);
	size_t length = whole.length;

	(void)state;
	refused(cut(whole, length - 1), "zboot payload ends at byte");
	refused(cut(zboot_with(16, 0), 50), "truncated within its zboot header");
	refused(zboot_with(8, UINT32_MAX), "zboot payload ends at byte");
	refused(zboot_with(12, UINT32_MAX), "zboot payload ends at byte");
	refused(zboot_with(12, 0), "gzip data ends too early");
	refused(zboot_with(60, UINT32_MAX), "is truncated");
	refused(zboot_with(68, 0xaa64 | 1 << 16), "PE machine 0xaa64");
	refused(zboot_with(24, 0x616d7a6c), "compressed with \"lzma\"");
	refused(zboot_with(24, 0x0a0a0a0a), "compressed with \"\"");
	refused(make_zboot(&packed, "0123456789012345678901234567890"), "\"0123456789012345678901234567890\"");
	blob_finish(&packed);
}

static const struct elf_segment plain[] = {{0x80200000, 0x80200000, 5000, 9000},
					   {0x80400000, 0x80400000, 100, 100}};

static struct blob elf_with(size_t at, uint8_t value)
{
	struct blob elf = make_elf(plain, 2);

	elf.bytes[at] = value;
	return elf;
}

static struct blob elf_with64(size_t at, uint64_t value)
{
	struct blob elf = make_elf(plain, 2);

	put64(&elf, at, value);
	return elf;
}

static void test_bad_elf_header(void **state)
{
	struct blob s390 = elf_with(EI_DATA, ELFDATA2MSB);

	(void)state;
	refused(elf_with(offsetof(Elf64_Ehdr, e_machine), EM_X86_64), "ELF file for x86-64");
	refused(elf_with(offsetof(Elf64_Ehdr, e_machine), EM_AARCH64), "ELF file for arm64");
	refused(elf_with(offsetof(Elf64_Ehdr, e_machine), 2), "another architecture");
	s390.bytes[offsetof(Elf64_Ehdr, e_machine) + 1] = EM_S390;
	s390.bytes[offsetof(Elf64_Ehdr, e_machine)] = 0;
	refused(s390, "ELF file for s390x");
	refused(elf_with(EI_CLASS, ELFCLASS32), "32 bit RISC-V");
	refused(elf_with(offsetof(Elf64_Ehdr, e_type), ET_REL), "not an executable");
	refused(elf_with(offsetof(Elf64_Ehdr, e_phentsize), 32), "without program headers");
	refused(elf_with(offsetof(Elf64_Ehdr, e_phnum), 0), "without program headers");
	refused(elf_with(offsetof(Elf64_Ehdr, e_phnum) + 1, 0xff), "program headers lie beyond its end");
	refused(elf_with64(offsetof(Elf64_Ehdr, e_phoff), UINT64_MAX), "program headers lie beyond its end");
	refused(elf_with64(offsetof(Elf64_Ehdr, e_entry), 0x80200000 + 9000), "entry point 0x80202328");
	refused(cut(make_elf(plain, 2), 40), "truncated within its ELF header");
	refused(cut(make_elf(plain, 2), 100), "program headers lie beyond its end");
}

static void test_bad_elf_segments(void **state)
{
	static const struct elf_segment overlapping[] = {{0x80200000, 0x80200000, 10, 0x1001},
							 {0x80201000, 0x80201000, 10, 10}};
	struct elf_segment many[PROGRAM_SEGMENTS_MAX + 1];
	struct blob last_byte_missing = make_elf(plain, 2);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct elf_segment){0x80200000 + i * 0x1000, 0x80200000 + i * 0x1000, 1, 1};
	refused(make_elf(many, ARRAY_SIZE(many)), "more than 32 loadable");
	refused(make_elf(overlapping, 2), "0x80200000 to 0x80201001 and 0x80201000 to 0x8020100a");
	last_byte_missing.length--;
	refused(last_byte_missing, "segment 1 ends beyond the file");
	refused(elf_with64(elf_phdr(0, offsetof(Elf64_Phdr, p_offset)), UINT64_MAX), "segment 0 ends beyond");
	refused(elf_with64(elf_phdr(0, offsetof(Elf64_Phdr, p_memsz)), 4999), "larger in the file than in memory");
	refused(elf_with64(elf_phdr(0, offsetof(Elf64_Phdr, p_memsz)), UINT64_MAX), "wraps around");
	refused(elf_with64(elf_phdr(1, offsetof(Elf64_Phdr, p_paddr)), UINT64_MAX - 50), "wraps around");
	refused(elf_with(elf_phdr(0, offsetof(Elf64_Phdr, p_type)), PT_NOTE), "entry point");
	refused(elf_with64(elf_phdr(0, offsetof(Elf64_Phdr, p_memsz)), 0), "entry point");
}

static void test_foreign(void **state)
{
	static const struct {
		size_t at;
		const char *magic;
		const char *part;
	} table[] = {
		{56, "ARM\x64", "arm64 Image; this machine is riscv64"},
		{514, "HdrS", "x86 kernel (bzImage)"},
		{36, "\x18\x28\x6f\x01", "32 bit arm"},
		{56, "\xcd\x23\x82\x81", "is an EFI program; this machine is riscv64"},
		{0, "\3757zXZ", "xz -d"},
		{0, "\x02\x21\x4c\x18", "lz4 -d"},
		{0, "BZh9", "bzip2 -d"},
		{0, "\x27\x05\x19\x56", "uImage"},
		{0, "070701", "--initrd"},
		{0, "!<arch>", "package"},
		{0, "#!/bin/sh", "is a script"},
		{0, "hello", "is not a kernel; use an Image"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct blob b = {.bytes = calloc(1, 4096), .length = 4096};

		memcpy(b.bytes + table[i].at, table[i].magic, strlen(table[i].magic));
		refused(b, table[i].part);
	}
	refused(cut(make_noise(10), 1), "is not a kernel");
}

static void firmware_refused(struct blob blob, const char *part)
{
	struct error e = {0};
	struct program p;

	assert_int_equal(firmware_parse(&p, &blob, &e), -ENOEXEC);
	assert_contains(e.message, part);
	assert_null(blob.bytes);
}

static void test_firmware(void **state)
{
	struct blob raw = make_noise(3000), elf = make_elf(plain, 2), image = make_image(3000, 0, 0);
	struct error e = {0};
	struct program p;

	(void)state;
	assert_int_equal(firmware_parse(&p, &raw, &e), 0);
	assert_string_equal(p.form, "raw");
	assert_true(p.movable);
	assert_int_equal(p.segments[0].file_bytes, 3000);
	program_finish(&p);
	assert_int_equal(firmware_parse(&p, &elf, &e), 0);
	assert_string_equal(p.form, "ELF");
	assert_int_equal(p.entry, 0x80200000);
	program_finish(&p);
	firmware_refused(make_gzip(&image), "unpack it first");
	firmware_refused(image, "give it with --kernel");
	firmware_refused(elf_with(offsetof(Elf64_Ehdr, e_machine), EM_X86_64), "x86-64");
}

/* Debian's own files, where its packages are installed. */
static void test_debian_firmware(void **state)
{
	static const struct {
		const char *path;
		const char *form;
		uint64_t entry;
	} table[] = {
		{"/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin", "raw", 0},
		{"/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_jump.elf", "ELF", 0x80000000},
		{"/usr/lib/u-boot/qemu-riscv64/u-boot.bin", "raw", 0},
		{"/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf", "ELF", 0x80200000},
	};
	unsigned found = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct error e = {0};
		struct program p;
		struct blob blob;

		if (access(table[i].path, R_OK) < 0)
			continue;
		found++;
		if (blob_read(&blob, table[i].path, GIB, &e) < 0 || firmware_parse(&p, &blob, &e) < 0)
			fail_msg("%s: %s", table[i].path, e.message);
		assert_string_equal(p.form, table[i].form);
		assert_int_equal(p.entry, table[i].entry);
		program_finish(&p);
	}
	if (!found)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_image),
		cmocka_unit_test(test_compressed),
		cmocka_unit_test(test_compressed_in_parts),
		cmocka_unit_test(test_elf),
		cmocka_unit_test(test_bad_image),
		cmocka_unit_test(test_bad_compressed),
		cmocka_unit_test(test_bomb),
		cmocka_unit_test(test_bad_zboot),
		cmocka_unit_test(test_bad_elf_header),
		cmocka_unit_test(test_bad_elf_segments),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_firmware),
		cmocka_unit_test(test_debian_firmware),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
