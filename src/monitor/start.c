#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fork.h"
#include "control/frame.h"
#include "monitor/monitor.h"
#include "monitor/starter.h"
#include "wall/wall.h"

/* Descriptors of the new process; the last two of a machine that arrives. */
#define STARTER_FD 3
#define LINK_FD    4
#define BALLOT_FD  5
#define LAST_FD    BALLOT_FD
#define TEXT_MAX   4096

extern char **environ;

void starter_tell(int socket, const struct error *failure)
{
	json_t *object = failure ? frame_of_error(failure) : json_object();
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	ssize_t ignored;

	/* Who does not wait any more does not want to know. */
	ignored = text ? send(socket, text, strlen(text), MSG_NOSIGNAL) : 0;
	(void)ignored;
	free(text);
	json_decref(object);
}

/* Out of the way of the descriptors that the monitor gets. */
static int lift(int fd)
{
	int lifted = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, LAST_FD + 1);
	int r = lifted < 0 ? -errno : lifted;

	if (fd >= 0)
		close(fd);
	return r;
}

/* Standard error of the monitor: its log, or nothing where that can not be had. */
static int open_log(const struct registry *registry, const char *name)
{
	char path[PATH_MAX];
	int fd;

	registry_path(registry, name, MONITOR_LOG, path);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return lift(fd >= 0 ? fd : open("/dev/null", O_WRONLY | O_CLOEXEC));
}

static int set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	r = posix_spawnattr_setsigmask(attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attributes, &all);
	if (r == 0)
		r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
								 POSIX_SPAWN_SETSIGDEF);
	return r;
}

static int set_files(posix_spawn_file_actions_t *files, int log, int socket, const struct monitor_arrival *arrival)
{
	int r = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);

	if (r == 0)
		r = posix_spawn_file_actions_adddup2(files, socket, STARTER_FD);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(files, log, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(files, log, STDERR_FILENO);
	if (r == 0 && arrival)
		r = posix_spawn_file_actions_adddup2(files, arrival->link, LINK_FD);
	if (r == 0 && arrival)
		r = posix_spawn_file_actions_adddup2(files, arrival->ballot, BALLOT_FD);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(files, arrival ? LAST_FD + 1 : STARTER_FD + 1);
	return r;
}

/* `more`: an option, or NULL. */
static int spawn(const char *name, const char *more, const struct monitor_arrival *arrival, int log, int socket, pid_t *pid)
{
	char verb[] = "monitor", option[] = "--starter", program[] = "doppel", number[4], copy[REGISTRY_NAME_SIZE];
	char *arguments[] = {program, verb, copy, option, number, (char *)more, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int r;

	snprintf(number, sizeof number, "%d", STARTER_FD);
	snprintf(copy, sizeof copy, "%s", name);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	r = set_attributes(&attributes);
	if (r == 0)
		r = set_files(&files, log, socket, arrival);
	if (r == 0)
		r = posix_spawn(pid, "/proc/self/exe", &files, &attributes, arguments, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return -r;
}

/* The monitor is gone and said nothing. */
static int died(const struct registry *registry, const char *name, pid_t pid, struct error *e)
{
	char how[200] = "ended", path[PATH_MAX];
	int status;

	registry_path(registry, name, MONITOR_LOG, path);
	if (waitpid(pid, &status, 0) == pid)
		wall_describe_end(status, how, sizeof how);
	return error_set(e, ERROR_FAILED, -EIO, "the monitor of %s %s before the machine ran; see %.200s", name, how, path);
}

static int hear(const struct registry *registry, const char *name, int socket, pid_t pid, struct error *e)
{
	char text[TEXT_MAX];
	ssize_t length;
	json_t *said;
	int r;

	do
		length = recv(socket, text, sizeof text, 0);
	while (length < 0 && errno == EINTR);
	said = length > 0 ? json_loadb(text, (size_t)length, 0, NULL) : NULL;
	if (!said)
		return died(registry, name, pid, e);
	r = json_object_get(said, "error") ? frame_to_error(said, e) : 0;
	json_decref(said);
	if (r < 0)
		waitpid(pid, NULL, 0);
	return r;
}

/* What a monitor gets from whoever starts it. */
struct ends {
	int ours, theirs; /* of the socket at which it tells how it went */
	int log;
};

static void close_ends(const struct ends *ends)
{
	if (ends->log >= 0)
		close(ends->log);
	if (ends->theirs >= 0)
		close(ends->theirs);
}

static int open_ends(const struct registry *registry, const char *name, struct ends *ends, struct error *e)
{
	int sockets[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return error_errno(e, -errno, "starting %s", name);
	ends->ours = sockets[0];
	ends->theirs = lift(sockets[1]);
	ends->log = ends->theirs < 0 ? ends->theirs : open_log(registry, name);
	if (ends->log >= 0)
		return 0;
	r = ends->log;
	close_ends(ends);
	close(ends->ours);
	return error_errno(e, r, "starting %s", name);
}

static int start(struct registry *registry, const char *name, const char *option, const struct monitor_arrival *arrival,
		 pid_t *pid, struct error *e)
{
	struct ends ends = {-1, -1, -1};
	pid_t child = 0;
	int r = open_ends(registry, name, &ends, e);

	if (r < 0)
		return r;
	r = spawn(name, option, arrival, ends.log, ends.theirs, &child);
	close_ends(&ends);
	r = r < 0 ? error_errno(e, r, "starting %s", name) : hear(registry, name, ends.ours, child, e);
	close(ends.ours);
	if (r == 0 && pid)
		*pid = child;
	return r;
}

/* ---- A copy of this process ---- */

static void reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool is_kept(int fd, const struct monitor_copy *copy)
{
	for (size_t i = 0; i < copy->keep_count; i++)
		if (copy->keep[i] == fd)
			return true;
	return false;
}

/* Nothing of the caller's stays open but what was prepared: locks are held by descriptors. */
static void close_others(const struct monitor_copy *copy, int starter)
{
	int highest = starter;

	for (size_t i = 0; i < copy->keep_count; i++)
		if (copy->keep[i] > highest)
			highest = copy->keep[i];
	for (int fd = STDERR_FILENO + 1; fd < highest; fd++)
		if (fd != starter && !is_kept(fd, copy))
			close(fd);
	(void)close_range((unsigned)highest + 1, ~0u, 0);
}

static bool take_places(const struct ends *ends)
{
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

	return nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 && dup2(ends->log, STDOUT_FILENO) >= 0 &&
	       dup2(ends->log, STDERR_FILENO) >= 0;
}

static _Noreturn void live(const struct monitor_copy *copy, const char *name, const struct ends *ends)
{
	setsid();
	reset_signals();
	if (!take_places(ends))
		_exit(127);
	close_others(copy, ends->theirs);
	exit(copy->main(copy->context, name, ends->theirs));
}

int monitor_copy_begin(struct registry *registry, const char *name, const struct monitor_copy *copy,
		       struct monitor_started *started, struct error *e)
{
	struct ends ends = {-1, -1, -1};
	int r = open_ends(registry, name, &ends, e);
	pid_t pid;

	if (r < 0)
		return r;
	/* What is buffered would be written twice. */
	(void)fflush(NULL);
	pid = fork_process();
	if (pid == 0)
		live(copy, name, &ends);
	r = pid < 0 ? error_errno(e, -errno, "starting %s", name) : 0;
	close_ends(&ends);
	if (r < 0)
		close(ends.ours);
	else
		*started = (struct monitor_started){.pid = pid, .socket = ends.ours};
	return r;
}

int monitor_copy_wait(int starter, enum monitor_copy_news *news, struct error *e)
{
	ssize_t length;
	uint8_t byte;

	do
		length = recv(starter, &byte, sizeof byte, 0);
	while (length < 0 && errno == EINTR);
	if (length <= 0)
		return error_set(e, ERROR_STATE, -ECANCELED, "whoever made this machine gave it up before it ran");
	*news = byte;
	return 0;
}

/* What stood unread there when it is closed would take the answer away from whoever waits for it. */
void monitor_copy_ignore(int starter)
{
	uint8_t byte;

	(void)shutdown(starter, SHUT_RD);
	while (recv(starter, &byte, sizeof byte, MSG_DONTWAIT) > 0)
		;
}

void monitor_copy_tell(const struct monitor_started *started, enum monitor_copy_news news)
{
	const uint8_t byte = (uint8_t)news;

	if (news == MONITOR_COPY_NEVER)
		(void)shutdown(started->socket, SHUT_WR);
	else
		(void)!send(started->socket, &byte, sizeof byte, MSG_NOSIGNAL);
}

int monitor_copy_end(const struct registry *registry, const char *name, const struct monitor_started *started,
		     struct error *e)
{
	int r = hear(registry, name, started->socket, started->pid, e);

	close(started->socket);
	return r;
}

/* ---- Arrivals ---- */

/* The two stay the caller's; their copies are out of the way of what the new process gets. */
static int lift_arrival(const struct monitor_arrival *arrival, struct monitor_arrival *lifted)
{
	*lifted = *arrival;
	lifted->link = lift(dup(arrival->link));
	lifted->ballot = lift(dup(arrival->ballot));
	return lifted->link < 0 ? lifted->link : lifted->ballot < 0 ? lifted->ballot : 0;
}

static void drop_arrival(const struct monitor_arrival *lifted)
{
	if (lifted->link >= 0)
		close(lifted->link);
	if (lifted->ballot >= 0)
		close(lifted->ballot);
}

int monitor_start_arrival(struct registry *registry, const char *name, const struct monitor_arrival *arrival, pid_t *pid,
			  struct error *e)
{
	struct monitor_arrival lifted;
	char option[48];
	int r = lift_arrival(arrival, &lifted);

	snprintf(option, sizeof option, "--arrival=%s", arrival->token);
	r = r < 0 ? error_errno(e, r, "starting %s", name) : start(registry, name, option, &lifted, pid, e);
	drop_arrival(&lifted);
	return r;
}

int monitor_start(struct registry *registry, const char *name, pid_t *pid, struct error *e)
{
	return start(registry, name, NULL, NULL, pid, e);
}

int monitor_start_with(struct registry *registry, const char *name, const char *option, pid_t *pid, struct error *e)
{
	return start(registry, name, option, NULL, pid, e);
}
