#include "wall/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fork.h"
#include "wall/private.h"

#define FILES_LIMIT 64
#define PATIENCE_NS    1000000000
#define PATIENCE_STEPS 1000

/* Where the child's descriptors are. */
enum { FD_SOCKET = 3, FD_REPORT = 4, FD_FREE = 5 };

/* What the child tells when it is behind its walls, or failed. */
struct report {
	int code;
	pid_t pid;
	unsigned parts;
	struct error error;
};

struct spawning {
	const struct wall_plan *plan;
	struct sock_fprog program;
	int ours, theirs;             /* ends of the socket */
	int report_read, report_write;
	pid_t parent, pid;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* In the child, from here on. */

static int arrange_descriptors(struct spawning *s, struct error *e)
{
	/* Out of the way of the places that they are to have. */
	int socket = fcntl(s->theirs, F_DUPFD_CLOEXEC, 10), report = fcntl(s->report_write, F_DUPFD_CLOEXEC, 10);
	int nothing = open("/dev/null", O_RDWR | O_CLOEXEC), last = WALL_SANITIZED ? 1 : 2;

	if (socket < 0 || report < 0 || nothing < 0)
		return error_errno(e, -errno, "cannot open /dev/null for a process");
	for (int fd = 0; fd <= last; fd++)
		if (dup2(nothing, fd) < 0)
			return error_errno(e, -errno, "cannot close standard input");
	if (dup3(socket, FD_SOCKET, O_CLOEXEC) < 0 || dup3(report, FD_REPORT, O_CLOEXEC) < 0 ||
	    close_range(FD_FREE, ~0u, 0) < 0)
		return error_errno(e, -errno, "cannot close the descriptors of others");
	s->report_write = FD_REPORT;
	return 0;
}

static void reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)signal(number, number == SIGPIPE ? SIG_IGN : SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static bool limit(__rlimit_resource_t resource, rlim_t most)
{
	struct rlimit value;

	if (getrlimit(resource, &value) < 0)
		return false;
	if (most > value.rlim_max)
		most = value.rlim_max;
	value.rlim_cur = value.rlim_max = most;
	return setrlimit(resource, &value) == 0;
}

/* Address space that the process has now, in bytes; 0 when it can not be told. */
static uint64_t address_space(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	fclose(file);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static unsigned set_limits(const struct wall_plan *plan, uint64_t now)
{
	bool held = limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, plan->files_limit ? plan->files_limit : FILES_LIMIT);

	if (plan->memory_limit && !WALL_SANITIZED)
		held = held && now > 0 && limit(RLIMIT_AS, now + plan->memory_limit);
	return held ? WALL_LIMITS : 0;
}

/* Again after each change of ids, which undoes it. */
static void die_with_parent(const struct spawning *s)
{
	if (s->plan->survives)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != s->parent)
		_exit(0);
}

static int find_folder(const struct wall_plan *plan, char out[PATH_MAX], struct error *e)
{
	if (!plan->folder)
		return 0;
	if (!realpath(plan->folder, out))
		return error_errno(e, -errno, "cannot serve the folder '%s'", plan->folder);
	if (chdir(out) < 0)
		return error_errno(e, -errno, "cannot serve the folder '%s'", plan->folder);
	return 0;
}

/* Each part needs powers that a later one takes away. */
static int put_up(struct spawning *s, unsigned *parts, struct error *e)
{
	const struct wall_plan *plan = s->plan;
	uint64_t size = address_space();
	char folder[PATH_MAX] = "";
	int r = find_folder(plan, folder, e);

	if (r == 0)
		r = wall_namespaces(plan, parts, e);
	if (r < 0)
		return r;
	*parts |= wall_root(plan, plan->folder ? folder : NULL, *parts);
	if (!plan->folder)
		(void)!chdir("/");
	r = wall_identity(plan, parts, e);
	if (r < 0)
		return r;
	prctl(PR_SET_DUMPABLE, 0);
	die_with_parent(s);
	*parts |= prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? WALL_NO_NEW_PRIVILEGES : 0;
	*parts |= wall_landlock(plan);
	*parts |= set_limits(plan, size);
	*parts |= wall_filter_install(&s->program);
	return 0;
}

static int set_up(struct spawning *s, unsigned *parts, struct error *e)
{
	int r;

	/* Keys of the parent's terminal (Ctrl-C) are not for this process. */
	setsid();
	die_with_parent(s);
	reset_signals();
	prctl(PR_SET_NAME, s->plan->name);
	r = arrange_descriptors(s, e);
	if (r == 0 && s->plan->prepare)
		r = s->plan->prepare(s->plan->context, e);
	return r < 0 ? r : put_up(s, parts, e);
}

static _Noreturn void live(struct spawning *s)
{
	struct report report = {.pid = getpid()};

	report.code = set_up(s, &report.parts, &report.error);
	if (write(s->report_write, &report, sizeof report) < 0 || report.code < 0)
		_exit(127);
	close(s->report_write);
	_exit(s->plan->main(FD_SOCKET, s->plan->context));
}

/* In the parent. */

static struct {
	pthread_mutex_t lock; /* guards the table; a pid of 0: free */
	struct wall_info table[WALL_PROCESSES_MAX];
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The entry of `from` becomes `to`; without one of `from` nothing happens. */
static void note(pid_t from, const struct wall_info *to)
{
	pthread_mutex_lock(&known.lock);
	for (unsigned i = 0; i < WALL_PROCESSES_MAX; i++)
		if (known.table[i].pid == from) {
			known.table[i] = *to;
			break;
		}
	pthread_mutex_unlock(&known.lock);
}

unsigned wall_list_processes(struct wall_info out[WALL_PROCESSES_MAX])
{
	unsigned count = 0;

	pthread_mutex_lock(&known.lock);
	for (unsigned i = 0; i < WALL_PROCESSES_MAX; i++)
		if (known.table[i].pid)
			out[count++] = known.table[i];
	pthread_mutex_unlock(&known.lock);
	return count;
}

static void note_new(const struct wall_process *process)
{
	struct wall_info info = {.pid = process->pid, .parts = process->parts};

	memcpy(info.name, process->name, sizeof info.name);
	if (process->pid)
		note(0, &info);
}

static void finish_spawning(struct spawning *s)
{
	close_fd(&s->ours);
	close_fd(&s->theirs);
	close_fd(&s->report_read);
	close_fd(&s->report_write);
	free(s->program.filter);
}

static int open_channels(struct spawning *s, struct error *e)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(e, -errno, "cannot make a socket for %s", s->plan->name);
	s->ours = ends[0];
	s->theirs = ends[1];
	if (fcntl(s->ours, F_SETFL, O_NONBLOCK) < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return error_errno(e, -errno, "cannot make a pipe for %s", s->plan->name);
	s->report_read = ends[0];
	s->report_write = ends[1];
	return 0;
}

static int reap(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

/* A process that is to outlive us is nobody's child: the one between ends at once. */
static int start(struct spawning *s, struct error *e)
{
	s->parent = getpid();
	s->pid = fork_process();
	if (s->pid < 0)
		return error_errno(e, -errno, "cannot start %s", s->plan->name);
	if (s->pid > 0) {
		if (s->plan->survives && reap(s->pid) != 0)
			return error_set(e, ERROR_FAILED, -ECHILD, "cannot start %s", s->plan->name);
		return 0;
	}
	if (s->plan->survives) {
		pid_t child = fork_process();

		if (child != 0)
			_exit(child < 0);
	}
	live(s);
}

int wall_spawn_soon(struct wall_process *process, const struct wall_plan *plan, struct error *e)
{
	struct spawning s = {.plan = plan, .ours = -1, .theirs = -1, .report_read = -1, .report_write = -1};
	int r = wall_filter_make(plan, &s.program, e);

	if (r == 0)
		r = open_channels(&s, e);
	if (r == 0)
		r = start(&s, e);
	if (r == 0) {
		*process = (struct wall_process){
			.pid = plan->survives ? 0 : s.pid,
			.socket = s.ours,
			.report = s.report_read,
			.survives = plan->survives,
		};
		snprintf(process->name, sizeof process->name, "%s", plan->name);
		s.ours = s.report_read = -1;
	}
	finish_spawning(&s);
	return r;
}

static int died(const struct wall_process *process, struct error *e)
{
	char how[96] = "ended";

	if (!process->survives)
		wall_describe_end(reap(process->pid), how, sizeof how);
	return error_set(e, ERROR_FAILED, -ECHILD, "%s %s before it was behind its walls", process->name, how);
}

static int hear(struct wall_process *process, struct error *e)
{
	struct report report;
	ssize_t size;

	do
		size = read(process->report, &report, sizeof report);
	while (size < 0 && errno == EINTR);
	if (size != sizeof report)
		return died(process, e);
	process->parts = report.parts;
	if (report.code == 0)
		return 0;
	if (!process->survives)
		reap(process->pid);
	if (e)
		*e = report.error;
	return report.code;
}

int wall_await(struct wall_process *process, struct error *e)
{
	int r;

	if (!process->report)
		return 0;
	r = hear(process, e);
	close(process->report);
	process->report = 0;
	if (r < 0) {
		close(process->socket);
		*process = (struct wall_process){.socket = 0};
		return r;
	}
	note_new(process);
	return 0;
}

int wall_spawn(struct wall_process *process, const struct wall_plan *plan, struct error *e)
{
	struct wall_process spawned;
	int r = wall_spawn_soon(&spawned, plan, e);

	if (r == 0)
		r = wall_await(&spawned, e);
	if (r == 0)
		*process = spawned;
	return r;
}

/* Behind walls of our own we may not kill. Children end when their socket does, and with their parent. */
static int await_end(pid_t pid)
{
	const struct timespec pause = {.tv_nsec = PATIENCE_NS / PATIENCE_STEPS};
	int status = 0;

	for (unsigned i = 0; i < PATIENCE_STEPS && waitpid(pid, &status, WNOHANG) == 0; i++)
		nanosleep(&pause, NULL);
	return status;
}

void wall_end(struct wall_process *process, int *status)
{
	int how = 0;

	if (process->report > 0)
		close(process->report);
	if (process->socket > 0)
		close(process->socket);
	if (process->pid > 0)
		note(process->pid, &(const struct wall_info){.pid = 0});
	if (process->pid > 0)
		how = kill(process->pid, SIGKILL) == 0 ? reap(process->pid) : await_end(process->pid);
	if (status)
		*status = how;
	*process = (struct wall_process){.socket = 0};
}

static const struct {
	unsigned part;
	const char *name;
} part_names[] = {
	{WALL_NO_NEW_PRIVILEGES, "no new privileges"},
	{WALL_SECCOMP, "seccomp"},
	{WALL_LANDLOCK, "landlock"},
	{WALL_NAMESPACES, "namespaces"},
	{WALL_ROOT, "root directory"},
	{WALL_CAPABILITIES, "capabilities"},
	{WALL_USER, "user"},
	{WALL_LIMITS, "limits"},
};

void wall_names(unsigned parts, char *out, size_t room)
{
	size_t used = 0;

	if (room > 0)
		*out = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(part_names); i++) {
		int more;

		if (!(parts & part_names[i].part) || used >= room)
			continue;
		more = snprintf(out + used, room - used, "%s%s", used ? ", " : "", part_names[i].name);
		used += (size_t)more;
	}
}

void wall_describe_end(int status, char *out, size_t room)
{
	if (WIFSIGNALED(status))
		snprintf(out, room, "was killed by SIG%s%s", sigabbrev_np(WTERMSIG(status)),
			 WTERMSIG(status) == SIGSYS ? ", a system call that its walls forbid" : "");
	else
		snprintf(out, room, "ended with status %d", WEXITSTATUS(status));
}
