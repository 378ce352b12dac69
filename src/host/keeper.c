#include "host/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRIES    100
#define PAUSE_NS 50000000

static void stand_apart(int pipe)
{
	setsid();
	prctl(PR_SET_NAME, "doppel-keeper");
	prctl(PR_SET_PDEATHSIG, 0);
	for (int number = 1; number < SIGRTMIN; number++)
		if (number != SIGTERM && number != SIGSEGV && number != SIGBUS)
			signal(number, SIG_IGN);
	dup2(pipe, 0);
	close_range(1, ~0U, 0);
}

/* The processes in a cgroup are gone a moment after they ended. */
static void remove_when_done(const char *path)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	char byte;

	while (read(0, &byte, 1) < 0 && errno == EINTR)
		;
	for (unsigned i = 0; i < TRIES && rmdir(path) < 0 && errno == EBUSY; i++)
		nanosleep(&pause, NULL);
}

int keeper_remove_folder(const char *path, struct error *e)
{
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(e, -errno, "a keeper for %s", path);
	child = fork();
	if (child == 0) {
		if (fork() != 0)
			_exit(0);
		stand_apart(ends[0]);
		remove_when_done(path);
		_exit(0);
	}
	close(ends[0]);
	if (child < 0) {
		close(ends[1]);
		return error_errno(e, -errno, "a keeper for %s", path);
	}
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	/* ends[1] stays open for as long as this process is. */
	return 0;
}
