/* The terminal comes back on every way out: each test runs in a child with a pseudo terminal of its own. */
#include "console_bench.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>

#include "machine/terminal.h"
#include "base/threads.h"

static int master, slave;
static struct termios cooked;

static int setup(void **state)
{
	(void)state;
	make_terminal(&master, &slave);
	return tcgetattr(slave, &cooked);
}

static int teardown(void **state)
{
	(void)state;
	close(master);
	close(slave);
	return 0;
}

static bool same_modes(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_lflag == b->c_lflag &&
	       a->c_cflag == b->c_cflag && memcmp(a->c_cc, b->c_cc, sizeof a->c_cc) == 0;
}

static bool modes_are(const struct termios *expected)
{
	struct termios now;

	return tcgetattr(slave, &now) == 0 && same_modes(&now, expected);
}

static bool is_raw(void)
{
	struct termios now;

	return tcgetattr(slave, &now) == 0 && !(now.c_lflag & (tcflag_t)(ICANON | ECHO | ISIG)) &&
	       !(now.c_oflag & (tcflag_t)OPOST);
}

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS};

/* How the child after `fn` ended; the terminal was raw in between, and is as before now. */
static int run_child(void (*fn)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
			signal(faults[i], SIG_DFL); /* cmocka handles them */
		if (terminal_raw(slave, NULL) < 0 || !is_raw())
			_exit(100);
		fn();
		_exit(101);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		assert_in_range(WEXITSTATUS(status), 0, 99);
	if (!modes_are(&cooked))
		fail_msg("the terminal is not as before; status 0x%x", (unsigned)status);
	return status;
}

static int signal_now;

static void be_killed(void)
{
	kill(getpid(), signal_now);
	for (;;)
		pause();
}

static void dies_of(void (*fn)(void), int number)
{
	int status = run_child(fn);

	if (!WIFSIGNALED(status) || WTERMSIG(status) != number)
		fail_msg("ended with 0x%x instead of signal %d", (unsigned)status, number);
}

static void test_signals(void **state)
{
	static const int signals[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
				      SIGALRM, SIGPIPE, SIGXCPU, SIGSEGV};

	(void)state;
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		signal_now = signals[i];
		dies_of(be_killed, signal_now);
	}
}

static void *write_nowhere(void *arg)
{
	*(volatile int *)arg = 1;
	return NULL;
}

static volatile uintptr_t nowhere = 16; /* volatile: a compiler that sees through it refuses the crash */

static void crash(void)
{
	write_nowhere((void *)nowhere);
}

static void crash_in_thread(void)
{
	pthread_t thread;

	if (thread_start(&thread, THREAD_OUTPUT, "a thread with a long name", write_nowhere, (void *)nowhere) == 0)
		pthread_join(thread, NULL);
}

static void test_crashes(void **state)
{
	(void)state;
	dies_of(crash, SIGSEGV);
	dies_of(crash_in_thread, SIGSEGV);
	dies_of(abort, SIGABRT);
}

static void exit_three(void)
{
	exit(3);
}

static void restore_twice(void)
{
	terminal_restore();
	terminal_restore();
	if (terminal_raw(slave, NULL) < 0 || !is_raw())
		_exit(1);
	terminal_restore();
	_exit(4);
}

static void test_exit(void **state)
{
	int status = run_child(exit_three);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	status = run_child(restore_twice);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 4);
}

static void ignore_and_be_killed(void)
{
	terminal_restore();
	signal(SIGHUP, SIG_IGN);
	if (terminal_raw(slave, NULL) < 0)
		_exit(1);
	kill(getpid(), SIGHUP);
	if (!is_raw())
		_exit(2);
	exit(5);
}

static void test_ignored(void **state)
{
	int status = run_child(ignore_and_be_killed);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 5);
}

/* A child that the raw process forks does not restore its parent's terminal. */
static void fork_another(void)
{
	pid_t pid = fork();

	if (pid == 0)
		exit(0);
	waitpid(pid, NULL, 0);
	if (!is_raw())
		_exit(1);
	exit(6);
}

static void test_forked(void **state)
{
	int status = run_child(fork_another);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 6);
}

static bool becomes_raw(void)
{
	uint64_t end = clock_host_ns() + LONG_MS * MS;

	while (!is_raw()) {
		if (clock_host_ns() > end)
			return false;
		sched_yield();
	}
	return true;
}

static void a_job(int ready)
{
	setpgid(0, 0);
	signal(SIGTTOU, SIG_IGN);
	tcsetpgrp(slave, getpgrp());
	signal(SIGTTOU, SIG_DFL);
	if (terminal_raw(slave, NULL) < 0)
		_exit(50);
	send_text(ready, "r");
	for (;;)
		pause();
}

#define CHECK(number, condition)         \
	do {                             \
		if (!(condition))        \
			_exit(number);   \
	} while (0)

/* A shell with one job on its own controlling terminal. Its exit status is the number of the check that failed. */
static void a_shell(void)
{
	struct termios shells = cooked;
	int ready[2], status;
	char byte;
	pid_t job;

	CHECK(1, setsid() > 0 && ioctl(slave, TIOCSCTTY, 0) == 0 && pipe2(ready, O_CLOEXEC) == 0);
	signal(SIGTTOU, SIG_IGN);
	job = fork();
	if (job == 0)
		a_job(ready[1]);
	CHECK(2, read(ready[0], &byte, 1) == 1 && is_raw());
	kill(job, SIGTSTP);
	CHECK(3, waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status));
	CHECK(4, modes_are(&cooked));
	/* In the background it leaves the terminal to the shell. */
	shells.c_cc[VINTR] = 7;
	CHECK(5, tcsetpgrp(slave, getpgrp()) == 0 && tcsetattr(slave, TCSANOW, &shells) == 0);
	kill(job, SIGCONT);
	usleep(50000);
	CHECK(6, modes_are(&shells));
	/* In the foreground it takes it again, also after a stop that can not be handled. */
	CHECK(7, tcsetpgrp(slave, job) == 0);
	kill(job, SIGCONT);
	CHECK(8, becomes_raw());
	kill(job, SIGSTOP);
	CHECK(9, waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status));
	tcsetattr(slave, TCSANOW, &shells);
	kill(job, SIGCONT);
	CHECK(10, becomes_raw());
	kill(job, SIGTERM);
	CHECK(11, waitpid(job, &status, 0) == job && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	CHECK(12, modes_are(&cooked));
	_exit(0);
}

static void test_job_control(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		a_shell();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_refusals(void **state)
{
	struct error e;
	int ends[2];

	(void)state;
	make_pipe(ends);
	assert_int_equal(terminal_raw(ends[0], &e), -ENOTTY);
	assert_int_equal(terminal_raw(slave, &e), 0);
	assert_int_equal(terminal_raw(slave, &e), -EBUSY);
	assert_int_equal(e.kind, ERROR_STATE);
	terminal_restore();
	assert_true(modes_are(&cooked));
	close(ends[0]);
	close(ends[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Whoever started this may ignore signals or block them, a shell in the background does: not here. */
static void take_all_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_signals),
		TEST(test_crashes),
		TEST(test_exit),
		TEST(test_ignored),
		TEST(test_forked),
		TEST(test_job_control),
		TEST(test_refusals),
	};

	take_all_signals();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
