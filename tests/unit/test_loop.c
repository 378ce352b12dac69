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
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/loop.h"

#define MS UINT64_C(1000000)

static struct loop *loop;
static char order[64];

static int setup(void **state)
{
	(void)state;
	order[0] = '\0';
	return loop_new(&loop, NULL);
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

static void note(void *arg)
{
	size_t used = strnlen(order, sizeof order - 2);

	order[used] = *(const char *)arg;
	order[used + 1] = '\0';
}

static void quit(void *arg)
{
	(void)arg;
	loop_quit(loop);
}

static void times_out(void **state)
{
	uint64_t before = clock_host_ns();

	(void)state;
	assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
	assert_int_equal(loop_run(loop, 20), -ETIMEDOUT);
	assert_in_range(clock_host_ns() - before, 20 * MS, 5000 * MS);
}

static void quit_before_run_counts(void **state)
{
	(void)state;
	loop_quit(loop);
	assert_int_equal(loop_run(loop, -1), 0);
	assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
}

static void posts_run_in_order(void **state)
{
	(void)state;
	assert_int_equal(loop_post(loop, note, "a"), 0);
	assert_int_equal(loop_post(loop, note, "b"), 0);
	assert_int_equal(loop_post(loop, quit, NULL), 0);
	assert_int_equal(loop_post(loop, note, "c"), 0);
	assert_int_equal(loop_run(loop, 5000), 0);
	assert_string_equal(order, "ab");
	assert_int_equal(loop_post(loop, note, "d"), 0);
	assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
	assert_string_equal(order, "abcd");
}

static void ring(void *arg)
{
	bell_ring(arg);
}

static void a_bell_is_answered_once_for_all_rings(void **state)
{
	struct bell bell = {.loop = loop, .fn = note, .arg = "b"};

	(void)state;
	assert_int_equal(loop_post(loop, note, "a"), 0);
	bell_ring(&bell);
	bell_ring(&bell);
	assert_int_equal(loop_post(loop, note, "c"), 0);
	bell_ring(&bell);
	assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
	assert_string_equal(order, "abc");
	assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
	assert_string_equal(order, "abc");
	bell_ring(&bell);
	assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
	assert_string_equal(order, "abcb");
}

static void silence(void *arg)
{
	bell_silence(arg);
}

/* Rung during a round, silenced while it waits in the list being run, in the other list, and when not rung. */
static void a_silenced_bell_is_not_answered(void **state)
{
	struct bell bell = {.loop = loop, .fn = note, .arg = "b"};

	(void)state;
	assert_int_equal(loop_post(loop, silence, &bell), 0);
	bell_ring(&bell);
	assert_int_equal(loop_post(loop, note, "c"), 0);
	assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
	assert_string_equal(order, "c");
	bell_ring(&bell);
	bell_silence(&bell);
	bell_silence(&bell);
	assert_int_equal(loop_post(loop, ring, &bell), 0);
	assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
	assert_string_equal(order, "c");
	assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
	assert_string_equal(order, "cb");
}

static void timers_fire_by_deadline(void **state)
{
	struct loop_timer timers[4] = {
		{.fn = note, .arg = "a"},
		{.fn = note, .arg = "b"},
		{.fn = note, .arg = "c"},
		{.fn = quit},
	};
	uint64_t now = clock_host_ns();

	(void)state;
	loop_timer_set(loop, &timers[2], now + 15 * MS);
	loop_timer_set(loop, &timers[1], now + 10 * MS);
	loop_timer_set(loop, &timers[0], now + 5 * MS);
	loop_timer_set(loop, &timers[3], now + 20 * MS);
	assert_int_equal(loop_run(loop, 5000), 0);
	assert_in_range(clock_host_ns() - now, 20 * MS, 5000 * MS);
	assert_string_equal(order, "abc");
	assert_false(timers[0].armed);
}

static void timers_move_and_cancel(void **state)
{
	struct loop_timer timers[3] = {{.fn = note, .arg = "a"}, {.fn = note, .arg = "b"}, {.fn = quit}};
	uint64_t now = clock_host_ns();

	(void)state;
	loop_timer_cancel(loop, &timers[0]);
	loop_timer_set(loop, &timers[0], 0);
	loop_timer_set(loop, &timers[1], now + 5 * MS);
	loop_timer_set(loop, &timers[2], now + 10 * MS);
	loop_timer_set(loop, &timers[0], now + 1000000 * MS);
	assert_int_equal(loop_run(loop, 5000), 0);
	assert_string_equal(order, "b");
	loop_timer_cancel(loop, &timers[0]);
	loop_timer_set(loop, &timers[0], UINT64_MAX);
	assert_int_equal(loop_run(loop, 5), -ETIMEDOUT);
	loop_timer_set(loop, &timers[0], 0);
	assert_int_equal(loop_run(loop, 50), -ETIMEDOUT);
	assert_string_equal(order, "ba");
}

static struct loop_timer restless;
static unsigned restless_calls;

static void set_again(void *arg)
{
	(void)arg;
	restless_calls++;
	loop_timer_set(loop, &restless, 0);
}

static void a_restless_timer_does_not_hold_the_loop(void **state)
{
	(void)state;
	restless = (struct loop_timer){.fn = set_again};
	loop_timer_set(loop, &restless, 0);
	assert_int_equal(loop_post(loop, note, "p"), 0);
	assert_int_equal(loop_run(loop, 20), -ETIMEDOUT);
	assert_string_equal(order, "p");
	assert_in_range(restless_calls, 2, UINT32_MAX);
	loop_timer_cancel(loop, &restless);
}

struct pipe_watch {
	int ends[2];
	struct loop_watch *watch, *other;
	unsigned calls;
	uint32_t events;
};

static void open_pipe(struct pipe_watch *p)
{
	*p = (struct pipe_watch){0};
	assert_int_equal(pipe2(p->ends, O_CLOEXEC), 0);
}

static void close_pipe(struct pipe_watch *p)
{
	close(p->ends[0]);
	close(p->ends[1]);
}

static void on_readable(void *arg, uint32_t events)
{
	struct pipe_watch *p = arg;
	char byte;

	p->calls++;
	p->events = events;
	assert_int_equal(read(p->ends[0], &byte, 1), 1);
}

static void watches_are_called(void **state)
{
	struct pipe_watch p;

	(void)state;
	open_pipe(&p);
	assert_int_equal(loop_watch(loop, p.ends[0], EPOLLIN, on_readable, &p, &p.watch, NULL), 0);
	assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
	assert_int_equal(p.calls, 0);
	assert_int_equal(write(p.ends[1], "xy", 2), 2);
	assert_int_equal(loop_run(loop, 10), -ETIMEDOUT);
	assert_int_equal(p.calls, 2);
	assert_int_equal(p.events, EPOLLIN);
	loop_watch_events(loop, p.watch, 0);
	assert_int_equal(write(p.ends[1], "x", 1), 1);
	assert_int_equal(loop_run(loop, 10), -ETIMEDOUT);
	assert_int_equal(p.calls, 2);
	loop_watch_events(loop, p.watch, EPOLLIN);
	assert_int_equal(loop_run(loop, 10), -ETIMEDOUT);
	assert_int_equal(p.calls, 3);
	loop_unwatch(loop, p.watch);
	loop_unwatch(loop, NULL);
	close_pipe(&p);
}

static void unwatch_both(void *arg, uint32_t events)
{
	struct pipe_watch *p = arg;

	(void)events;
	p->calls++;
	loop_unwatch(loop, p->watch);
	loop_unwatch(loop, p->other);
}

/* Both are ready in the same round: whichever comes first removes the other. */
static void a_removed_watch_is_not_called(void **state)
{
	struct pipe_watch a, b;

	(void)state;
	open_pipe(&a);
	open_pipe(&b);
	assert_int_equal(write(a.ends[1], "x", 1), 1);
	assert_int_equal(write(b.ends[1], "x", 1), 1);
	assert_int_equal(loop_watch(loop, a.ends[0], EPOLLIN, unwatch_both, &a, &a.watch, NULL), 0);
	assert_int_equal(loop_watch(loop, b.ends[0], EPOLLIN, unwatch_both, &b, &b.watch, NULL), 0);
	a.other = b.watch;
	b.other = a.watch;
	assert_int_equal(loop_run(loop, 5), -ETIMEDOUT);
	assert_int_equal(a.calls + b.calls, 1);
	close_pipe(&a);
	close_pipe(&b);
}

static void regular_files_cannot_be_watched(void **state)
{
	struct loop_watch *watch = NULL;
	struct error e = {0};
	FILE *file = tmpfile();
	struct pipe_watch p;

	(void)state;
	assert_non_null(file);
	assert_int_equal(loop_watch(loop, fileno(file), EPOLLIN, on_readable, NULL, &watch, &e), -EPERM);
	assert_null(watch);
	assert_true(e.message[0] != '\0');
	fclose(file);
	open_pipe(&p);
	assert_int_equal(loop_watch(loop, p.ends[0], EPOLLIN, on_readable, &p, &p.watch, &e), 0);
	assert_int_equal(loop_watch(loop, p.ends[0], EPOLLIN, on_readable, &p, &watch, &e), -EEXIST);
	close_pipe(&p);
}

#define POSTS 2000

static unsigned long posted;

static void count_post(void *arg)
{
	(void)arg;
	if (++posted == 2 * POSTS)
		loop_quit(loop);
}

static void *post_much(void *arg)
{
	(void)arg;
	for (int i = 0; i < POSTS; i++)
		if (loop_post(loop, count_post, NULL) < 0)
			break;
	return NULL;
}

static void threads_post(void **state)
{
	pthread_t threads[2];

	(void)state;
	posted = 0;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_much, NULL), 0);
	assert_int_equal(loop_run(loop, 30000), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(posted, 2 * POSTS);
}

static void *quit_soon(void *arg)
{
	usleep(5000);
	quit(arg);
	return NULL;
}

static void another_thread_quits(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, quit_soon, NULL), 0);
	assert_int_equal(loop_run(loop, -1), 0);
	pthread_join(thread, NULL);
}

static void freed_with_work_left(void **state)
{
	struct loop_timer timer = {.fn = note, .arg = "t"};
	struct pipe_watch p;

	(void)state;
	open_pipe(&p);
	assert_int_equal(loop_watch(loop, p.ends[0], EPOLLIN, on_readable, &p, &p.watch, NULL), 0);
	assert_int_equal(loop_post(loop, note, "p"), 0);
	loop_timer_set(loop, &timer, 0);
	loop_free(loop);
	loop = NULL;
	assert_string_equal(order, "");
	assert_false(timer.armed);
	close_pipe(&p);
}

int main(void)
{
#define WITH_LOOP(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_LOOP(times_out),
		WITH_LOOP(quit_before_run_counts),
		WITH_LOOP(posts_run_in_order),
		WITH_LOOP(a_bell_is_answered_once_for_all_rings),
		WITH_LOOP(a_silenced_bell_is_not_answered),
		WITH_LOOP(timers_fire_by_deadline),
		WITH_LOOP(timers_move_and_cancel),
		WITH_LOOP(a_restless_timer_does_not_hold_the_loop),
		WITH_LOOP(watches_are_called),
		WITH_LOOP(a_removed_watch_is_not_called),
		WITH_LOOP(regular_files_cannot_be_watched),
		WITH_LOOP(threads_post),
		WITH_LOOP(another_thread_quits),
		WITH_LOOP(freed_with_work_left),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
