/* Where kernel, initrd, device tree and firmware lie, for every size of RAM, and complaints about files. */
#include "boot_files.h"

#include <errno.h>
#include <sys/stat.h>

#include "board/payload.h"

#define BASE UINT64_C(0x80000000)

static struct boot_directory directory;

static int set_up(void **state)
{
	(void)state;
	directory_init(&directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	directory_finish(&directory);
	return 0;
}

static const char *image_file(const char *name, size_t length, uint64_t image_size)
{
	struct blob image = make_image(length, 0x200000, image_size);

	return directory_add(&directory, name, &image);
}

/* Disjoint, within RAM and aligned as kernels and firmware demand. */
static void check_layout(const struct boot_payload *p)
{
	uint64_t end = p->ram_base + p->ram_bytes, start = p->ram_base, programs_end = p->ram_base;

	if (p->kernel.count)
		program_span(&p->kernel, &start, &programs_end);
	assert_in_range(start, p->ram_base, end);
	assert_int_equal(p->fdt_address % (2 * MIB), 0);
	assert_in_range(p->fdt_address, programs_end, end - PAYLOAD_FDT_SPACE);
	assert_int_equal(p->initrd_address % 4096, 0);
	assert_in_range(p->initrd_address, programs_end, p->fdt_address - p->initrd_bytes);
	if (p->kernel.count && strcmp(p->kernel.form, "Image") == 0)
		assert_int_equal(start % (2 * MIB), 0);
}

static int place(struct boot_payload *p, uint64_t ram, uint64_t kernel, uint64_t initrd, bool firmware,
		 struct error *e)
{
	static const struct payload_files files = {.kernel = "K", .initrd = "I", .firmware = "F"};
	struct blob none = {0};

	*p = (struct boot_payload){.ram_base = BASE, .ram_bytes = ram, .initrd_bytes = initrd};
	program_single(&p->kernel, "Image", &none, kernel);
	p->kernel.text_offset = 0x200000;
	if (firmware)
		program_single(&p->firmware, "raw", &none, 300 * KIB);
	return payload_place(p, &files, e);
}

static void test_sizes_of_ram(void **state)
{
	static const uint64_t rams[] = {
		16 * MIB, 16 * MIB + 4096, 17 * MIB, 33 * MIB, 64 * MIB, 512 * MIB,      GIB - 4096,
		GIB,      GIB + MIB,       2 * GIB,  4 * GIB,  64 * GIB, 500 * GIB + MIB};
	struct boot_payload p;
	struct error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rams); i++) {
		if (place(&p, rams[i], 5 * MIB, 3 * MIB + 5, i & 1, &e) < 0)
			fail_msg("%llu bytes: %s", (unsigned long long)rams[i], e.message);
		check_layout(&p);
		assert_int_equal(p.kernel.entry, BASE + 2 * MIB);
		assert_in_range(p.fdt_address, BASE, 3 * GIB - PAYLOAD_FDT_SPACE);
	}
}

/* What does not fit below 3 GiB goes to the end of RAM. */
static void test_large_initrd(void **state)
{
	struct boot_payload p;
	struct error e;

	(void)state;
	assert_int_equal(place(&p, 8 * GIB, 32 * MIB, 2 * GIB, false, &e), 0);
	check_layout(&p);
	assert_int_equal(p.fdt_address, BASE + 8 * GIB - 2 * MIB);
}

/* The --memory that a refusal names is enough, and 2 MiB less is not. */
static void test_remedy_is_true(void **state)
{
	static const uint64_t kernels[] = {4096, 13 * MIB, 33 * MIB + 1, 700 * MIB, 1100 * MIB};
	static const uint64_t initrds[] = {0, 1, 100 * MIB + 77, 900 * MIB, 3 * GIB};
	struct boot_payload p;
	struct error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kernels) * ARRAY_SIZE(initrds) * 2; i++) {
		uint64_t kernel = kernels[i / 2 % 5], initrd = initrds[i / 10];
		const char *text;
		uint64_t mib;

		if (place(&p, 16 * MIB, kernel, initrd, i & 1, &e) == 0) {
			check_layout(&p);
			continue;
		}
		assert_int_equal(e.kind, ERROR_USAGE);
		text = strstr(e.message, "--memory ");
		assert_non_null(text);
		mib = strtoull(text + 9, NULL, 10);
		if (place(&p, mib * MIB, kernel, initrd, i & 1, &e) < 0)
			fail_msg("%llu MiB: %s", (unsigned long long)mib, e.message);
		check_layout(&p);
		assert_int_equal(place(&p, (mib - 2) * MIB, kernel, initrd, i & 1, &e), -ENOSPC);
	}
}

static void refused(const struct payload_files *files, uint64_t ram, int code, enum error_kind kind,
		    const char *part)
{
	struct boot_payload *p = (void *)1;
	struct error e = {0};
	int r = payload_new(&p, files, gpa(BASE), ram, &e);

	if (r != code)
		fail_msg("%d instead of %d: %s", r, code, e.message);
	assert_contains(e.message, part);
	assert_null(strchr(e.message, '\n'));
	assert_int_equal(e.kind, kind);
	assert_ptr_equal(p, (void *)1);
}

static void test_unusable_files(void **state)
{
	const char *kernel = image_file("Image", 100000, 0);
	struct blob nothing = {.bytes = malloc(1)};
	const char *empty = directory_add(&directory, "empty", &nothing);
	char missing[96], deeper[128];

	(void)state;
	snprintf(missing, sizeof missing, "%s/missing", directory.path);
	snprintf(deeper, sizeof deeper, "%s/file", kernel);
	refused(&(struct payload_files){0}, 64 * MIB, -EINVAL, ERROR_USAGE, "give --kernel or --firmware");
	refused(&(struct payload_files){.kernel = missing}, 64 * MIB, -ENOENT, ERROR_NOT_FOUND, missing);
	refused(&(struct payload_files){.kernel = deeper}, 64 * MIB, -ENOTDIR, ERROR_NOT_FOUND, deeper);
	refused(&(struct payload_files){.kernel = kernel, .initrd = missing}, 64 * MIB, -ENOENT, ERROR_NOT_FOUND,
		"initrd ");
	refused(&(struct payload_files){.firmware = missing}, 64 * MIB, -ENOENT, ERROR_NOT_FOUND, "firmware ");
	refused(&(struct payload_files){.kernel = directory.path}, 64 * MIB, -EISDIR, ERROR_USAGE,
		"is a directory");
	refused(&(struct payload_files){.kernel = kernel, .initrd = directory.path}, 64 * MIB, -EISDIR,
		ERROR_USAGE, "is a directory");
	refused(&(struct payload_files){.kernel = empty}, 64 * MIB, -EINVAL, ERROR_USAGE, "is empty");
	refused(&(struct payload_files){.kernel = kernel, .initrd = empty}, 64 * MIB, -EINVAL, ERROR_USAGE,
		"is empty");
	refused(&(struct payload_files){.kernel = "/dev/zero"}, 64 * MIB, -EINVAL, ERROR_USAGE,
		"not a regular file");
	refused(&(struct payload_files){.firmware = empty, .initrd = kernel}, 64 * MIB, -EINVAL, ERROR_USAGE,
		"give --kernel too");
}

/* Root may read everything, so the test is someone else meanwhile. */
static void test_unreadable_file(void **state)
{
	const char *kernel = image_file("Image", 100000, 0);
	bool root = geteuid() == 0;

	(void)state;
	assert_int_equal(chmod(directory.path, 0755), 0);
	assert_int_equal(chmod(kernel, 0), 0);
	if (root)
		assert_int_equal(seteuid(65534), 0);
	refused(&(struct payload_files){.kernel = kernel}, 64 * MIB, -EACCES, ERROR_PERMISSION, kernel);
	if (root)
		assert_int_equal(seteuid(0), 0);
}

static void test_too_large(void **state)
{
	const char *kernel = image_file("Image", 100000, 40 * MIB), *small = image_file("small", 5000, 0);
	struct blob sparse = make_noise(1);
	const char *initrd = directory_add(&directory, "initrd", &sparse);

	(void)state;
	refused(&(struct payload_files){.kernel = kernel}, 32 * MIB, -ENOSPC, ERROR_USAGE,
		"needs the first 42 MiB of RAM and does not fit in 32 MiB; give --memory 44M or more");
	assert_int_equal(truncate(initrd, 1 << 30), 0);
	refused(&(struct payload_files){.kernel = small, .initrd = initrd}, 512 * MIB, -ENOSPC, ERROR_USAGE,
		"its 1024 MiB do not fit in 512 MiB of RAM");
	refused(&(struct payload_files){.kernel = small, .initrd = initrd}, 512 * MIB, -ENOSPC, ERROR_USAGE,
		"--memory 1030M or more");
	assert_int_equal(truncate(initrd, INT64_C(1) << 43), 0);
	refused(&(struct payload_files){.kernel = small, .initrd = initrd}, 512 * MIB, -ENOSPC, ERROR_USAGE,
		"do not fit");
	refused(&(struct payload_files){.kernel = initrd}, 512 * MIB, -EFBIG, ERROR_USAGE, "at most 1024 MiB");
}

static const char *elf_file(const char *name, uint64_t address, uint64_t memory_bytes)
{
	struct elf_segment segment = {address, address, 100, memory_bytes};
	struct blob elf = make_elf(&segment, 1);

	return directory_add(&directory, name, &elf);
}

static void test_elf_out_of_ram(void **state)
{
	const char *low = elf_file("low", 0x200000, 100), *high = elf_file("high", BASE + 100 * MIB, 100);
	const char *vast = elf_file("vast", BASE, UINT64_C(1) << 62), *base = elf_file("base", BASE, 3 * MIB);
	const char *farther = elf_file("farther", UINT64_C(1) << 60, 100);
	struct blob raw = make_noise(5000);
	const char *firmware = directory_add(&directory, "firmware", &raw);

	(void)state;
	refused(&(struct payload_files){.kernel = low}, 64 * MIB, -EINVAL, ERROR_USAGE,
		"is to be loaded at 0x200000, 0x64 bytes, where there is no RAM");
	refused(&(struct payload_files){.kernel = vast}, 64 * MIB, -EINVAL, ERROR_USAGE, "where there is no RAM");
	refused(&(struct payload_files){.kernel = farther}, 64 * MIB, -EINVAL, ERROR_USAGE,
		"where there is no RAM");
	refused(&(struct payload_files){.kernel = high}, 64 * MIB, -ENOSPC, ERROR_USAGE, "give --memory 104M");
	refused(&(struct payload_files){.kernel = base, .firmware = firmware}, 64 * MIB, -EINVAL, ERROR_USAGE,
		"overlaps the firmware at 0x80000000 to 0x80001388");
	refused(&(struct payload_files){.firmware = low}, 64 * MIB, -EINVAL, ERROR_USAGE, "firmware ");
}

static void test_append_too_long(void **state)
{
	const char *kernel = image_file("Image", 5000, 0);
	char append[PAYLOAD_APPEND_MAX + 2];

	(void)state;
	memset(append, 'x', sizeof append - 1);
	append[sizeof append - 1] = '\0';
	refused(&(struct payload_files){.kernel = kernel, .append = append}, 64 * MIB, -E2BIG, ERROR_USAGE,
		"4096 bytes, and at most 4095");
}

static void test_written(void **state)
{
	struct blob image = make_image(100000, 0x200000, 200000), initrd = make_noise(7777),
		    raw = make_noise(3000);
	const struct payload_files files = {.kernel = directory_add(&directory, "Image", &image),
					    .initrd = directory_add(&directory, "initrd", &initrd),
					    .firmware = directory_add(&directory, "firmware", &raw)};
	struct boot_payload *p;
	struct memory memory;
	struct error e = {0};

	(void)state;
	memory_init(&memory);
	assert_int_equal(memory_add_ram(&memory, gpa(BASE), 32 * MIB, "ram", &e), 0);
	assert_int_equal(payload_new(&p, &files, gpa(BASE), 32 * MIB, &e), 0);
	check_layout(p);
	assert_int_equal(payload_write(p, &memory, &e), 0);
	raw = make_noise(3000);
	image = make_image(100000, 0x200000, 200000);
	initrd = make_noise(7777);
	assert_memory_equal(memory_host(&memory, gpa(BASE), 3000), raw.bytes, 3000);
	assert_memory_equal(memory_host(&memory, gpa(BASE + 0x200000), 100000), image.bytes, 100000);
	assert_memory_equal(memory_host(&memory, gpa(p->initrd_address), 7777), initrd.bytes, 7777);
	assert_int_equal(p->next_address, BASE + 0x200000);
	assert_int_equal(p->firmware.entry, BASE);
	blob_finish(&raw);
	blob_finish(&image);
	blob_finish(&initrd);
	payload_free(p);
	memory_finish(&memory);
}

/* Between resets the files rest; they are read again, or refused when they are not what they were. */
static void test_written_again(void **state)
{
	struct blob image = make_image(100000, 0x200000, 200000);
	const struct payload_files files = {.kernel = directory_add(&directory, "Image", &image)};
	struct boot_payload *p;
	struct memory memory;
	struct error e = {0};

	(void)state;
	memory_init(&memory);
	assert_int_equal(memory_add_ram(&memory, gpa(BASE), 32 * MIB, "ram", &e), 0);
	assert_int_equal(payload_new(&p, &files, gpa(BASE), 32 * MIB, &e), 0);
	image = make_image(100000, 0x200000, 200000);
	for (int i = 0; i < 2; i++) {
		memset(memory_host(&memory, gpa(BASE + 0x200000), 100000), 0, 100000);
		assert_int_equal(payload_write(p, &memory, &e), 0);
		assert_memory_equal(memory_host(&memory, gpa(BASE + 0x200000), 100000), image.bytes, 100000);
		assert_null(p->kernel.blob.bytes);
	}
	assert_int_equal(truncate(files.kernel, 99999), 0);
	assert_int_equal(payload_write(p, &memory, &e), -ESTALE);
	assert_int_equal(e.kind, ERROR_STATE);
	blob_finish(&image);
	payload_free(p);
	memory_finish(&memory);
}

/* Of a machine whose memory comes from elsewhere, the files are read at its first reset, and lie where they would have lain. */
static void test_opened(void **state)
{
	struct blob image = make_image(100000, 0x200000, 200000), initrd = make_noise(7777);
	const struct payload_files files = {.kernel = directory_add(&directory, "Image", &image),
					    .initrd = directory_add(&directory, "initrd", &initrd)};
	struct boot_payload *p, *whole;
	struct memory memory;
	struct error e = {0};

	(void)state;
	memory_init(&memory);
	assert_int_equal(memory_add_ram(&memory, gpa(BASE), 32 * MIB, "ram", &e), 0);
	assert_int_equal(payload_new(&whole, &files, gpa(BASE), 32 * MIB, &e), 0);
	assert_int_equal(payload_open(&p, &files, gpa(BASE), 32 * MIB, &e), 0);
	assert_null(p->later.kernel.bytes);
	assert_int_equal(payload_settle(p, &e), 0);
	assert_int_equal(p->kernel.entry, whole->kernel.entry);
	assert_int_equal(p->initrd_address, whole->initrd_address);
	assert_int_equal(p->fdt_address, whole->fdt_address);
	image = make_image(100000, 0x200000, 200000);
	for (int i = 0; i < 2; i++) {
		memset(memory_host(&memory, gpa(p->kernel.entry), 100000), 0, 100000);
		assert_int_equal(payload_settle(p, &e), 0);
		assert_int_equal(payload_write(p, &memory, &e), 0);
		assert_memory_equal(memory_host(&memory, gpa(p->kernel.entry), 100000), image.bytes, 100000);
	}
	payload_free(p);
	assert_int_equal(payload_open(&p, &files, gpa(BASE), 32 * MIB, &e), 0);
	assert_int_equal(truncate(files.kernel, 30), 0);
	assert_int_equal(payload_settle(p, &e), -ESTALE);
	payload_free(p);
	payload_free(whole);
	blob_finish(&image);
	memory_finish(&memory);
}

#define FILES_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes_of_ram),
		cmocka_unit_test(test_large_initrd),
		cmocka_unit_test(test_remedy_is_true),
		FILES_TEST(test_unusable_files),
		FILES_TEST(test_unreadable_file),
		FILES_TEST(test_too_large),
		FILES_TEST(test_elf_out_of_ram),
		FILES_TEST(test_append_too_long),
		FILES_TEST(test_written),
		FILES_TEST(test_written_again),
		FILES_TEST(test_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
