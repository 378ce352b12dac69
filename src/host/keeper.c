#include "host/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/types.h"

#define FD_PIPE 3
#define TRIES   100
#define PAUSE_NS 50000000

static void let_go(int pipe)
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};

	/* Keys of the terminal, and signals for all of a process group, are not for this process. */
	setsid();
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	dup2(pipe, FD_PIPE);
	close_range(0, FD_PIPE - 1, 0);
	close_range(FD_PIPE + 1, ~0u, 0);
}

/* Whether it was armed before the other end closed. */
static bool await_end(void)
{
	bool armed = false;
	char byte;
	ssize_t n;

	while ((n = read(FD_PIPE, &byte, 1)) > 0 || (n < 0 && errno == EINTR))
		armed |= n > 0;
	return armed;
}

int keeper_start(struct keeper *keeper, const char *name, void (*fn)(void *context), void *context, struct error *e)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(e, -errno, "cannot make a pipe for %s", name);
	pid = fork_process();
	if (pid == 0) {
		prctl(PR_SET_NAME, name);
		let_go(ends[0]);
		if (await_end())
			fn(context);
		_exit(0);
	}
	close(ends[0]);
	if (pid < 0) {
		int code = -errno;

		close(ends[1]);
		return error_errno(e, code, "cannot start %s", name);
	}
	*keeper = (struct keeper){.pid = pid, .socket = ends[1]};
	return 0;
}

void keeper_arm(const struct keeper *keeper)
{
	while (keeper->pid && write(keeper->socket, "", 1) < 0 && errno == EINTR)
		;
}

static void await(struct keeper *keeper)
{
	close(keeper->socket);
	while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*keeper = (struct keeper){.pid = 0};
}

void keeper_dismiss(struct keeper *keeper)
{
	if (!keeper->pid)
		return;
	kill(keeper->pid, SIGKILL);
	await(keeper);
}

void keeper_end(struct keeper *keeper)
{
	if (keeper->pid)
		await(keeper);
}

void keeper_insist(int (*attempt)(void *context), void *context)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};

	for (unsigned i = 0; i < TRIES && attempt(context) == -EBUSY; i++)
		nanosleep(&pause, NULL);
}
