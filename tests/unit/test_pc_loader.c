/* Kernels for a pc: each accepted form, each way in which one can be wrong, and where they go. */
#include "pc_bench.h"

#include "board/kernel_file.h"

#define RAM (64 * MIB)

static struct program parse(struct blob blob)
{
	struct error e = {0};
	struct program p;

	if (kernel_parse(&p, &blob, ENGINE_X86_64, RAM, &e) < 0)
		fail_msg("refused: %s", e.message);
	assert_null(blob.bytes);
	return p;
}

static void refused_by(enum engine_arch arch, struct blob blob, const char *part)
{
	struct error e = {0};
	struct program p = {.count = 99};
	int r = kernel_parse(&p, &blob, arch, RAM, &e);

	if (r >= 0)
		fail_msg("accepted as %s; \"%s\" was expected", p.form, part);
	assert_contains(e.message, part);
	assert_int_equal(e.kind, ERROR_USAGE);
	assert_int_equal(p.count, 99);
	assert_null(blob.bytes);
}

static void refused(struct blob blob, const char *part)
{
	refused_by(ENGINE_X86_64, blob, part);
}

static void is_bzimage(struct program p)
{
	assert_string_equal(p.form, "bzImage");
	assert_int_equal(p.start, PROGRAM_LINUX);
	assert_true(p.movable);
	assert_false(p.fixed);
	assert_int_equal(p.entry, 0x200);
	assert_int_equal(p.text_offset, 16 * MIB);
	assert_int_equal(p.segments[0].offset, BZ_SETUP);
	assert_int_equal(p.segments[0].file_bytes, 10000);
	assert_int_equal(p.segments[0].memory_bytes, BZ_MEMORY);
	program_finish(&p);
}

static void test_bzimage(void **state)
{
	struct blob plain = make_bzimage(10000), gzip = make_gzip(&plain), zstd = make_zstd(&plain);

	(void)state;
	is_bzimage(parse(plain));
	is_bzimage(parse(gzip));
	is_bzimage(parse(zstd));
}

static struct blob changed(size_t at, uint64_t value, unsigned size)
{
	struct blob b = make_bzimage(10000);

	for (unsigned i = 0; i < size; i++)
		b.bytes[at + i] = (uint8_t)(value >> (8 * i));
	return b;
}

static struct blob cut(struct blob b, size_t length)
{
	assert_true(length < b.length);
	b.length = length;
	return b;
}

static void test_bzimage_refused(void **state)
{
	(void)state;
	for (size_t length = 518; length < BZIMAGE_HEADER_END; length++)
		refused(cut(make_bzimage(10000), length), "is truncated within its setup header");
	refused(cut(make_bzimage(10000), BZ_SETUP), "is truncated: its header announces 11024 bytes");
	refused(cut(make_bzimage(10000), BZ_SETUP + 9984), "is truncated: its header announces 11024 bytes");
	refused(changed(BZIMAGE_SETUP_SECTORS, 200, 1), "is truncated: its header announces");
	refused(changed(BZIMAGE_SIZE, UINT32_MAX, 4), "is truncated: its header announces");
	refused(changed(BZIMAGE_BOOT_FLAG, 0, 2), "no signature");
	refused(changed(BZIMAGE_VERSION, 0x20b, 2), "boot protocol 2.11");
	refused(changed(BZIMAGE_JUMP, 0x10, 1), "setup header is too short");
	refused(changed(BZIMAGE_LOAD_FLAGS, 0, 1), "is a zImage");
	refused(changed(BZIMAGE_LOAD64_FLAGS, 0, 2), "is a 32 bit x86 kernel");
	refused(changed(BZIMAGE_ALIGNMENT, 3 * MIB, 4), "an alignment of 0x300000");
	refused(changed(BZIMAGE_ALIGNMENT, 0, 4), "an alignment of 0x0");
	refused(changed(BZIMAGE_MEMORY, 0xffffffff, 4), "an amount of memory of 0xffffffff");
	refused(changed(BZIMAGE_PREFERRED, 0, 8), "a preferred address of 0x0");
	refused(changed(BZIMAGE_PREFERRED, UINT64_MAX, 8), "a preferred address of 0xffffffffffffffff");
}

/* What the kernel leaves open is bounded anyhow. */
static void test_bzimage_bounds(void **state)
{
	struct program p = parse(changed(BZIMAGE_JUMP, 0xff, 1));

	(void)state;
	assert_int_equal(p.header_end, 0x290);
	program_finish(&p);
	p = parse(changed(BZIMAGE_MEMORY, 0, 4));
	assert_int_equal(p.segments[0].memory_bytes, 10000);
	program_finish(&p);
	p = parse(changed(BZIMAGE_RELOCATABLE, 0, 1));
	assert_true(p.fixed);
	program_finish(&p);
}

static void test_multiboot(void **state)
{
	struct program p = parse(make_multiboot(5000, MULTIBOOT_PLACED, 300));

	(void)state;
	assert_string_equal(p.form, "multiboot");
	assert_int_equal(p.start, PROGRAM_MULTIBOOT);
	assert_int_equal(p.segments[0].address, MULTIBOOT_LOAD);
	assert_int_equal(p.segments[0].offset, 0);
	assert_int_equal(p.segments[0].file_bytes, 5000);
	assert_int_equal(p.segments[0].memory_bytes, 5300);
	assert_int_equal(p.entry, MULTIBOOT_LOAD + MULTIBOOT_AT + 32);
	program_finish(&p);
}

/* The file with one word of its multiboot header changed. */
static struct blob multiboot_with(unsigned word, uint32_t value)
{
	struct blob b = make_multiboot(5000, MULTIBOOT_PLACED, 300);

	put32(&b, MULTIBOOT_AT + 4 * word, value);
	return b;
}

static void test_multiboot_refused(void **state)
{
	(void)state;
	refused(make_multiboot(5000, 0x10007, 0), "video mode");
	refused(make_multiboot(5000, 0x10010, 0), "features 0x10");
	refused(make_multiboot(5000, 3, 0), "is not a kernel");
	refused(cut(make_multiboot(5000, MULTIBOOT_PLACED, 0), MULTIBOOT_AT + 11), "is not a kernel");
	refused(cut(make_multiboot(5000, MULTIBOOT_PLACED, 0), MULTIBOOT_AT + 30),
		"is truncated within its multiboot");
	refused(cut(make_multiboot(5000, MULTIBOOT_PLACED, 0), 4999), "announces more than its bytes");
	refused(multiboot_with(3, MULTIBOOT_LOAD - 4), "contradict");
	refused(multiboot_with(3, MULTIBOOT_LOAD + MULTIBOOT_AT + 4), "contradict");
	refused(multiboot_with(5, MULTIBOOT_LOAD - 1), "contradict");
	refused(multiboot_with(7, MULTIBOOT_LOAD - 1), "contradict");
	refused(multiboot_with(7, MULTIBOOT_LOAD + 5300), "contradict");
	refused(multiboot_with(2, 1), "is not a kernel; use a bzImage");
	refused_by(ENGINE_RISCV64, make_multiboot(5000, MULTIBOOT_PLACED, 0), "is not a kernel");
}

static void test_pvh(void **state)
{
	struct program p = parse(make_pvh(0x1000100));

	(void)state;
	assert_string_equal(p.form, "ELF (PVH)");
	assert_int_equal(p.start, PROGRAM_PVH);
	assert_int_equal(p.entry, 0x1000100);
	assert_int_equal(p.count, 1);
	program_finish(&p);
	refused(make_pvh(0x1004000), "entry point for PVH 0x1004000 is in none");
	refused_by(ENGINE_RISCV64, make_pvh(0x1000100), "is an ELF file for x86-64; this machine is riscv64");
}

/* A note that lies about its lengths is none, and the file has no other way in. */
static void test_pvh_damaged(void **state)
{
	static const uint32_t lengths[] = {5, 3, 0x7fffffff, 0xffffffff, 0xfffffffd};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(lengths); i++) {
		struct blob b = make_pvh(0x1000100);

		put32(&b, b.length - 20 + (i & 1 ? 4 : 0), lengths[i / 2]);
		refused(b, "neither an entry point for PVH nor");
	}
}

static struct blob elf_multiboot(void)
{
	static const struct elf_segment segments[] = {{0x100000, 0x100000, 5000, 6000}};
	struct blob b = make_elf(segments, 1);
	size_t at = b.length - 5000;

	b.bytes[18] = EM_X86_64;
	b.bytes[19] = 0;
	put32(&b, at, MULTIBOOT_MARK);
	put32(&b, at + 4, 0);
	put32(&b, at + 8, 0 - MULTIBOOT_MARK);
	return b;
}

static void test_elf_multiboot(void **state)
{
	struct program p = parse(elf_multiboot());
	struct blob b = elf_multiboot();

	(void)state;
	assert_string_equal(p.form, "ELF (multiboot)");
	assert_int_equal(p.entry, 0x100000);
	program_finish(&p);
	put64(&b, offsetof(Elf64_Ehdr, e_entry), 0x99);
	refused(b, "ELF entry point 0x99 is in none");
}

/* The same in the form of 32 bits, which small kernels have. */
static void test_elf32(void **state)
{
	Elf32_Ehdr h = {.e_type = ET_EXEC,
			.e_machine = EM_386,
			.e_phoff = sizeof h,
			.e_phentsize = sizeof(Elf32_Phdr),
			.e_phnum = 1,
			.e_entry = 0x10000c};
	Elf32_Phdr ph = {.p_type = PT_LOAD,
			 .p_offset = 128,
			 .p_vaddr = 0x100000,
			 .p_paddr = 0x100000,
			 .p_filesz = 100,
			 .p_memsz = 200};
	struct blob b = make_noise(228);
	struct program p;

	(void)state;
	memcpy(h.e_ident, ELFMAG "\1\1\1", 7);
	memcpy(b.bytes, &h, sizeof h);
	memcpy(b.bytes + sizeof h, &ph, sizeof ph);
	put32(&b, 128, MULTIBOOT_MARK);
	put32(&b, 132, 3);
	put32(&b, 136, 0 - MULTIBOOT_MARK - 3);
	p = parse(b);
	assert_int_equal(p.entry, 0x10000c);
	assert_int_equal(p.segments[0].memory_bytes, 200);
	program_finish(&p);
}

static void test_other_architectures(void **state)
{
	static const struct elf_segment segments[] = {{0x80200000, 0x80200000, 64, 64}};

	(void)state;
	refused(make_image(8192, 0x200000, 8192),
		"is a riscv64 Image; this machine is x86_64 and needs a bzImage");
	refused(make_elf(segments, 1), "is an ELF file for riscv; this machine is x86_64");
	refused_by(ENGINE_RISCV64, make_bzimage(10000),
		   "is an x86 kernel (bzImage); this machine is riscv64 and needs");
	refused(make_noise(3000), "is not a kernel; use a bzImage (vmlinuz)");
}

static void place(struct pc_boot *boot, struct blob kernel, uint64_t ram, uint64_t initrd)
{
	static const struct payload_files files = {.kernel = "K", .initrd = "I"};
	struct error e = {0};

	*boot = (struct pc_boot){.kernel = parse(kernel), .ram_bytes = ram, .initrd_bytes = initrd};
	if (pc_boot_place(boot, &files, &e) < 0)
		fail_msg("%s", e.message);
	program_finish(&boot->kernel);
}

static int does_not_fit(struct blob kernel, uint64_t ram, uint64_t initrd, struct error *e)
{
	static const struct payload_files files = {.kernel = "K", .initrd = "I"};
	struct pc_boot boot = {.kernel = parse(kernel), .ram_bytes = ram, .initrd_bytes = initrd};
	int r = pc_boot_place(&boot, &files, e);

	program_finish(&boot.kernel);
	return r;
}

static void test_places(void **state)
{
	struct pc_boot boot;

	(void)state;
	place(&boot, make_bzimage(10000), 64 * MIB, 5000);
	assert_int_equal(boot.kernel.entry, 16 * MIB + 0x200);
	assert_int_equal(boot.initrd_address, 64 * MIB - 8192);
	/* Not enough RAM for the wish: as low as its alignment allows. */
	place(&boot, make_bzimage(10000), 16 * MIB, 5000);
	assert_int_equal(boot.kernel.entry, 2 * MIB + 0x200);
	/* The kernel's own limit, and the hole. */
	place(&boot, make_bzimage(10000), 8 * GIB, 5000);
	assert_int_equal(boot.initrd_address, 0x80000000 - 8192);
	place(&boot, make_multiboot(5000, MULTIBOOT_PLACED, 0), 8 * GIB, 5000);
	assert_int_equal(boot.initrd_address, PC_HOLE - 8192);
}

static void test_does_not_fit(void **state)
{
	struct error e = {0};

	(void)state;
	assert_int_equal(does_not_fit(make_bzimage(10000), 16 * MIB, 13 * MIB, &e), -ENOSPC);
	assert_contains(e.message, "initrd I: its 13 MiB do not fit in 16 MiB of RAM");
	assert_contains(e.message, "give --memory 18M or more");
	assert_int_equal(does_not_fit(make_bzimage(10000), 18 * MIB, 13 * MIB, &e), 0);
	assert_int_equal(does_not_fit(changed(BZIMAGE_MEMORY, 40 * MIB, 4), 32 * MIB, 0, &e), -ENOSPC);
	assert_contains(e.message,
			"kernel K: needs the first 42 MiB of RAM and does not fit in 32 MiB; give --memory 42M");
	assert_int_equal(does_not_fit(changed(BZIMAGE_MEMORY, 40 * MIB, 4), 42 * MIB, 0, &e), 0);
	assert_int_equal(does_not_fit(changed(BZIMAGE_RELOCATABLE, 0, 1), 16 * MIB, 0, &e), -ENOSPC);
	assert_int_equal(does_not_fit(changed(BZIMAGE_INITRD_MAX, 20 * MIB, 4), GIB, 2 * MIB, &e), -ENOSPC);
	assert_contains(e.message, "the last that the kernel takes");
	assert_int_equal(does_not_fit(multiboot_with(3, MULTIBOOT_LOAD + MULTIBOOT_AT), 64 * MIB, UINT64_MAX, &e),
			 -ENOSPC);
}

static void test_out_of_reach(void **state)
{
	static const struct elf_segment low[] = {{0x1000, 0x1000, 8192, 8192}};
	struct error e = {0};
	struct blob b = make_elf(low, 1);

	(void)state;
	b.bytes[18] = EM_X86_64;
	b.bytes[19] = 0;
	put32(&b, b.length - 8192, MULTIBOOT_MARK);
	put32(&b, b.length - 8188, 0);
	put32(&b, b.length - 8184, 0 - MULTIBOOT_MARK);
	assert_int_equal(does_not_fit(b, RAM, 0, &e), -EINVAL);
	assert_contains(e.message, "only addresses from 1 MiB to 3 GiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bzimage),
		cmocka_unit_test(test_bzimage_refused),
		cmocka_unit_test(test_bzimage_bounds),
		cmocka_unit_test(test_multiboot),
		cmocka_unit_test(test_multiboot_refused),
		cmocka_unit_test(test_pvh),
		cmocka_unit_test(test_pvh_damaged),
		cmocka_unit_test(test_elf_multiboot),
		cmocka_unit_test(test_elf32),
		cmocka_unit_test(test_other_architectures),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_does_not_fit),
		cmocka_unit_test(test_out_of_reach),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
