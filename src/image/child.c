#include "image/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIPE_OUTPUT, PIPE_COMPLAINT, PIPE_STATUS, PIPES };

#define LINE_MAX_SIZE 1024

struct session {
	const struct child *child;
	pid_t pid;
	int read_end[PIPES], write_end[PIPES]; /* -1: not open */
	char line[LINE_MAX_SIZE];              /* of the status, as far as it has come */
	size_t line_used;
	char complaints[8192]; /* the beginning of standard error */
	size_t complaints_used;
	int code;
};

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_all(struct session *session)
{
	for (unsigned i = 0; i < PIPES; i++) {
		close_one(&session->read_end[i]);
		close_one(&session->write_end[i]);
	}
}

static int open_pipes(struct session *session)
{
	unsigned count = session->child->status ? PIPES : PIPE_STATUS;

	for (unsigned i = 0; i < PIPES; i++)
		session->read_end[i] = session->write_end[i] = -1;
	for (unsigned i = 0; i < count; i++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		session->read_end[i] = ends[0];
		/* Out of the way of the descriptors 0 to 4 that the program is to have. */
		session->write_end[i] = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
		close(ends[1]);
		if (session->write_end[i] < 0)
			return -errno;
	}
	return 0;
}

/* The environment with LC_ALL=C, so that messages are known; the strings stay where they are. */
static char **c_environment(void)
{
	static char locale[] = "LC_ALL=C";
	size_t count = 0, used = 0;
	char **copy;

	while (environ[count])
		count++;
	copy = calloc(count + 2, sizeof *copy);
	if (!copy)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (strncmp(environ[i], "LC_ALL=", 7) != 0)
			copy[used++] = environ[i];
	copy[used] = locale;
	return copy;
}

static int plan_files(const struct session *session, posix_spawn_file_actions_t *actions)
{
	static const int targets[PIPES] = {1, 2, CHILD_STATUS_FD};
	const struct child *child = session->child;
	int r = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);

	for (unsigned i = 0; r == 0 && i < PIPES; i++)
		if (session->write_end[i] >= 0)
			r = posix_spawn_file_actions_adddup2(actions, session->write_end[i], targets[i]);
	if (r == 0 && child->keep >= 0)
		r = posix_spawn_file_actions_adddup2(actions, child->keep, CHILD_STATUS_FD + 1);
	if (r == 0 && child->directory)
		r = posix_spawn_file_actions_addchdir_np(actions, child->directory);
	return r;
}

static int plan_signals(posix_spawnattr_t *attributes)
{
	sigset_t none, usual;

	sigemptyset(&none);
	sigemptyset(&usual);
	sigaddset(&usual, SIGPIPE);
	sigaddset(&usual, SIGINT);
	sigaddset(&usual, SIGTERM);
	(void)posix_spawnattr_setsigmask(attributes, &none);
	(void)posix_spawnattr_setsigdefault(attributes, &usual);
	return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
}

/* posix_spawn takes arguments that it does not change as char *const *. */
static char *const *spawn_arguments(const struct child *child)
{
	union {
		const char *const *given;
		char *const *taken;
	} u = {.given = child->arguments};

	return u.taken;
}

static int spawn(struct session *session)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	char **environment = c_environment();
	int r;

	if (!environment)
		return -ENOMEM;
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	r = plan_files(session, &actions);
	if (r == 0)
		r = plan_signals(&attributes);
	if (r == 0)
		r = posix_spawnp(&session->pid, session->child->arguments[0], &actions, &attributes,
				 spawn_arguments(session->child), environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	free(environment);
	return -r;
}

static void take_output(struct session *session, const char *bytes, size_t size)
{
	const struct child *child = session->child;

	if (!child->output || session->code < 0)
		return;
	session->code = child->output(child->context, (const uint8_t *)bytes, size);
	if (session->code < 0)
		kill(session->pid, SIGTERM);
}

static void take_complaint(struct session *session, const char *bytes, size_t size)
{
	size_t room = sizeof session->complaints - 1 - session->complaints_used;

	size = size < room ? size : room;
	memcpy(session->complaints + session->complaints_used, bytes, size);
	session->complaints_used += size;
}

static void take_status(struct session *session, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != '\n') {
			if (session->line_used < sizeof session->line)
				session->line[session->line_used++] = bytes[i];
			continue;
		}
		if (session->line_used < sizeof session->line) {
			session->line[session->line_used] = '\0';
			session->child->status(session->child->context, session->line);
		}
		session->line_used = 0;
	}
}

static void drain(struct session *session, unsigned index)
{
	static void (*const takers[PIPES])(struct session *, const char *, size_t) = {take_output, take_complaint,
										      take_status};
	char buffer[64 * 1024];
	ssize_t count = read(session->read_end[index], buffer, sizeof buffer);

	if (count > 0)
		takers[index](session, buffer, (size_t)count);
	else if (count == 0 || errno != EINTR)
		close_one(&session->read_end[index]);
}

/* Until the program and all that it started have closed their ends. */
static void listen_to(struct session *session)
{
	for (;;) {
		struct pollfd waiting[PIPES];
		bool open = false;

		for (unsigned i = 0; i < PIPES; i++) {
			waiting[i] = (struct pollfd){.fd = session->read_end[i], .events = POLLIN};
			open = open || session->read_end[i] >= 0;
		}
		if (!open)
			return;
		if (poll(waiting, PIPES, -1) < 0)
			continue;
		for (unsigned i = 0; i < PIPES; i++)
			if (waiting[i].fd >= 0 && waiting[i].revents)
				drain(session, i);
	}
}

static int await(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

/* The line that says why: apt's first "E: ", else the last line there is. */
static void pick_complaint(struct session *session, char out[256])
{
	char *found = NULL, *rest = session->complaints, *line;

	session->complaints[session->complaints_used] = '\0';
	while ((line = strsep(&rest, "\n")) != NULL) {
		if (*line)
			found = line;
		if (strncmp(line, "E: ", 3) == 0) {
			found += 3;
			break;
		}
	}
	snprintf(out, 256, "%s", found ? found : "it gave no reason");
	for (char *c = out; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
}

static int judge(struct session *session, int status, struct error *e)
{
	const char *program = session->child->arguments[0];
	char complaint[256];

	if (session->code < 0)
		return session->code;
	if (status == 0)
		return 0;
	if (WIFSIGNALED(status))
		return error_set(e, ERROR_FAILED, -EIO, "%s was ended by signal %d; try again", program,
				 WTERMSIG(status));
	pick_complaint(session, complaint);
	return error_set(e, ERROR_FAILED, -EIO, "%s: %s", program, complaint);
}

static int no_start(const struct child *child, int code, struct error *e)
{
	if (code == -ENOENT)
		return error_set(
			e, ERROR_NOT_FOUND, code,
			"there is no %s here: images are made on Debian hosts; run a kernel of your own with "
			"--kernel",
			child->arguments[0]);
	return error_errno(e, code, "cannot start %s", child->arguments[0]);
}

int child_run(const struct child *child, struct error *e)
{
	struct session *session = calloc(1, sizeof *session);
	int r = session ? 0 : -ENOMEM;

	if (r < 0)
		return no_start(child, r, e);
	session->child = child;
	r = open_pipes(session);
	if (r == 0)
		r = spawn(session);
	for (unsigned i = 0; i < PIPES; i++)
		close_one(&session->write_end[i]);
	if (r == 0) {
		listen_to(session);
		r = judge(session, await(session->pid), e);
	} else {
		r = no_start(child, r, e);
	}
	close_all(session);
	free(session);
	return r;
}

struct collector {
	char *text;
	size_t used, limit;
};

static int collect(void *context, const uint8_t *bytes, size_t size)
{
	struct collector *collector = context;
	char *larger;

	if (size > collector->limit - collector->used)
		return -EFBIG;
	larger = realloc(collector->text, collector->used + size + 1);
	if (!larger)
		return -ENOMEM;
	collector->text = larger;
	memcpy(larger + collector->used, bytes, size);
	collector->used += size;
	larger[collector->used] = '\0';
	return 0;
}

int child_read(const struct child *child, size_t limit, char **text, struct error *e)
{
	struct collector collector = {.text = calloc(1, 1), .limit = limit};
	struct child reader = *child;
	int r;

	if (!collector.text)
		return error_errno(e, -ENOMEM, "cannot read from %s", child->arguments[0]);
	reader.output = collect;
	reader.status = NULL;
	reader.context = &collector;
	r = child_run(&reader, e);
	if (r == -EFBIG || r == -ENOMEM)
		(void)error_errno(e, r, "cannot read from %s", child->arguments[0]);
	if (r < 0)
		free(collector.text);
	else
		*text = collector.text;
	return r;
}
