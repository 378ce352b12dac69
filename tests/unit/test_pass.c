/* Descriptors that go with messages: what was sent comes, what does not belong is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/pass.h"

static int setup(void **state)
{
	static int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	*state = pair;
	return 0;
}

static int teardown(void **state)
{
	const int *pair = *state;

	close(pair[0]);
	close(pair[1]);
	return 0;
}

static unsigned descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

static void test_both_ends_of_a_pipe(void **state)
{
	const int *pair = *state;
	unsigned before = descriptors();
	int ends[2], came[2];
	char text[8];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(pass_send(pair[0], "a pipe", 7, ends, 2), 0);
	assert_int_equal(pass_receive(pair[1], text, 7, came, 2, 0), 2);
	assert_string_equal(text, "a pipe");
	assert_int_equal(fcntl(came[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(ends[1], "through", 8), 8);
	assert_int_equal(read(came[0], text, sizeof text), 8);
	assert_string_equal(text, "through");
	for (unsigned i = 0; i < 2; i++) {
		close(ends[i]);
		close(came[i]);
	}
	assert_int_equal(descriptors(), before);
}

static void test_fewer_are_told(void **state)
{
	const int *pair = *state;
	int came[2];
	char byte;

	assert_int_equal(pass_send(pair[0], "x", 1, NULL, 0), 0);
	assert_int_equal(pass_receive(pair[1], &byte, 1, came, 2, 0), 0);
	assert_int_equal(byte, 'x');
}

/* Too many descriptors, of which the message has room for some; too few bytes. */
static void test_what_is_wrong_is_closed(void **state)
{
	const int *pair = *state;
	const int many[PASS_MOST] = {pair[0], pair[0], pair[0], pair[0]};
	unsigned before = descriptors();
	char bytes[2];
	int came[1];

	assert_int_equal(pass_send(pair[0], "x", 1, many, PASS_MOST), 0);
	assert_int_equal(pass_receive(pair[1], bytes, 1, came, 1, 0), -EPROTO);
	assert_int_equal(pass_send(pair[0], "x", 1, many, 1), 0);
	assert_int_equal(pass_receive(pair[1], bytes, 2, came, 1, 0), -EPROTO);
	assert_int_equal(descriptors(), before);
}

static void test_nothing_there(void **state)
{
	int *pair = *state;
	char byte;
	int came[1];

	assert_int_equal(pass_receive(pair[1], &byte, 1, came, 1, MSG_DONTWAIT), -EAGAIN);
	assert_int_equal(pass_send(pair[0], "x", 1, (const int[]){-1}, 1), -EBADF);
	close(pair[1]);
	assert_int_equal(pass_send(pair[0], "x", 1, NULL, 0), -EPIPE);
	pair[1] = -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_ends_of_a_pipe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fewer_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_wrong_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_there, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
