/*
 * What the console's tests share: bounded waits on descriptors and words.
 */
#ifndef DOPPEL_TESTS_CONSOLE_BENCH_H
#define DOPPEL_TESTS_CONSOLE_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"

#define MS      UINT64_C(1000000)
#define LONG_MS 20000 /* never reached unless something hangs */

static inline void make_pipe(int ends[2])
{
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
}

static inline void make_terminal(int *master, int *slave)
{
	char path[64];

	*master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*master >= 0);
	assert_int_equal(grantpt(*master), 0);
	assert_int_equal(unlockpt(*master), 0);
	assert_int_equal(ptsname_r(*master, path, sizeof path), 0);
	*slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(*slave >= 0);
}

/* One read once there is something, or failure after LONG_MS. */
static inline size_t read_some(int fd, void *bytes, size_t room)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, LONG_MS) != 1)
		fail_msg("nothing to read within %d ms", LONG_MS);
	n = read(fd, bytes, room);
	if (n < 0)
		fail_msg("read: %s", strerror(errno));
	return (size_t)n;
}

/* Reads exactly `text`. */
static inline void expect(int fd, const char *text)
{
	char got[512] = "";
	size_t length = strlen(text), have = 0;

	assert_true(length < sizeof got);
	while (have < length) {
		size_t n = read_some(fd, got + have, length - have);

		if (!n)
			break;
		have += n;
	}
	assert_string_equal(got, text);
}

static inline void expect_nothing(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char got[64] = "";

	if (poll(&p, 1, 20) == 1 && read(fd, got, sizeof got - 1) > 0)
		fail_msg("unexpected \"%s\"", got);
}

static inline void send_bytes(int fd, const void *bytes, size_t length)
{
	assert_int_equal(write(fd, bytes, length), length);
}

static inline void send_text(int fd, const char *text)
{
	send_bytes(fd, text, strlen(text));
}

static inline void wait_for(const atomic_int *word, int value)
{
	uint64_t end = clock_host_ns() + LONG_MS * MS;

	while (atomic_load(word) != value) {
		if (clock_host_ns() > end)
			fail_msg("%d did not become %d", atomic_load(word), value);
		sched_yield();
	}
}

#endif
