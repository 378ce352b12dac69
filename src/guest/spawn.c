#include "guest/spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATH_OF_ROOT  "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PATH_OF_USERS "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"

/* The child's ends and ours. */
struct ends {
	int child[3], ours[3];
};

/* What the child tells when it can not become the command. */
struct complaint {
	int code;
	enum { ABOUT_COMMAND, ABOUT_DIRECTORY, ABOUT_USER, ABOUT_TERMINAL } about;
};

static void close_all(const int fds[3])
{
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int open_pipes(struct ends *ends)
{
	for (int i = 0; i < 3; i++) {
		int pair[2], ours = i == 0 ? 1 : 0;

		if (pipe2(pair, O_CLOEXEC) < 0)
			return -errno;
		ends->ours[i] = pair[ours];
		ends->child[i] = pair[!ours];
		if (fcntl(pair[ours], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	}
	return 0;
}

static int open_terminal(struct ends *ends, const struct guest_command *command)
{
	struct winsize size = {.ws_row = command->rows, .ws_col = command->columns};
	char name[64];

	ends->ours[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (ends->ours[0] < 0 || grantpt(ends->ours[0]) < 0 || unlockpt(ends->ours[0]) < 0 ||
	    ptsname_r(ends->ours[0], name, sizeof name) != 0)
		return -errno;
	ends->child[0] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	ends->ours[1] = fcntl(ends->ours[0], F_DUPFD_CLOEXEC, 3);
	if (ends->child[0] < 0 || ends->ours[1] < 0)
		return -errno;
	if (size.ws_row && size.ws_col)
		(void)ioctl(ends->ours[0], TIOCSWINSZ, &size);
	return 0;
}

static int set_variable(const char *variable)
{
	const char *equals = strchr(variable, '=');
	char *name = equals && equals > variable ? strndup(variable, (size_t)(equals - variable)) : NULL;
	int r = name && setenv(name, equals + 1, 1) == 0 ? 0 : -EINVAL;

	free(name);
	return r;
}

static int set_environment(const struct guest_command *command, const struct account *account)
{
	int r = 0;

	if (clearenv() != 0 || setenv("PATH", account->user == 0 ? PATH_OF_ROOT : PATH_OF_USERS, 1) < 0 ||
	    setenv("HOME", account->home, 1) < 0 || setenv("USER", account->name, 1) < 0 ||
	    setenv("LOGNAME", account->name, 1) < 0 || setenv("SHELL", account->shell, 1) < 0)
		return -errno;
	for (size_t i = 0; r == 0 && command->environment[i]; i++)
		r = set_variable(command->environment[i]);
	return r;
}

static int become(const struct account *account)
{
	if (geteuid() != 0)
		return account->user == geteuid() ? 0 : -EPERM;
	if (setgroups(account->group_count, account->groups) < 0 ||
	    setresgid(account->group, account->group, account->group) < 0 ||
	    setresuid(account->user, account->user, account->user) < 0)
		return -errno;
	return 0;
}

static int enter(const struct guest_command *command, const struct account *account)
{
	if (*command->directory)
		return chdir(command->directory) < 0 ? -errno : 0;
	return chdir(account->home) < 0 && chdir("/") < 0 ? -errno : 0;
}

static int take_streams(const struct ends *ends, const struct guest_command *command, const struct account *account)
{
	const int *child = ends->child;

	if (command->tty && (ioctl(child[0], TIOCSCTTY, 0) < 0 ||
			     (geteuid() == 0 && fchown(child[0], account->user, (gid_t)-1) < 0)))
		return -errno;
	for (int i = 0; i < 3; i++)
		if (dup2(child[command->tty ? 0 : i], i) < 0)
			return -errno;
	return 0;
}

static void default_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void run_child(const struct guest_command *command, const struct account *account,
				const struct ends *ends, int report)
{
	struct complaint complaint = {.about = ABOUT_TERMINAL};

	default_signals();
	setsid();
	umask(022);
	complaint.code = take_streams(ends, command, account);
	if (complaint.code == 0) {
		complaint.about = ABOUT_USER;
		complaint.code = become(account);
	}
	if (complaint.code == 0) {
		/* Changing the user takes it off. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		complaint.about = ABOUT_DIRECTORY;
		complaint.code = enter(command, account);
	}
	if (complaint.code == 0) {
		complaint.about = ABOUT_COMMAND;
		complaint.code = set_environment(command, account);
	}
	if (complaint.code == 0) {
		execvp(command->arguments[0], (char *const *)command->arguments);
		complaint.code = -errno;
	}
	(void)!write(report, &complaint, sizeof complaint);
	_exit(127);
}

/* Of nothing but the command is it told that it is not there: shells have a status for that. */
static int complain(int code, const char *about, bool command, struct error *e)
{
	(void)error_errno(e, code, "%.300s", about);
	return command || code != -ENOENT ? code : -EINVAL;
}

static int hear_child(int report, const struct guest_command *command, struct error *e)
{
	struct complaint complaint;
	const char *about[] = {command->arguments[0], command->directory, command->user, "the terminal"};
	ssize_t count;

	do
		count = read(report, &complaint, sizeof complaint);
	while (count < 0 && errno == EINTR);
	if (count != (ssize_t)sizeof complaint)
		return 0;
	return complain(complaint.code, about[complaint.about], complaint.about == ABOUT_COMMAND, e);
}

static int start(const struct guest_command *command, const struct account *account, struct ends *ends,
		 struct spawned *out, struct error *e)
{
	int report[2], r;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) < 0)
		return error_errno(e, -errno, "pipes");
	pid = fork();
	if (pid == 0)
		run_child(command, account, ends, report[1]);
	r = pid < 0 ? error_errno(e, -errno, "a process") : 0;
	close(report[1]);
	if (r == 0)
		r = hear_child(report[0], command, e);
	close(report[0]);
	if (r == 0) {
		*out = (struct spawned){pid, pidfd_open(pid, 0), ends->ours[0], ends->ours[1], ends->ours[2]};
		return out->pidfd < 0 ? error_errno(e, -errno, "the process") : 0;
	}
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return r;
}

int spawn(const struct guest_command *command, struct spawned *out, struct error *e)
{
	struct ends ends = {.child = {-1, -1, -1}, .ours = {-1, -1, -1}};
	struct account account;
	char own[16];
	const char *user = *command->user ? command->user : own;
	int r;

	snprintf(own, sizeof own, "%u", geteuid());
	r = account_find("", user, &account);
	if (r < 0)
		return error_set(e, ERROR_NOT_FOUND, -EINVAL, "the guest has no user %.300s", user);
	r = command->tty ? open_terminal(&ends, command) : open_pipes(&ends);
	if (r < 0)
		r = complain(r, command->tty ? "a terminal" : "pipes", false, e);
	else
		r = start(command, &account, &ends, out, e);
	close_all(ends.child);
	if (r < 0)
		close_all(ends.ours);
	return r;
}

/* Parent of a process, from its stat: "PID (NAME) STATE PARENT ...", in which the name may hold anything. */
static pid_t parent_of(const char *pid)
{
	char path[300], text[512], *end;
	FILE *in;
	size_t length;
	int parent;

	snprintf(path, sizeof path, "/proc/%s/stat", pid);
	in = fopen(path, "re");
	if (!in)
		return -1;
	length = fread(text, 1, sizeof text - 1, in);
	fclose(in);
	text[length] = '\0';
	end = strrchr(text, ')');
	return end && sscanf(end, ") %*c %d", &parent) == 1 ? parent : -1;
}

static void kill_children(void)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;

	while (processes && (entry = readdir(processes)))
		if (*entry->d_name >= '1' && *entry->d_name <= '9' && parent_of(entry->d_name) == getpid())
			(void)kill((pid_t)atoi(entry->d_name), SIGKILL);
	if (processes)
		closedir(processes);
}

void spawn_kill_all(void)
{
	/* Children of those that die become ours, until there are none. */
	for (;;) {
		pid_t ended;

		kill_children();
		while ((ended = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (ended < 0 && errno == ECHILD)
			return;
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
}
