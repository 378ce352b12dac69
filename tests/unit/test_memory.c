#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory/memory.h"

#define BASE UINT64_C(0x80000000)

static struct memory memory;

static int setup(void **state)
{
	(void)state;
	memory_init(&memory);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	memory_finish(&memory);
	return 0;
}

static int add(uint64_t base, uint64_t size)
{
	struct error e = {0};
	int code = memory_add_ram(&memory, gpa(base), size, "ram", &e);

	assert_int_equal(code != 0, e.message[0] != '\0');
	return code;
}

static void zeroed_and_kept(void **state)
{
	static const uint8_t zeros[64];
	uint8_t bytes[64];

	(void)state;
	assert_int_equal(add(BASE, MIB), 0);
	assert_int_equal(memory_size(&memory), MIB);
	assert_int_equal(memory_read(&memory, gpa(BASE + 100), bytes, sizeof bytes), 0);
	assert_memory_equal(bytes, zeros, sizeof bytes);
	memset(bytes, 0xa5, sizeof bytes);
	assert_int_equal(memory_write(&memory, gpa(BASE + MIB - sizeof bytes), bytes, sizeof bytes), 0);
	assert_memory_equal((uint8_t *)memory_host(&memory, gpa(BASE + MIB - sizeof bytes), sizeof bytes), bytes,
			    sizeof bytes);
}

static void aligned_for_huge_pages(void **state)
{
	(void)state;
	assert_int_equal(add(BASE, 64 * MIB), 0);
	assert_int_equal((uintptr_t)memory.regions[0].host % (2 * MIB), 0);
	memory.regions[0].host[64 * MIB - 1] = 1;
}

/* The VmFlags line of the mapping at `host` in /proc/self/smaps; empty when the kernel does not tell. */
static void mapping_flags(const void *host, char *flags, size_t size)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	unsigned long start, end;
	bool here = false;
	char line[512];

	flags[0] = '\0';
	while (maps && fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= (uintptr_t)host && (uintptr_t)host < end;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			snprintf(flags, size, "%s", line + 8);
	}
	if (maps)
		fclose(maps);
}

static void kept_out_of_core_files(void **state)
{
	char flags[512];

	(void)state;
	assert_int_equal(add(BASE, 4 * MIB), 0);
	mapping_flags(memory.regions[0].host, flags, sizeof flags);
	if (!flags[0])
		skip();
	assert_non_null(strstr(flags, " dd"));
	assert_non_null(strstr(flags, " nr"));
}

static void bad_ranges(void **state)
{
	(void)state;
	assert_int_equal(add(BASE, 0), -EINVAL);
	assert_int_equal(add(BASE + 1, MIB), -EINVAL);
	assert_int_equal(add(BASE, MIB + 1), -EINVAL);
	assert_int_equal(add(UINT64_MAX - 4095, 8192), -EINVAL);
	assert_int_equal(add(0, UINT64_MAX - 4095), -ENOMEM);
	assert_int_equal(memory.count, 0);
	assert_int_equal(add(UINT64_MAX - 4095, 4096), 0);
	assert_non_null(memory_find(&memory, gpa(UINT64_MAX), 1));
	assert_null(memory_find(&memory, gpa(UINT64_MAX), 2));
}

static void overlaps(void **state)
{
	(void)state;
	assert_int_equal(add(BASE, 4 * 4096), 0);
	assert_int_equal(add(BASE, 4096), -EINVAL);
	assert_int_equal(add(BASE + 3 * 4096, 4096), -EINVAL);
	assert_int_equal(add(BASE - 4096, 2 * 4096), -EINVAL);
	assert_int_equal(add(BASE - 4096, 10 * 4096), -EINVAL);
	assert_int_equal(add(BASE - 4096, 4096), 0);
	assert_int_equal(add(BASE + 4 * 4096, 4096), 0);
	assert_int_equal(memory.count, 3);
	assert_int_equal(memory_size(&memory), 6 * 4096);
}

static void table_is_sorted_and_finite(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MEMORY_REGIONS_MAX; i++)
		assert_int_equal(add((i * 5 % MEMORY_REGIONS_MAX) * MIB, 4096), 0);
	assert_int_equal(add(100 * MIB, 4096), -ENOSPC);
	for (unsigned i = 0; i < MEMORY_REGIONS_MAX; i++) {
		assert_int_equal(memory.regions[i].base.value, i * MIB);
		assert_ptr_equal(memory_find(&memory, gpa(i * MIB + 4095), 1), &memory.regions[i]);
		assert_null(memory_find(&memory, gpa(i * MIB + 4096), 1));
	}
}

static void nothing_copied_outside(void **state)
{
	static const uint64_t bad[][2] = {
		{BASE - 1, 1},   {BASE - 1, 2},      {BASE + MIB, 1},        {BASE + MIB - 1, 2}, {0, 8},
		{UINT64_MAX, 1}, {BASE, UINT64_MAX}, {BASE + 1, UINT64_MAX}, {BASE, MIB + 1},
	};
	uint8_t bytes[16] = {1, 2, 3}, before[16];

	(void)state;
	assert_int_equal(add(BASE, MIB), 0);
	memcpy(before, bytes, sizeof bytes);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(memory_read(&memory, gpa(bad[i][0]), bytes, bad[i][1]), -EFAULT);
		assert_int_equal(memory_write(&memory, gpa(bad[i][0]), bytes, bad[i][1]), -EFAULT);
		assert_null(memory_host(&memory, gpa(bad[i][0]), bad[i][1]));
	}
	assert_memory_equal(bytes, before, sizeof bytes);
	assert_int_equal(*(uint8_t *)memory_host(&memory, gpa(BASE + MIB - 1), 1), 0);
}

static void nothing_to_copy(void **state)
{
	(void)state;
	assert_int_equal(add(BASE, MIB), 0);
	assert_int_equal(memory_read(&memory, gpa(BASE), NULL, 0), 0);
	assert_int_equal(memory_write(&memory, gpa(3), NULL, 0), 0);
	assert_non_null(memory_host(&memory, gpa(BASE), 0));
}

/* Two adjoining regions are two host mappings: a span across both is not one piece of host memory. */
static void spans_stay_in_one_region(void **state)
{
	uint8_t bytes[8];

	(void)state;
	assert_int_equal(add(BASE, 4096), 0);
	assert_int_equal(add(BASE + 4096, 4096), 0);
	assert_null(memory_host(&memory, gpa(BASE + 4092), 8));
	assert_int_equal(memory_read(&memory, gpa(BASE + 4092), bytes, 8), -EFAULT);
	assert_non_null(memory_host(&memory, gpa(BASE + 4092), 4));
}

static void there_and_back(void **state)
{
	static const uint64_t places[] = {BASE, BASE + 4095, BASE + MIB, BASE + 2 * MIB - 1};

	(void)state;
	assert_int_equal(add(BASE + MIB, MIB), 0);
	assert_int_equal(add(BASE, 4096), 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		void *host = memory_host(&memory, gpa(places[i]), 1);

		assert_int_equal(memory_physical(&memory, host).value, places[i]);
	}
}

static void finish_twice(void **state)
{
	(void)state;
	assert_int_equal(add(BASE, MIB), 0);
	memory_finish(&memory);
	assert_int_equal(memory.count, 0);
	memory_finish(&memory);
	assert_null(memory_find(&memory, gpa(BASE), 1));
}

static uint64_t locked_bytes(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	unsigned long long kilobytes = 0;
	char line[128];

	assert_non_null(status);
	while (fgets(line, sizeof line, status))
		if (sscanf(line, "VmLck: %llu", &kilobytes) == 1)
			break;
	fclose(status);
	return kilobytes * KIB;
}

/* A host without huge pages, free memory or the right to lock refuses, and says why. */
static void locked_in_huge_pages(void **state)
{
	struct error e = {.kind = ERROR_NONE};
	int r;

	(void)state;
	assert_int_equal(memory_add_ram(&memory, gpa(0x80000000), 64 * MIB, "ram", NULL), 0);
	r = memory_lock(&memory, &e);
	if (r == 0)
		assert_true(locked_bytes() >= 64 * MIB);
	else
		assert_non_null(strstr(e.message, "ram"));
	print_message("# %s\n", r == 0 ? "locked" : e.message);
	memory_finish(&memory);
	assert_int_equal(locked_bytes(), 0);
}

#define TOUCHED_PAGES (64 * MIB / GUEST_PAGE_SIZE)
#define HUGE_PAGES    (HUGE_PAGE / GUEST_PAGE_SIZE)

static bool has(const uint64_t *bits, uint64_t page)
{
	return bits[page / 64] >> page % 64 & 1;
}

static void look(uint64_t bits[TOUCHED_PAGES / 64])
{
	memset(bits, 0x5a, TOUCHED_PAGES / 8);
	memory_touched(&memory, 0, bits);
}

/* The host may give a huge page where one was touched. */
static void touched_pages_are_told(void **state)
{
	static uint64_t bits[TOUCHED_PAGES / 64];
	const uint8_t one = 1;

	(void)state;
	assert_int_equal(add(BASE, 64 * MIB), 0);
	assert_int_equal(memory_write(&memory, gpa(BASE + 5 * GUEST_PAGE_SIZE), &one, 1), 0);
	assert_int_equal(memory_write(&memory, gpa(BASE + 9001 * GUEST_PAGE_SIZE), &one, 1), 0);
	look(bits);
	assert_true(has(bits, 5) && has(bits, 9001));
	if (has(bits, TOUCHED_PAGES - 1))
		skip(); /* a kernel that does not tell */
	for (uint64_t page = 0; page < TOUCHED_PAGES; page++)
		if (has(bits, page) && page / HUGE_PAGES != 0 && page / HUGE_PAGES != 9001 / HUGE_PAGES)
			fail_msg("page %llu was never touched", (unsigned long long)page);
	assert_int_equal(memory_discard(&memory, gpa(BASE), HUGE_PAGE), 0);
	look(bits);
	assert_true(!has(bits, 5) && has(bits, 9001));
}

/* What a file has there is not zeros because nobody looked at it yet. */
static void pages_of_a_file_are_told(void **state)
{
	static uint64_t bits[TOUCHED_PAGES / 64];
	int fd = memfd_create("memory", MFD_CLOEXEC);
	struct error e;

	(void)state;
	assert_int_equal(ftruncate(fd, 100 * GUEST_PAGE_SIZE), 0);
	assert_int_equal(add(BASE, 64 * MIB), 0);
	assert_int_equal(memory_map_file(&memory, 0, 70 * GUEST_PAGE_SIZE, 100 * GUEST_PAGE_SIZE, fd, 0, &e), 0);
	memory_mapped(&memory, 0);
	close(fd);
	look(bits);
	for (uint64_t page = 70; page < 170; page++)
		assert_true(has(bits, page));
	if (has(bits, TOUCHED_PAGES - 1))
		skip();
	assert_false(has(bits, 69) || has(bits, 170));
	assert_int_equal(memory_drop(&memory.regions[0], 71 * GUEST_PAGE_SIZE, 98 * GUEST_PAGE_SIZE), 0);
	look(bits);
	assert_true(has(bits, 70) && has(bits, 169));
	assert_false(has(bits, 71) || has(bits, 168));
}

/* Another process's map says nothing of this one's pages. */
static void children_are_told_all(void **state)
{
	static uint64_t bits[TOUCHED_PAGES / 64];

	(void)state;
	assert_int_equal(add(BASE, 64 * MIB), 0);
	memory.map_of = getppid();
	look(bits);
	for (uint64_t page = 0; page < TOUCHED_PAGES; page++)
		assert_true(has(bits, page));
}

int main(void)
{
#define WITH_MEMORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_MEMORY(zeroed_and_kept),
		WITH_MEMORY(aligned_for_huge_pages),
		WITH_MEMORY(kept_out_of_core_files),
		WITH_MEMORY(bad_ranges),
		WITH_MEMORY(overlaps),
		WITH_MEMORY(table_is_sorted_and_finite),
		WITH_MEMORY(nothing_copied_outside),
		WITH_MEMORY(nothing_to_copy),
		WITH_MEMORY(spans_stay_in_one_region),
		WITH_MEMORY(there_and_back),
		WITH_MEMORY(finish_twice),
		WITH_MEMORY(locked_in_huge_pages),
		WITH_MEMORY(touched_pages_are_told),
		WITH_MEMORY(pages_of_a_file_are_told),
		WITH_MEMORY(children_are_told_all),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
