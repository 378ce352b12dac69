#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/named.h"
#include "cli/verb.h"
#include "cli/viewer.h"

#define PATIENCE_MS 10000

enum { CONSOLE_READ_ONLY, CONSOLE_TAKE, CONSOLE_OPTIONS };

static const struct option_spec options[CONSOLE_OPTIONS] = {
	[CONSOLE_READ_ONLY] = {.name = "read-only",
			       .letter = 'r',
			       .type = OPTION_FLAG,
			       .help = "watch only: nothing that is typed reaches the guest"},
	[CONSOLE_TAKE] = {.name = "take",
			  .letter = 't',
			  .type = OPTION_FLAG,
			  .help = "take the console from whoever writes to it now, who then only watches"},
};

/* "root on pts/3 (process 123)", for others who look at the same console. */
static void name_self(char *out, size_t room)
{
	const struct passwd *user = getpwuid(geteuid());
	const char *terminal = ttyname(STDIN_FILENO);

	snprintf(out, room, "%.20s%s%.20s (process %d)", user ? user->pw_name : "somebody", terminal ? " on " : "",
		 terminal ? terminal + (strncmp(terminal, "/dev/", 5) == 0 ? 5 : 0) : "", (int)getpid());
}

static int attach(struct named *named, const char *access, int *socket, struct error *e)
{
	char who[64];
	int r = named_connect(named, "looked at", e);

	if (r < 0)
		return r;
	name_self(who, sizeof who);
	r = control_request(named->client, "console", json_pack("{s:s, s:s}", "access", access, "who", who), PATIENCE_MS,
			    NULL, socket, e);
	if (r == 0 && *socket < 0)
		r = error_set(e, ERROR_FAILED, -EPROTO, "%s gives no console", named->name);
	return r;
}

static void greet(const char *name, bool writes)
{
	if (isatty(STDIN_FILENO))
		fprintf(stderr, "doppel: the console of %s%s; Ctrl-A d leaves, Ctrl-A h tells more\n", name,
			writes ? "" : ", to be watched only");
}

static int conclude(const char *name, const struct viewer_outcome *outcome, struct error *e)
{
	switch (outcome->end) {
	case VIEWER_LEFT:
		/* The guest's cursor stands anywhere in its line. */
		fprintf(stderr, "%sdoppel: left the console; %s goes on\n", isatty(STDOUT_FILENO) ? "\n" : "", name);
		return 0;
	case VIEWER_SIGNAL:
		return 128 + outcome->code;
	case VIEWER_OVER:
		fprintf(stderr, "doppel: %s\n", outcome->message);
		return outcome->code;
	case VIEWER_LOST:
		break;
	}
	return error_set(e, ERROR_FAILED, -EPIPE, "the process of %s ended without a word; doppel inspect %s tells more",
			 name, name);
}

static int look(struct named *named, const struct arguments *arguments, struct error *e)
{
	bool watches = arguments->values[CONSOLE_READ_ONLY].given, takes = arguments->values[CONSOLE_TAKE].given;
	struct viewer_outcome outcome;
	int socket, r = attach(named, watches ? "watch" : takes ? "take" : "write", &socket, e);

	named_close(named);
	if (r < 0)
		return r;
	greet(named->name, !watches);
	r = viewer_run(socket, !watches, &outcome, e);
	return r < 0 ? r : conclude(named->name, &outcome, e);
}

static int run(const struct arguments *arguments, struct error *e)
{
	if (arguments->values[CONSOLE_READ_ONLY].given && arguments->values[CONSOLE_TAKE].given)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "console: --read-only and --take do not go together; give one of them");
	return named_do(arguments, look, e);
}

static const struct verb_example examples[] = {
	{"doppel console web", "sit down at web; Ctrl-A d leaves it again"},
	{"doppel console web --read-only", "look over the shoulder of whoever does"},
	{"doppel console web --take", "take the keyboard from him"},
	{"echo reboot | doppel console web", "type a line, and see what comes of it"},
	{NULL, NULL},
};

const struct verb verb_console = {
	.name = "console",
	.summary = "look at a machine's console and type on it",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_MACHINE,
	.description =
		"Shows the latest output of the machine's console (256 KiB at most), then all that comes, and sends what is "
		"typed. Coming and leaving does not disturb the guest. Any number may watch; one at a time writes. A "
		"machine in the foreground is written to by its own terminal until someone takes it.\n\n"
		"On a terminal, Ctrl-A d leaves and Ctrl-A h tells what else there is. Without one, standard input is sent "
		"as fast as the guest takes it, and its end ends nothing.\n\n"
		"A guest does not wait for those who look: where output comes faster than it is taken, a line tells how much "
		"is left out. doppel logs has it.\n\n"
		"The exit status is 0 after Ctrl-A d, the guest's own when the machine ends, and 1 when the machine fails or "
		"its process is killed.",
	.examples = examples,
	.options = options,
	.option_count = CONSOLE_OPTIONS,
	.run = run,
};
