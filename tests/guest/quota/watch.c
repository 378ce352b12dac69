/*
 * Runs a command and watches how much processor time it and its children use.
 *
 * usage: watch SECONDS PERCENT COMMAND...
 *
 * Prints `worst MAX least MIN mean MEAN idle IDLE`, in percent of one processor: of the windows of a second that begin
 * every 10 ms, and how much of the host's processors was idle meanwhile. The first half second, when the command starts, is
 * left out of it. Exit status 1 when a window had over 2 points more than PERCENT. What the clocks tell is taken
 * between two readings of time, and the longer time counts.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define SAMPLES_MAX 40000
#define EVERY_NS    10000000
#define START_NS    UINT64_C(500000000)
#define TOLERANCE   2.0

struct sample {
	uint64_t before, after; /* when it was taken */
	uint64_t used;          /* nanoseconds of processor time */
};

static struct sample samples[SAMPLES_MAX];

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static uint64_t process_ns(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
		return 0;
	return (uint64_t)used.tv_sec * UINT64_C(1000000000) + (uint64_t)used.tv_nsec;
}

static uint64_t family_ns(pid_t pid)
{
	uint64_t sum = process_ns(pid);
	char path[64];
	FILE *children;
	int child;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
	children = fopen(path, "re");
	if (!children)
		return sum;
	while (fscanf(children, "%d", &child) == 1)
		sum += process_ns(child);
	fclose(children);
	return sum;
}

/* Of all processors, in ticks. */
static unsigned long long idle_ticks(void)
{
	unsigned long long user, nice, system, idle = 0, wait = 0;
	FILE *stat = fopen("/proc/stat", "re");

	if (!stat)
		die("/proc/stat");
	if (fscanf(stat, "cpu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait) != 5)
		idle = wait = 0;
	fclose(stat);
	return idle + wait;
}

static unsigned take(pid_t pid, double seconds)
{
	const struct timespec pause = {.tv_nsec = EVERY_NS};
	uint64_t begin = clock_host_ns();
	unsigned count = 0;

	while (count < SAMPLES_MAX && (double)(clock_host_ns() - begin) < seconds * 1e9) {
		struct sample *sample = &samples[count++];

		sample->before = clock_host_ns();
		sample->used = family_ns(pid);
		sample->after = clock_host_ns();
		nanosleep(&pause, NULL);
	}
	return count;
}

static double share(const struct sample *from, const struct sample *to)
{
	return 100.0 * (double)(to->used - from->used) / (double)(to->after - from->before);
}

static void find_extremes(unsigned count, double *worst, double *least)
{
	unsigned from = 0;

	*worst = 0;
	*least = 1e9;
	for (unsigned to = 0; to < count; to++) {
		double part;

		while (from < to && samples[to].after - samples[from + 1].before >= UINT64_C(1000000000))
			from++;
		if (samples[to].after - samples[from].before < UINT64_C(1000000000))
			continue;
		part = share(&samples[from], &samples[to]);
		*worst = part > *worst ? part : *worst;
		*least = part < *least ? part : *least;
	}
}

int main(int argc, char **argv)
{
	const struct timespec start = {.tv_nsec = START_NS};
	double seconds, allowed, worst, least, idle;
	unsigned long long ticks;
	unsigned count;
	pid_t pid;

	if (argc < 4) {
		fputs("usage: watch SECONDS PERCENT COMMAND...\n", stderr);
		return 2;
	}
	seconds = strtod(argv[1], NULL);
	allowed = strtod(argv[2], NULL);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		execvp(argv[3], argv + 3);
		die(argv[3]);
	}
	nanosleep(&start, NULL);
	ticks = idle_ticks();
	count = take(pid, seconds);
	idle = (double)(idle_ticks() - ticks) / (double)sysconf(_SC_CLK_TCK) / seconds * 100;
	find_extremes(count, &worst, &least);
	if (waitpid(pid, NULL, WNOHANG) != 0) {
		fputs("the command ended too soon\n", stderr);
		return 2;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	printf("worst %.2f least %.2f mean %.2f idle %.0f\n", worst, least, share(&samples[0], &samples[count - 1]), idle);
	return worst > allowed + TOLERANCE;
}
