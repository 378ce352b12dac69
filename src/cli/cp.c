/* Copies files between the host and a guest. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/guest_target.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "guest/tree.h"

enum { CP_VSOCK, CP_TIMEOUT, CP_OPTIONS };

static const struct option_spec options[CP_OPTIONS] = {
	[CP_VSOCK] = GUEST_TARGET_VSOCK_ROW,
	[CP_TIMEOUT] = GUEST_TARGET_TIMEOUT_ROW,
};

/* One side of a copy. */
struct place {
	char *machine; /* NULL: the host; "" with --vsock */
	const char *path;
};

struct copying {
	struct progress progress;
	bool shown; /* on a terminal */
	size_t problems;
};

/* NAME:PATH. A colon behind a slash is part of a path. */
static int parse_place(const char *text, struct place *out, struct error *e)
{
	size_t length = strcspn(text, ":/");

	*out = (struct place){.path = text};
	if (text[length] != ':')
		return 0;
	out->path = text + length + 1;
	out->machine = strndup(text, length);
	return out->machine ? 0 : error_errno(e, -ENOMEM, "no memory");
}

static void show_problem(void *context, int code, const char *path)
{
	struct copying *copying = context;

	if (copying->shown)
		progress_finish(&copying->progress);
	copying->problems++;
	fputs("doppel: cp: ", stderr);
	text_plain(stderr, path);
	fprintf(stderr, ": %s\n", code == -EOPNOTSUPP ? "it is neither a file, a folder nor a link" : strerror(-code));
}

static void show_progress(void *context, uint64_t done, uint64_t total)
{
	struct copying *copying = context;

	progress_bytes(&copying->progress, done, total == GUEST_SIZE_UNKNOWN ? 0 : total);
}

/* What is half written goes before this process does. */
static int watch_signals(struct error *e)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return error_errno(e, -errno, "signals");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? error_errno(e, -errno, "signals") : fd;
}

/* Ends as the signal would have ended it. */
static void end_as_told(int fd)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof info) != (ssize_t)sizeof info)
		return;
	(void)signal((int)info.ssi_signo, SIG_DFL);
	(void)raise((int)info.ssi_signo);
	(void)sigprocmask(SIG_SETMASK, &(sigset_t){0}, NULL);
}

static int get(struct wire *wire, const struct place *from, const char *to, const struct tree_hooks *hooks,
	       struct error *e)
{
	if (strcmp(to, "-") == 0)
		return guest_get(wire, from->path, NULL, STDOUT_FILENO, hooks, e);
	wire->wake = watch_signals(e);
	if (wire->wake < 0)
		return wire->wake;
	return guest_get(wire, from->path, to, -1, hooks, e);
}

static int put(struct wire *wire, const char *from, const struct place *to, const struct tree_hooks *hooks,
	       struct error *e)
{
	if (strcmp(from, "-") == 0)
		return guest_put(wire, NULL, STDIN_FILENO, to->path, hooks, e);
	return guest_put(wire, from, -1, to->path, hooks, e);
}

static int copy(struct wire *wire, const struct place *from, const struct place *to, struct error *e)
{
	struct copying copying = {.problems = 0};
	struct tree_hooks hooks = {.problem = show_problem, .context = &copying};
	int r;

	progress_init(&copying.progress, stderr);
	copying.progress.doing = "copying";
	copying.shown = copying.progress.redraw && !(from->machine && strcmp(to->path, "-") == 0 && isatty(STDOUT_FILENO));
	hooks.progress = copying.shown ? show_progress : NULL;
	r = from->machine ? get(wire, from, to->path, &hooks, e) : put(wire, from->path, to, &hooks, e);
	if (copying.shown)
		progress_finish(&copying.progress);
	if (r == -EINTR)
		end_as_told(wire->wake);
	if (wire->wake >= 0)
		close(wire->wake);
	if (r == 0 && copying.problems)
		return error_set(e, ERROR_FAILED, -EIO, "%zu %s not copied", copying.problems,
				 copying.problems == 1 ? "thing was" : "things were");
	return r;
}

static int check(const struct place *from, const struct place *to, bool vsock, struct error *e)
{
	const struct place *guest = from->machine ? from : to;

	if (!from->machine == !to->machine)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "one of the two must be in a guest, NAME:PATH; a path of the host with a colon begins with ./");
	if (vsock != !*guest->machine)
		return error_set(e, ERROR_USAGE, -EINVAL, "%s",
				 vsock ? "with --vsock the guest's side is :PATH" : "the guest's side is NAME:PATH");
	if (!*guest->path)
		return error_set(e, ERROR_USAGE, -EINVAL, "%s: a path is missing", guest->machine);
	return 0;
}

static int run(const struct arguments *arguments, struct error *e)
{
	const struct option_value *values = arguments->values;
	struct place from = {.machine = NULL}, to = {.machine = NULL};
	struct wire wire;
	int r = parse_place(arguments->operands[0], &from, e);

	if (r == 0)
		r = parse_place(arguments->operands[1], &to, e);
	if (r == 0)
		r = check(&from, &to, values[CP_VSOCK].given, e);
	if (r == 0)
		r = guest_target_open(&wire, from.machine ? from.machine : to.machine, &values[CP_VSOCK],
				      &values[CP_TIMEOUT], e);
	if (r == 0) {
		r = copy(&wire, &from, &to, e);
		guest_close(&wire);
	}
	free(from.machine);
	free(to.machine);
	return r < 0 ? error_prefix(e, r, "cp") : 0;
}

static const struct verb_example examples[] = {
	{"doppel cp site/ web:/srv", "a folder with all that is in it, as /srv/site"},
	{"doppel cp web:/var/log/dpkg.log .", "a file of the guest"},
	{"doppel exec web -- ls /etc | doppel cp - web:/root/list", "from standard input"},
	{"doppel cp web:/etc/os-release -", "to standard output"},
	{NULL, NULL},
};

const struct verb verb_cp = {
	.name = "cp",
	.summary = "copy files into a guest, or out of it",
	.operands = "FROM TO",
	.operands_min = 2,
	.operands_max = 2,
	.description =
		"Copies a file or a folder between the host and the guest of a running machine. One of FROM and TO is "
		"NAME:PATH, in a guest; \"-\" is standard input or output. When TO is a folder that is there, the copy goes into "
		"it under its own name, else TO is its name; FROM/. means what is in a folder.\n\n"
		"Permissions, times, links and holes are kept, owners are not: what comes into the guest is root's, what comes "
		"out is yours, without set-user-ID bits. A link that FROM itself names is followed. What can not be copied is "
		"told by its path, the rest is copied, and the exit status is then 1.",
	.examples = examples,
	.options = options,
	.option_count = CP_OPTIONS,
	.run = run,
};
