/* Behind the walls of a monitor (wall/self.h): what happens rarely and must not end it, and how a forbidden call does. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/threads.h"
#include "wall/self.h"

static sem_t go;

/* An end of the wait makes it one that the kernel begins again by a call of its own. */
static void *wait_long(void *arg)
{
	struct timespec until;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 3600;
	while (sem_timedwait(&go, &until) < 0 && errno == EINTR)
		;
	return NULL;
}

static _Noreturn void be_stopped(int orders)
{
	pthread_t threads[THREAD_KINDS];
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sem_init(&go, 0, 0);
	for (unsigned kind = THREAD_MAIN + 1; kind < THREAD_KINDS; kind++)
		if (thread_start(&threads[kind], (enum thread_kind)kind, "waiting", wait_long, NULL) < 0)
			_exit(2);
	if (wall_self_put_up(-1, NULL, NULL) < 0)
		_exit(3);
	if (read(orders, &byte, 1) != 1)
		_exit(4);
	for (unsigned kind = THREAD_MAIN + 1; kind < THREAD_KINDS; kind++)
		sem_post(&go);
	for (unsigned kind = THREAD_MAIN + 1; kind < THREAD_KINDS; kind++)
		pthread_join(threads[kind], NULL);
	_exit(0);
}

static void stops_are_survived(void **state)
{
	int orders[2], status = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(orders, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		be_stopped(orders[0]);
	for (int i = 0; i < 3; i++) {
		usleep(100000);
		kill(pid, SIGSTOP);
		assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
		if (!WIFSTOPPED(status))
			fail_msg("wait status %#x after stop %d, not stopped", (unsigned)status, i);
		kill(pid, SIGCONT);
	}
	usleep(100000);
	assert_int_equal(write(orders[1], "", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("wait status %#x, not 0", (unsigned)status);
	close(orders[0]);
	close(orders[1]);
}

/* What gives the terminal back calls, on any thread. */
static void last(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	(void)ioctl(-1, TIOCGPGRP, NULL);
	(void)tcsetattr(-1, TCSANOW, &(struct termios){0});
	(void)getpgrp();
	sigaction(SIGABRT, &action, NULL);
	log_line(LOG_ERROR, "test", "given back");
}

static void *break_out(void *arg)
{
	(void)arg;
	while (sem_wait(&go) < 0)
		;
	syscall(SYS_sync);
	_exit(0);
}

static _Noreturn void break_out_as(enum thread_kind kind, int log)
{
	pthread_t thread;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_set_fd(log);
	sem_init(&go, 0, 0);
	if (kind != THREAD_MAIN && thread_start(&thread, kind, "breaking", break_out, NULL) < 0)
		_exit(2);
	if (wall_self_put_up(-1, last, NULL) < 0)
		_exit(3);
	sem_post(&go);
	if (kind == THREAD_MAIN)
		break_out(NULL);
	for (;;)
		poll(NULL, 0, -1);
}

static void read_all(int fd, char *text, size_t room)
{
	size_t used = 0;
	ssize_t n;

	while (used < room - 1 && (n = read(fd, text + used, room - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = 0;
}

static void a_forbidden_call_is_told(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < THREAD_KINDS; kind++) {
		char expected[256], text[1024];
		int log[2], status = 0;
		pid_t pid;

		snprintf(expected, sizeof expected,
			 "error wall: a thread of kind %s made system call %d, which its walls forbid; the machine ends here\n"
			 "error test: given back\n",
			 thread_kind_name((enum thread_kind)kind), SYS_sync);
		assert_int_equal(pipe2(log, O_CLOEXEC), 0);
		pid = fork();
		if (pid == 0)
			break_out_as((enum thread_kind)kind, log[1]);
		close(log[1]);
		read_all(log[0], text, sizeof text);
		close(log[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_string_equal(text, expected);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("thread %s: wait status %#x, not SIGSYS", thread_kind_name((enum thread_kind)kind),
				 (unsigned)status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stops_are_survived),
		cmocka_unit_test(a_forbidden_call_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
