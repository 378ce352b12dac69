#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory/memory.h"

#define BASE   UINT64_C(0x80000000)
#define PAGES  UINT64_C(4)
#define POOL   "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define SMALL  GUEST_PAGE_SIZE

static struct memory memory;
static unsigned long before; /* in the host's pool */
static int pool = -1;        /* open while pages of ours are in it */

static bool read_pool(const char *name, unsigned long *count)
{
	char path[128];
	FILE *file;
	bool told;

	snprintf(path, sizeof path, POOL "%s", name);
	file = fopen(path, "re");
	told = file && fscanf(file, "%lu", count) == 1;
	if (file)
		fclose(file);
	return told;
}

static void resize_pool(unsigned long count)
{
	char text[32];
	int length = snprintf(text, sizeof text, "%lu\n", count);

	(void)!pwrite(pool, text, (size_t)length, 0);
}

/* Only where this user may: one such test at a time on this host, and afterwards it is as it was. */
static int reserve(void **state)
{
	unsigned long free_pages = 0, promised = 0;

	(void)state;
	memory_init(&memory);
	memory.huge_pages = true;
	pool = open(POOL "nr_hugepages", O_RDWR | O_CLOEXEC);
	if (pool < 0)
		return 0;
	(void)flock(pool, LOCK_EX);
	if (!read_pool("nr_hugepages", &before))
		return -1;
	resize_pool(before + PAGES);
	if (read_pool("free_hugepages", &free_pages) && read_pool("resv_hugepages", &promised) &&
	    free_pages >= promised + PAGES)
		return 0;
	resize_pool(before);
	close(pool);
	pool = -1;
	return 0;
}

static int give_back(void **state)
{
	(void)state;
	memory_finish(&memory);
	if (pool >= 0) {
		resize_pool(before);
		close(pool);
		pool = -1;
	}
	return 0;
}

static uint8_t *take(void)
{
	struct error e = {0};

	if (pool < 0) {
		print_message("# this host lets nobody here reserve huge pages\n");
		skip();
	}
	if (memory_add_ram(&memory, gpa(BASE), PAGES * HUGE_PAGE, "ram", &e) < 0)
		fail_msg("%s", e.message);
	return memory.regions[0].host;
}

static unsigned long in_use(void)
{
	unsigned long free_pages = 0, total = 0;

	assert_true(read_pool("free_hugepages", &free_pages));
	assert_true(read_pool("nr_hugepages", &total));
	return total - free_pages;
}

static void promised_then_used(void **state)
{
	uint8_t *host = take();
	unsigned long used = in_use(), promised = 0;

	(void)state;
	assert_true(read_pool("resv_hugepages", &promised));
	assert_true(promised >= PAGES);
	assert_int_equal((uintptr_t)host % HUGE_PAGE, 0);
	assert_int_equal(host[5], 0);
	host[5] = 7;
	assert_true(in_use() >= used + 1);
	memory_finish(&memory);
}

/* What nobody touched is not made by clearing it. */
static void cleared_in_place(void **state)
{
	uint8_t *host = take();
	struct error e = {0};
	unsigned char touched = 0;

	(void)state;
	memset(host + HUGE_PAGE - SMALL, 0xa5, 2 * SMALL);
	assert_int_equal(memory_drop(&memory.regions[0], HUGE_PAGE, SMALL), 0);
	assert_int_equal(host[HUGE_PAGE - 1], 0xa5);
	assert_int_equal(host[HUGE_PAGE], 0);
	assert_int_equal(memory_drop(&memory.regions[0], 0, memory.regions[0].size), 0);
	assert_int_equal(host[HUGE_PAGE - 1], 0);
	assert_int_equal(mincore(host + 3 * HUGE_PAGE, SMALL, &touched), 0);
	assert_int_equal(touched & 1, 0);
	assert_int_equal(memory_discard(&memory, gpa(BASE), HUGE_PAGE), -EOPNOTSUPP);
	if (memory_lock(&memory, &e) < 0)
		fail_msg("%s", e.message);
	assert_int_equal(mincore(host + 3 * HUGE_PAGE, SMALL, &touched), 0);
	assert_int_equal(touched & 1, 1);
}

static void filled_from_a_file(void **state)
{
	uint8_t *host = take(), page[SMALL];
	FILE *file = tmpfile();
	struct error e = {0};

	(void)state;
	assert_non_null(file);
	memset(page, 0x3c, sizeof page);
	assert_int_equal(fwrite(page, sizeof page, 1, file), 1);
	assert_int_equal(fflush(file), 0);
	if (memory_map_file(&memory, 0, 3 * SMALL, SMALL, fileno(file), 0, &e) < 0)
		fail_msg("%s", e.message);
	assert_memory_equal(host + 3 * SMALL, page, SMALL);
	assert_int_equal(host[3 * SMALL - 1] | host[4 * SMALL], 0);
	assert_int_equal(memory_map_file(&memory, 0, 0, SMALL, fileno(file), SMALL, &e), -EBADMSG);
	assert_non_null(strstr(e.message, "saved memory"));
	fclose(file);
}

static void inherited_as_it_is(void **state)
{
	uint8_t *host = take();
	pid_t child;
	int status;

	(void)state;
	host[0] = 1;
	assert_int_equal(memory_inherit(&memory, true, NULL), 0);
	child = fork();
	if (child == 0)
		_exit(host[0] == 1 ? 0 : 1);
	assert_int_equal(memory_inherit(&memory, false, NULL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* More than any host has reserved. */
static void too_many(void **state)
{
	struct error e = {0};

	(void)state;
	assert_true(memory_add_ram(&memory, gpa(BASE), UINT64_C(1) << 44, "ram", &e) < 0);
	assert_non_null(strstr(e.message, "huge pages of 2 MiB"));
	assert_non_null(strstr(e.message, "without --hugepages"));
	assert_int_equal(memory.count, 0);
	assert_int_equal(memory_add_ram(&memory, gpa(BASE), MIB, "ram", &e), -EINVAL);
	assert_non_null(strstr(e.message, "multiples of 2M"));
}

int main(void)
{
#define RESERVED(f) cmocka_unit_test_setup_teardown(f, reserve, give_back)
	const struct CMUnitTest tests[] = {
		RESERVED(promised_then_used), RESERVED(cleared_in_place), RESERVED(filled_from_a_file),
		RESERVED(inherited_as_it_is), RESERVED(too_many),
	};

	return cmocka_run_group_tests_name("huge pages", tests, NULL, NULL);
}
