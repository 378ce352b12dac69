/* What the kernel does: system calls, pipes, processes, page faults, signals. */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t getppid_run(void)
{
	uint64_t same = 0;
	pid_t parent = getppid();

	for (int i = 0; i < 200000; i++)
		same += getppid() == parent;
	return same;
}

static int wait_for(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child)
		bench_die("child");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256;
}

#define PINGS 8000

/* The other end adds one to each byte and sends it back. */
static void answer(int in, int out)
{
	uint8_t byte;

	while (read(in, &byte, 1) == 1) {
		byte++;
		if (write(out, &byte, 1) != 1)
			_exit(1);
	}
	_exit(0);
}

static uint64_t pipe_run(void)
{
	int there[2], back[2];
	uint64_t sum = 0;
	uint8_t byte = 0;
	pid_t child;

	if (pipe2(there, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
		bench_die("pipe");
	child = fork();
	if (child == 0) {
		close(there[1]);
		answer(there[0], back[1]);
	}
	for (int i = 0; i < PINGS; i++) {
		if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
			bench_die("pipe");
		sum += byte;
	}
	close(there[1]);
	return sum + (uint64_t)wait_for(child);
}

static uint64_t fork_run(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < 80; i++) {
		pid_t child = fork();

		if (child == 0) {
			execl("/proc/self/exe", "bench", "--nothing", (char *)NULL);
			_exit(127);
		}
		sum += (uint64_t)wait_for(child);
	}
	return sum;
}

#define FAULT_BYTES ((size_t)4 << 20)

static uint64_t faults_run(void)
{
	uint64_t sum = 0;

	for (int round = 0; round < 20; round++) {
		uint8_t *pages = mmap(NULL, FAULT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				      0);

		if (pages == MAP_FAILED)
			bench_die("mmap");
		madvise(pages, FAULT_BYTES, MADV_NOHUGEPAGE);
		for (size_t i = 0; i < FAULT_BYTES; i += 4096)
			pages[i] = (uint8_t)round;
		sum += pages[4096];
		munmap(pages, FAULT_BYTES);
	}
	return sum;
}

static volatile sig_atomic_t taken;

static void take(int number)
{
	(void)number;
	taken = taken + 1;
}

static uint64_t signals_run(void)
{
	struct sigaction action = {.sa_handler = take};

	if (sigaction(SIGUSR1, &action, NULL) < 0)
		bench_die("sigaction");
	for (int i = 0; i < 20000; i++)
		raise(SIGUSR1);
	return (uint64_t)taken;
}

const struct bench benches_system[] = {
	{"getppid", NULL, getppid_run}, {"pipe", NULL, pipe_run},       {"fork+exec", NULL, fork_run},
	{"faults", NULL, faults_run},   {"signals", NULL, signals_run}, {NULL, NULL, NULL},
};

int bench_command(const char *name, char **arguments)
{
	uint64_t sum = 0;
	uint8_t bytes[4096];
	ssize_t got;
	int output[2], status;
	double started = bench_now();
	pid_t child;

	if (pipe2(output, O_CLOEXEC) < 0)
		bench_die("pipe");
	child = fork();
	if (child == 0) {
		dup2(output[1], STDOUT_FILENO);
		execv(arguments[0], arguments);
		_exit(127);
	}
	close(output[1]);
	while ((got = read(output[0], bytes, sizeof bytes)) > 0)
		for (ssize_t i = 0; i < got; i++)
			sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
	status = wait_for(child);
	if (status)
		fprintf(stderr, "bench: %s ended with status %d\n", name, status);
	else
		printf("bench %s %.6f %016" PRIx64 "\n", name, bench_now() - started, sum);
	return status ? 1 : 0;
}
