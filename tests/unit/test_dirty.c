#include <errno.h>
#include <pthread.h>
#include <sched.h>
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
#define WRITES 8 /* a round, all to one page */

static atomic_uint begun, ended;

static void wait_for(atomic_uint *counter, unsigned value)
{
	for (unsigned spins = 0; atomic_load(counter) < value; spins++)
		if (spins > 1000)
			sched_yield();
}

static void *write_in_rounds(void *arg)
{
	uint32_t words[64];

	(void)arg;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		wait_for(&begun, round);
		for (unsigned i = 0; i < WRITES; i++) {
			for (unsigned w = 0; w < ARRAY_SIZE(words); w++)
				words[w] = round * WRITES + i;
			if (memory_write(&memory, gpa(BASE), words, sizeof words) < 0)
				return NULL;
		}
		atomic_store(&ended, round);
	}
	return NULL;
}

/* What a migration round does: collects, then copies what was marked. */
static void copy_marked(uint32_t *copy, uint64_t size)
{
	uint64_t bitmap[WORDS];

	memory_dirty_collect(&memory, 0, bitmap);
	if (bit(bitmap, 0))
		assert_int_equal(memory_read(&memory, gpa(BASE), copy, size), 0);
}

/*
 * What migration relies on: a page that was written after it was last copied is still marked. In each round the
 * collector runs against a writer, then once more when the writer rests, and then the copy must be the page.
 */
static void no_write_is_lost_to_a_collector(void **state)
{
	uint32_t copy[64] = {0};
	pthread_t writer;

	(void)state;
	assert_int_equal(memory_dirty_start(&memory, NULL), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_in_rounds, NULL), 0);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		atomic_store(&begun, round);
		while (atomic_load(&ended) < round)
			copy_marked(copy, sizeof copy);
		copy_marked(copy, sizeof copy);
		for (unsigned w = 0; w < ARRAY_SIZE(copy); w++)
			assert_int_equal(copy[w], round * WRITES + WRITES - 1);
	}
	pthread_join(writer, NULL);
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
