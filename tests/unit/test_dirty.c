#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "memory/memory.h"

#define BASE  UINT64_C(0x80000000)
#define PAGES 200
#define WORDS 4 /* 200 bits */

static struct memory memory;

static int setup(void **state)
{
	(void)state;
	memory_init(&memory);
	return memory_add_ram(&memory, gpa(BASE), PAGES * GUEST_PAGE_SIZE, "ram", NULL);
}

static int teardown(void **state)
{
	(void)state;
	memory_finish(&memory);
	return 0;
}

static bool bit(const uint64_t *bitmap, uint64_t page)
{
	return bitmap[page / 64] >> (page % 64) & 1;
}

static void off_until_started(void **state)
{
	uint64_t bitmap[WORDS] = {1, 2, 3, 4};

	(void)state;
	assert_int_equal(memory_dirty_words(&memory.regions[0]), WORDS);
	assert_false(memory_tracking(&memory));
	assert_int_equal(memory_write(&memory, gpa(BASE), "x", 1), 0);
	memory_mark_dirty(&memory, gpa(BASE), 1);
	assert_int_equal(memory_dirty_collect(&memory, 0, bitmap), 0);
	assert_int_equal(bitmap[0] | bitmap[1] | bitmap[2] | bitmap[3], 0);
	assert_int_equal(memory_dirty_start(&memory, NULL), 0);
	assert_true(memory_tracking(&memory));
	assert_int_equal(memory_dirty_collect(&memory, 0, bitmap), 0);
}

static void collecting_clears(void **state)
{
	uint64_t bitmap[WORDS];

	(void)state;
	assert_int_equal(memory_dirty_start(&memory, NULL), 0);
	assert_int_equal(memory_write(&memory, gpa(BASE + 5 * GUEST_PAGE_SIZE + 4095), "ab", 2), 0);
	assert_int_equal(memory_dirty_collect(&memory, 0, bitmap), 2);
	assert_true(bit(bitmap, 5));
	assert_true(bit(bitmap, 6));
	assert_int_equal(memory_dirty_collect(&memory, 0, bitmap), 0);
	assert_false(bit(bitmap, 5));
}

static void failed_and_empty_writes_mark_nothing(void **state)
{
	uint64_t bitmap[WORDS];

	(void)state;
	assert_int_equal(memory_dirty_start(&memory, NULL), 0);
	assert_int_equal(memory_write(&memory, gpa(BASE - 1), "ab", 2), -EFAULT);
	assert_int_equal(memory_write(&memory, gpa(BASE), "", 0), 0);
	memory_mark_dirty(&memory, gpa(BASE), UINT64_MAX);
	memory_mark_dirty(&memory, gpa(0), 4096);
	assert_int_equal(memory_dirty_collect(&memory, 0, bitmap), 0);
}

/* Every span of pages, against a bitmap made one page at a time. */
static void spans_mark_exactly_their_pages(void **state)
{
	uint64_t bitmap[WORDS];

	(void)state;
	assert_int_equal(memory_dirty_start(&memory, NULL), 0);
	for (uint64_t first = 0; first < PAGES; first += 7) {
		for (uint64_t last = first; last < PAGES; last += 3) {
			memory_mark_dirty(&memory, gpa(BASE + (first + 1) * GUEST_PAGE_SIZE - 1),
					  (last - first) * GUEST_PAGE_SIZE + 1);
			assert_int_equal(memory_dirty_collect(&memory, 0, bitmap), last - first + 1);
			for (uint64_t page = 0; page < PAGES; page++)
				assert_int_equal(bit(bitmap, page), page >= first && page <= last);
		}
	}
}

static void started_again_it_is_clean(void **state)
{
	uint64_t bitmap[WORDS];
	struct error e = {0};

	(void)state;
	assert_int_equal(memory_dirty_start(&memory, &e), 0);
	assert_int_equal(memory_dirty_start(&memory, &e), -EBUSY);
	assert_int_equal(e.kind, ERROR_STATE);
	memory_mark_dirty(&memory, gpa(BASE), 1);
	memory_dirty_stop(&memory);
	assert_false(memory_tracking(&memory));
	memory_mark_dirty(&memory, gpa(BASE + GUEST_PAGE_SIZE), 1);
	assert_int_equal(memory_dirty_start(&memory, &e), 0);
	assert_int_equal(memory_dirty_collect(&memory, 0, bitmap), 0);
}

static void regions_have_bits_of_their_own(void **state)
{
	uint64_t bitmap[WORDS];

	(void)state;
	assert_int_equal(memory_add_ram(&memory, gpa(0), GUEST_PAGE_SIZE, "low", NULL), 0);
	assert_int_equal(memory_dirty_start(&memory, NULL), 0);
	memory_mark_dirty(&memory, gpa(100), 1);
	assert_int_equal(memory_dirty_collect(&memory, 1, bitmap), 0);
	assert_int_equal(memory_dirty_collect(&memory, 0, bitmap), 1);
	assert_int_equal(bitmap[0], 1);
}

#define ROUNDS 20000

/* Each writer raises a counter in its own page, in guest memory, through the marking path. */
static void *write_much(void *arg)
{
	gpa_t address = gpa(BASE + (uint64_t)(uintptr_t)arg * GUEST_PAGE_SIZE);

	for (uint32_t i = 1; i <= ROUNDS; i++)
		if (memory_write(&memory, address, &i, sizeof i) < 0)
			break;
	return NULL;
}

/*
 * What migration relies on: a page that was written after it was last copied is still marked. The copy is right at
 * the end although writers and collector never waited for each other.
 */
static void no_write_is_lost_to_a_collector(void **state)
{
	uint32_t copies[2] = {0}, now[2];
	uint64_t bitmap[WORDS];
	pthread_t threads[2];
	bool last = false;

	(void)state;
	assert_int_equal(memory_dirty_start(&memory, NULL), 0);
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_much, (void *)i), 0);
	for (;;) {
		memory_dirty_collect(&memory, 0, bitmap);
		for (uint64_t page = 0; page < 2; page++)
			if (bit(bitmap, page))
				assert_int_equal(
					memory_read(&memory, gpa(BASE + page * GUEST_PAGE_SIZE), &copies[page], 4),
					0);
		if (last)
			break;
		if (copies[0] > ROUNDS / 2 || copies[1] > ROUNDS / 2) {
			for (int i = 0; i < 2; i++)
				pthread_join(threads[i], NULL);
			last = true;
		}
	}
	for (uint64_t page = 0; page < 2; page++) {
		assert_int_equal(memory_read(&memory, gpa(BASE + page * GUEST_PAGE_SIZE), &now[page], 4), 0);
		assert_int_equal(now[page], ROUNDS);
		assert_int_equal(copies[page], ROUNDS);
	}
}

int main(void)
{
#define WITH_MEMORY(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_MEMORY(off_until_started),
		WITH_MEMORY(collecting_clears),
		WITH_MEMORY(failed_and_empty_writes_mark_nothing),
		WITH_MEMORY(spans_mark_exactly_their_pages),
		WITH_MEMORY(started_again_it_is_clean),
		WITH_MEMORY(regions_have_bits_of_their_own),
		WITH_MEMORY(no_write_is_lost_to_a_collector),
	};

	return cmocka_run_group_tests_name("dirty", tests, NULL, NULL);
}
