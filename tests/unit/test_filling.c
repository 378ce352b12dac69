/* Memory that comes out of a snapshot file which is being written: whoever touches it finds what was saved, or waits; when the writer
 * dies nobody goes on with zeros. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory/absent.h"
#include "snapshot/filling.h"
#include "snapshot/marks.h"
#include "snapshot/save.h"

#define PAGES_LOW  (8192 + 5) /* no whole groups */
#define PAGES_HIGH 37
#define PAGES      (PAGES_LOW + PAGES_HIGH)
#define HOLE       4000 /* as many pages that nobody touched */
#define HOLE_PAGES 2000
#define STATE      "the state of everything else"
#define ROUNDS     200
#define PATIENCE   60000

static struct memory from, to;
static struct snapshot_save saving;
static struct snapshot *early;
static struct filling *filling;
static int file, wants[2];
static struct error e;

static uint8_t *page_of(const struct memory *memory, uint64_t row)
{
	return row < PAGES_LOW ? memory->regions[0].host + row * GUEST_PAGE_SIZE
			       : memory->regions[1].host + (row - PAGES_LOW) * GUEST_PAGE_SIZE;
}

/* Every fifth page is zeros, though it was touched. */
static uint64_t word_of(uint64_t row, uint64_t word)
{
	if (row % 5 == 0 || (row >= HOLE && row < HOLE + HOLE_PAGES))
		return 0;
	return (row * 512 + word) * UINT64_C(0x9e3779b97f4a7c15);
}

static bool is_right(const struct memory *memory, uint64_t row)
{
	const uint64_t *page = (const uint64_t *)(const void *)page_of(memory, row);

	for (uint64_t i = 0; i < 512; i++)
		if (page[i] != word_of(row, i))
			return false;
	return true;
}

static void check_all(void)
{
	for (uint64_t row = 0; row < PAGES; row++)
		if (!is_right(&to, row))
			fail_msg("page %u is not what was saved", (unsigned)row);
}

static void add_both(struct memory *memory)
{
	memory_init(memory);
	assert_int_equal(memory_add_ram(memory, gpa(0x80000000), PAGES_LOW * GUEST_PAGE_SIZE, "low", &e), 0);
	assert_int_equal(memory_add_ram(memory, gpa(0x100000000), PAGES_HIGH * GUEST_PAGE_SIZE, "high", &e), 0);
}

static int set_up(void **state)
{
	char path[] = "/tmp/doppel-filling-XXXXXX";

	(void)state;
	early = NULL;
	filling = NULL;
	add_both(&from);
	add_both(&to);
	(void)madvise(from.regions[0].host, from.regions[0].size, MADV_NOHUGEPAGE);
	for (uint64_t row = 0; row < PAGES; row++)
		if (row < HOLE || row >= HOLE + HOLE_PAGES)
			for (uint64_t i = 0; i < 512; i++)
				((uint64_t *)(void *)page_of(&from, row))[i] = word_of(row, i);
	file = mkostemp(path, O_CLOEXEC);
	assert_true(file >= 0);
	unlink(path);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	filling_end(filling);
	snapshot_close(early);
	memory_finish(&from);
	memory_finish(&to);
	close(file);
	return 0;
}

static void begin_saving(void)
{
	struct snapshot_contents c = {.memory = &from,
				      .state = STATE,
				      .state_length = sizeof STATE,
				      .facts = "{\"tag\": \"x\"}",
				      .id = {1},
				      .bare = true,
				      .wants = &wants[0]};

	assert_int_equal(pipe2(wants, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(ftruncate(file, 0), 0);
	if (snapshot_save_begin(&saving, file, &c, &e) < 0)
		fail_msg("save: %s", e.message);
	close(wants[0]);
}

static int end_saving(void)
{
	struct snapshot_counts counts;
	int r = snapshot_save_end(&saving, &counts, &e);

	snapshot_save_reap(&saving);
	return r;
}

static bool is_done(void)
{
	return poll(&(struct pollfd){.fd = saving.socket, .events = POLLIN}, 1, 0) > 0;
}

/* Its writer stands still amid the memory, which it writes in a moment: begun again when it was faster. */
static void begin_held(void)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		int status;

		begin_saving();
		assert_int_equal(kill(saving.child, SIGSTOP), 0);
		(void)waitpid(saving.child, &status, WUNTRACED | WNOWAIT);
		if (!is_done())
			return;
		assert_int_equal(kill(saving.child, SIGCONT), 0);
		assert_int_equal(end_saving(), 0);
		close(wants[1]);
	}
	fail_msg("the writer was always faster");
}

static void go_on(void)
{
	assert_int_equal(kill(saving.child, SIGCONT), 0);
}

static void begin_filling(void)
{
	struct filling_source source = {.wants = wants[1]};

	if (absent_open(&source.absent, NULL) < 0)
		skip();
	assert_true(filling_can(&to));
	if (snapshot_open_early(&early, fcntl(file, F_DUPFD_CLOEXEC, 0), "early", &e) < 0 ||
	    filling_begin(&filling, early, &to, &source, &e) < 0)
		fail_msg("%s", e.message);
}

static int end_filling(void)
{
	struct pollfd over = {.fd = filling_descriptor(filling), .events = POLLIN};
	int r;

	assert_int_equal(poll(&over, 1, PATIENCE), 1);
	r = filling_result(filling, &e);
	filling_end(filling);
	filling = NULL;
	return r;
}

/* ---- Somebody who touches ---- */

struct toucher {
	pthread_t thread;
	uint64_t row;
	atomic_bool done;
	bool right;
};

static void *touch(void *arg)
{
	struct toucher *toucher = arg;

	toucher->right = is_right(&to, toucher->row);
	atomic_store(&toucher->done, true);
	return NULL;
}

static void begin_touching(struct toucher *toucher, uint64_t row)
{
	*toucher = (struct toucher){.row = row};
	assert_int_equal(pthread_create(&toucher->thread, NULL, touch, toucher), 0);
}

static bool end_touching(struct toucher *toucher)
{
	pthread_join(toucher->thread, NULL);
	return toucher->right;
}

/* ---- Tests ---- */

static void nothing_touched(void **state)
{
	(void)state;
	begin_saving();
	begin_filling();
	assert_string_equal((const char *)early->state, STATE);
	assert_int_equal(end_filling(), 0);
	assert_int_equal(end_saving(), 0);
	check_all();
}

static void those_who_touch_wait(void **state)
{
	/* The ends of both regions, a page that is in the hole, and some amid. */
	static const uint64_t rows[] = {PAGES - 1, PAGES_LOW, PAGES_LOW - 1, HOLE + 7, HOLE - 1, 7001, 1, 6999};
	struct toucher touchers[ARRAY_SIZE(rows)];

	(void)state;
	begin_held();
	begin_filling();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		begin_touching(&touchers[i], rows[i]);
	go_on();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		assert_true(end_touching(&touchers[i]));
	assert_int_equal(end_filling(), 0);
	assert_int_equal(end_saving(), 0);
	check_all();
}

static void what_is_written_stays(void **state)
{
	(void)state;
	begin_held();
	begin_filling();
	go_on();
	for (uint64_t row = 3; row < PAGES; row += 97)
		memset(page_of(&to, row), 0x5a, GUEST_PAGE_SIZE);
	assert_int_equal(end_filling(), 0);
	assert_int_equal(end_saving(), 0);
	for (uint64_t row = 0; row < PAGES; row++) {
		if (row % 97 == 3) {
			assert_int_equal(*page_of(&to, row), 0x5a);
			memcpy(page_of(&to, row), page_of(&from, row), GUEST_PAGE_SIZE);
		}
	}
	check_all();
}

/* The last page is there before the middle, where without having been asked the writer comes first. */
static bool comes_first(void)
{
	const struct snapshot_section *section;
	const struct marks *marks;
	bool first;

	begin_held();
	begin_filling();
	section = snapshot_find(&early->header, SNAPSHOT_MARKS);
	marks = mmap(NULL, section->length, PROT_READ, MAP_SHARED, file, (off_t)section->offset);
	assert_true(marks != MAP_FAILED);
	go_on();
	assert_true(is_right(&to, PAGES - 1));
	first = marks_get(marks, marks_group(&to, 0, PAGES_LOW - 32)) == MARKS_NONE;
	munmap((void *)marks, section->length);
	assert_int_equal(end_filling(), 0);
	assert_int_equal(end_saving(), 0);
	snapshot_close(early);
	early = NULL;
	return first;
}

static void what_is_wanted_comes_first(void **state)
{
	unsigned rounds = 0;

	(void)state;
	while (!comes_first())
		assert_true(++rounds < ROUNDS);
}

static void nothing_is_given_back_before(void **state)
{
	(void)state;
	begin_held();
	begin_filling();
	assert_int_equal(memory_drop(&to.regions[0], 0, GUEST_PAGE_SIZE), -EBUSY);
	assert_int_equal(memory_discard(&to, gpa(0x80000000), GUEST_PAGE_SIZE), -EBUSY);
	go_on();
	assert_int_equal(end_filling(), 0);
	assert_int_equal(end_saving(), 0);
	assert_int_equal(memory_discard(&to, gpa(0x80001000), GUEST_PAGE_SIZE), 0);
	assert_int_equal(*page_of(&to, 1), 0);
	memcpy(page_of(&to, 1), page_of(&from, 1), GUEST_PAGE_SIZE);
	check_all();
}

/* Nobody went on with what was not there. */
static void ends_amid(void (*strike)(void))
{
	struct toucher toucher;

	begin_held();
	begin_filling();
	begin_touching(&toucher, PAGES - 1);
	strike();
	assert_int_equal(poll(&(struct pollfd){.fd = filling_descriptor(filling), .events = POLLIN}, 1, PATIENCE), 1);
	assert_false(atomic_load(&toucher.done));
	assert_int_equal(end_filling(), -EIO);
	assert_non_null(strstr(e.message, "ended amid"));
	(void)end_touching(&toucher);
	assert_true(end_saving() < 0);
}

static void be_killed(void)
{
	assert_int_equal(kill(saving.child, SIGKILL), 0);
}

static void be_given_up(void)
{
	snapshot_save_give_up(&saving);
	go_on();
}

static void writer_is_killed(void **state)
{
	(void)state;
	ends_amid(be_killed);
}

static void save_is_given_up(void **state)
{
	(void)state;
	ends_amid(be_given_up);
}

/* A machine that ends while its memory comes. */
static void filling_is_ended(void **state)
{
	(void)state;
	begin_held();
	begin_filling();
	filling_end(filling);
	filling = NULL;
	go_on();
	assert_int_equal(end_saving(), 0);
}

static int open_lie(const struct snapshot_header *lie)
{
	struct snapshot *opened = NULL;
	uint8_t bytes[SNAPSHOT_HEADER];
	int r;

	snapshot_header_put(lie, bytes);
	assert_int_equal(pwrite(file, bytes, sizeof bytes, SNAPSHOT_EARLY_AT), sizeof bytes);
	r = snapshot_open_early(&opened, fcntl(file, F_DUPFD_CLOEXEC, 0), "lie", &e);
	snapshot_close(opened);
	return r;
}

static void headers_that_lie(void **state)
{
	struct snapshot_header header, lie;
	uint8_t bytes[SNAPSHOT_HEADER];
	struct snapshot *opened;

	(void)state;
	begin_saving();
	assert_int_equal(end_saving(), 0);
	close(wants[1]);
	assert_int_equal(pread(file, bytes, sizeof bytes, SNAPSHOT_EARLY_AT), sizeof bytes);
	assert_int_equal(snapshot_header_get(&header, bytes, UINT64_MAX, "early", &e), 0);
	assert_int_equal(open_lie(&header), 0);
	for (unsigned i = 0; i < 6; i++) {
		lie = header;
		if (i == 0)
			lie.flags &= ~(uint32_t)SNAPSHOT_EARLY;
		if (i == 1)
			lie.flags &= ~(uint32_t)SNAPSHOT_BARE;
		if (i == 2)
			lie.section_count--;
		if (i == 3)
			lie.sections[3].length -= GUEST_PAGE_SIZE;
		if (i == 4)
			lie.sections[3].offset += 8;
		if (i == 5)
			lie.length = UINT64_C(1) << 40;
		assert_int_equal(open_lie(&lie), -EBADMSG);
	}
	/* In the place of a whole file's. */
	snapshot_header_put(&header, bytes);
	assert_int_equal(pwrite(file, bytes, sizeof bytes, 0), sizeof bytes);
	assert_int_equal(snapshot_open(&opened, fcntl(file, F_DUPFD_CLOEXEC, 0), "lie", &e), -EBADMSG);
}

int main(void)
{
#define WITH_BOTH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_BOTH(nothing_touched),
		WITH_BOTH(those_who_touch_wait),
		WITH_BOTH(what_is_written_stays),
		WITH_BOTH(what_is_wanted_comes_first),
		WITH_BOTH(nothing_is_given_back_before),
		WITH_BOTH(writer_is_killed),
		WITH_BOTH(save_is_given_up),
		WITH_BOTH(filling_is_ended),
		WITH_BOTH(headers_that_lie),
	};

	return cmocka_run_group_tests_name("filling", tests, NULL, NULL);
}
