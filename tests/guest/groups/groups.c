/*
 * Control groups as src/host makes them, on a real kernel: a program for the inside of a guest, as root. Prints what it found,
 * and ends with 0 when all was as promised.
 *
 * usage: groups weights|maximum|memory|partition
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host/cgroup.h"
#include "host/cpus.h"

#define MEMBERS   3
#define SECONDS   15
#define TOLERANCE 0.03 /* of a share */

static struct cgroup_place place;

static void rest(double seconds)
{
	const struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (long)seconds) * 1e9)};

	nanosleep(&time, NULL);
}

static void enter(const char *name, const struct cgroup_wish *wish)
{
	char path[CGROUP_PATH];
	struct error e;

	if (cgroup_enter(&place, name, wish, path, &e) == 0)
		return;
	printf("%s: %s\n", name, e.message);
	exit(3);
}

/* A process in a group of its own, which uses all it can get. */
static pid_t spin(const char *name, const struct cgroup_wish *wish)
{
	pid_t child = fork();

	if (child != 0)
		return child;
	fflush(stdout);
	enter(name, wish);
	for (;;)
		;
}

static double used_seconds(const char *group)
{
	char path[600], word[64];
	unsigned long long value, found = 0;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s/cpu.stat", place.root, group);
	file = fopen(path, "re");
	if (!file)
		return 0;
	while (fscanf(file, "%63s %llu", word, &value) == 2)
		if (strcmp(word, "usage_usec") == 0)
			found = value;
	fclose(file);
	return (double)found / 1e6;
}

static void end(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* The keeper removes what a process leaves, however it ended. */
static bool is_gone(const char *group)
{
	char path[600];

	snprintf(path, sizeof path, "%s/%s", place.root, group);
	for (unsigned i = 0; i < 50 && access(path, F_OK) == 0; i++)
		rest(0.1);
	if (access(path, F_OK) != 0)
		return true;
	printf("%s is still there\n", group);
	return false;
}

/* All stand still, so that what they used is read of one moment, however long the reading takes. */
static void freeze(bool still)
{
	char path[600];
	FILE *file;

	snprintf(path, sizeof path, "%s/doppel/cgroup.freeze", place.root);
	file = fopen(path, "we");
	if (file) {
		fputs(still ? "1" : "0", file);
		fclose(file);
	}
	rest(0.3);
}

/* Three on one processor, 1 : 2 : 4. */
static bool weights(void)
{
	static const unsigned given[MEMBERS] = {100, 200, 400};
	char names[MEMBERS][8], groups[MEMBERS][32];
	double before[MEMBERS], used[MEMBERS], all = 0;
	pid_t children[MEMBERS];
	bool good = true;

	for (unsigned i = 0; i < MEMBERS; i++) {
		const struct cgroup_wish wish = {.cpu_weight = given[i]};

		snprintf(names[i], sizeof names[i], "w%u", i);
		snprintf(groups[i], sizeof groups[i], "doppel/%s", names[i]);
		children[i] = spin(names[i], &wish);
	}
	rest(2);
	freeze(true);
	for (unsigned i = 0; i < MEMBERS; i++)
		before[i] = used_seconds(groups[i]);
	freeze(false);
	rest(SECONDS);
	freeze(true);
	for (unsigned i = 0; i < MEMBERS; i++) {
		used[i] = used_seconds(groups[i]) - before[i];
		all += used[i];
	}
	for (unsigned i = 0; i < MEMBERS; i++) {
		double share = used[i] / all, due = given[i] / 700.0;

		printf("weight %u: %.2f s, share %.4f, due %.4f, off by %.2f %%\n", given[i], used[i], share, due,
		       100 * (share / due - 1));
		good = good && share > due * (1 - TOLERANCE) && share < due * (1 + TOLERANCE);
		kill(children[i], SIGKILL);
	}
	freeze(false);
	for (unsigned i = 0; i < MEMBERS; i++)
		good = is_gone(groups[i]) && good;
	return good;
}

static bool maximum(void)
{
	const struct cgroup_wish wish = {.cpu_max_percent = 30};
	pid_t child = spin("max", &wish);
	double before, share;

	rest(1);
	before = used_seconds("doppel/max");
	rest(5);
	share = (used_seconds("doppel/max") - before) / 5;
	printf("30 %% at most: %.1f %%\n", 100 * share);
	end(child);
	return share > 0.05 && share < 0.32 && is_gone("doppel/max");
}

/* The kernel ends who wants more. */
static bool memory(void)
{
	const struct cgroup_wish wish = {.memory_max = 16 * MIB};
	pid_t child = fork();
	int status;

	if (child == 0) {
		char *bytes = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		enter("memory", &wish);
		if (bytes != MAP_FAILED)
			for (size_t i = 0; i < 64 * MIB; i += 4096)
				bytes[i] = 1;
		_exit(0);
	}
	waitpid(child, &status, 0);
	printf("64 MiB in a group of 16: wait status %#x\n", (unsigned)status);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && is_gone("doppel/memory");
}

/* Processor 1 is the group's alone: nobody else may go there, and a second group can not have it. */
static bool partition(void)
{
	const struct cgroup_wish wish = {.cpus = "1", .partition = true};
	char path[CGROUP_PATH];
	struct error e = {.kind = ERROR_NONE};
	pid_t child = spin("own", &wish);
	cpu_set_t mine;
	int r;

	rest(2);
	sched_getaffinity(0, sizeof mine, &mine);
	printf("others have %d of 2 processors, the first of them %u\n", CPU_COUNT(&mine), cpus_nth(&mine, 0));
	r = cgroup_enter(&place, "second", &wish, path, &e);
	printf("a second group: %s\n", e.message);
	end(child);
	return CPU_COUNT(&mine) == 1 && CPU_ISSET(0, &mine) && r == -EINVAL && is_gone("doppel-own") &&
	       is_gone("doppel-second");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		bool (*run)(void);
	} tests[] = {{"weights", weights}, {"maximum", maximum}, {"memory", memory}, {"partition", partition}};
	struct error e;

	if (cgroup_find(&place, "/proc/self/mountinfo", "/proc/self/cgroup", &e) < 0) {
		puts(e.message);
		return 2;
	}
	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(tests); i++)
		if (strcmp(argv[1], tests[i].name) == 0)
			return tests[i].run() ? 0 : 1;
	return 2;
}
