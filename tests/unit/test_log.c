#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"

static int ends[2];

static int setup(void **state)
{
	(void)state;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	log_set_fd(ends[1]);
	log_set_level(LOG_WARNING);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	log_set_fd(2);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

/* What has been logged since the last call. */
static const char *logged(void)
{
	static char text[65536];
	ssize_t count = read(ends[0], text, sizeof text - 1);

	text[count > 0 ? count : 0] = '\0';
	return text;
}

static unsigned lines(const char *text)
{
	unsigned count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

static void levels_parse(void **state)
{
	enum log_level level = LOG_LEVELS;

	(void)state;
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
	assert_int_equal(level, LOG_LEVELS);
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_level_parse("error", &level), 0);
	assert_int_equal(level, LOG_ERROR);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
}

static void quieter_than_the_level(void **state)
{
	(void)state;
	log_line(LOG_INFO, "uart", "not shown");
	assert_string_equal(logged(), "");
	log_line(LOG_WARNING, "uart", "shown %d", 7);
	assert_string_equal(logged(), "warning uart: shown 7\n");
	log_set_level(LOG_DEBUG);
	assert_int_equal(log_level(), LOG_DEBUG);
	log_line(LOG_DEBUG, "uart", "shown too");
	assert_string_equal(logged(), "debug uart: shown too\n");
}

static void control_bytes_are_escaped(void **state)
{
	(void)state;
	log_line(LOG_ERROR, "sbi", "guest says '%s'", "a\n\x1b[31m\x7f\x9b");
	assert_string_equal(logged(), "error sbi: guest says 'a\\x0a\\x1b[31m\\x7f\\x9b'\n");
}

static void long_lines_are_cut(void **state)
{
	char text[8000];
	const char *line;

	(void)state;
	memset(text, 1, sizeof text - 1);
	text[sizeof text - 1] = '\0';
	log_line(LOG_ERROR, "a module whose name is longer than any should ever be", "%s", text);
	line = logged();
	assert_int_equal(lines(line), 1);
	assert_in_range(strlen(line), 900, 1024);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

/* Waits for a fresh second, so that all that follows falls into one. */
static void next_second(void)
{
	uint64_t second = clock_host_ns() / 1000000000;

	while (clock_host_ns() / 1000000000 == second)
		usleep(1000);
}

static void guests_are_limited(void **state)
{
	const char *text;

	(void)state;
	next_second();
	for (int i = 0; i < 1000; i++)
		log_guest(LOG_WARNING, "plic", "line %d", i);
	text = logged();
	assert_int_equal(lines(text), 10);
	assert_non_null(strstr(text, "line 9\n"));
	next_second();
	log_guest(LOG_WARNING, "plic", "afterwards");
	text = logged();
	assert_non_null(strstr(text, "990 lines"));
	assert_non_null(strstr(text, "warning plic: afterwards\n"));
	log_guest(LOG_DEBUG, "plic", "below the level");
	assert_string_equal(logged(), "");
}

static void *chatter(void *arg)
{
	for (int i = 0; i < 50; i++) {
		log_line(LOG_ERROR, "thread", "%s", (const char *)arg);
		log_guest(LOG_ERROR, "thread", "%s", (const char *)arg);
	}
	return NULL;
}

static void lines_of_threads_stay_whole(void **state)
{
	pthread_t threads[2];
	const char *text;

	(void)state;
	assert_int_equal(pthread_create(&threads[0], NULL, chatter, (void *)(uintptr_t) "aaaaaaaaaaaaaaaaaaaa"),
			 0);
	assert_int_equal(pthread_create(&threads[1], NULL, chatter, (void *)(uintptr_t) "bbbbbbbbbbbbbbbbbbbb"),
			 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	text = logged();
	assert_in_range(lines(text), 100, 130);
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		assert_true(strncmp(line, "error thread: aaaaaaaaaaaaaaaaaaaa\n", 35) == 0 ||
			    strncmp(line, "error thread: bbbbbbbbbbbbbbbbbbbb\n", 35) == 0 ||
			    strncmp(line, "error log: ", 11) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels_parse),
		cmocka_unit_test_setup_teardown(quieter_than_the_level, setup, teardown),
		cmocka_unit_test_setup_teardown(control_bytes_are_escaped, setup, teardown),
		cmocka_unit_test_setup_teardown(long_lines_are_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(guests_are_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(lines_of_threads_stay_whole, setup, teardown),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
