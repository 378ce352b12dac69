/* Runs a command in a guest. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/guest_target.h"
#include "cli/verb.h"
#include "machine/terminal.h"

enum { EXEC_INPUT, EXEC_TTY, EXEC_ENV, EXEC_DIRECTORY, EXEC_USER, EXEC_VSOCK, EXEC_TIMEOUT, EXEC_OPTIONS };

static const struct option_spec options[EXEC_OPTIONS] = {
	[EXEC_INPUT] = {.name = "interactive",
			.letter = 'i',
			.type = OPTION_FLAG,
			.help = "the command reads this standard input"},
	[EXEC_TTY] = {.name = "tty",
		      .letter = 't',
		      .type = OPTION_FLAG,
		      .help = "the command has a terminal of its own, shown on this one"},
	[EXEC_ENV] = {.name = "env",
		      .letter = 'e',
		      .type = OPTION_STRING,
		      .repeatable = true,
		      .placeholder = "NAME=VALUE",
		      .help = "set a variable of the environment"},
	[EXEC_DIRECTORY] = {.name = "workdir",
			    .letter = 'w',
			    .type = OPTION_PATH,
			    .placeholder = "FOLDER",
			    .help = "where the command runs; without it, the user's home"},
	[EXEC_USER] = {.name = "user",
		       .letter = 'u',
		       .type = OPTION_STRING,
		       .placeholder = "USER",
		       .help = "who runs it, by the name or number in the guest's /etc/passwd (users of a directory service are not "
			       "known); without it, root"},
	[EXEC_VSOCK] = GUEST_TARGET_VSOCK_ROW,
	[EXEC_TIMEOUT] = GUEST_TARGET_TIMEOUT_ROW,
};

/* What is passed on to the command; others do to this process what they always do. */
static const int passed[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};

static int take_signals(int *fd, struct error *e)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(passed); i++) {
		struct sigaction now;

		/* Whoever starts this with nohup wants it so. */
		if (sigaction(passed[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(&set, passed[i]);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return error_errno(e, -errno, "signals");
	*fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *fd < 0 ? error_errno(e, -errno, "signals") : 0;
}

static void window(uint16_t *rows, uint16_t *columns)
{
	struct winsize size = {.ws_row = 0};

	(void)ioctl(STDIN_FILENO, TIOCGWINSZ, &size);
	*rows = size.ws_row;
	*columns = size.ws_col;
}

/* NULL-terminated; free() it. */
static const char **environment(const struct arguments *arguments)
{
	const char **list = calloc(arguments->occurrence_count + 2, sizeof *list), *variable;
	const char *terminal = getenv("TERM");
	static char term[128];
	size_t count = 0, cursor = 0;

	if (list && arguments->values[EXEC_TTY].given && terminal) {
		snprintf(term, sizeof term, "TERM=%s", terminal);
		list[count++] = term;
	}
	while (list && (variable = arguments_next(arguments, EXEC_ENV, &cursor)))
		list[count++] = variable;
	return list;
}

/* As shells tell it, when there is nothing to be run. */
static int refusal(int code, struct error *e)
{
	(void)error_prefix(e, code, "exec");
	cli_report(e);
	return code == -ENOENT ? 127 : 126;
}

static int execute(struct wire *wire, const struct arguments *arguments, struct guest_command *command,
		   struct error *e)
{
	struct guest_run run = {.command = command,
				.in = arguments->values[EXEC_INPUT].given ? STDIN_FILENO : -1,
				.out = STDOUT_FILENO,
				.err = STDERR_FILENO,
				.signals = -1,
				.window = command->tty ? window : NULL};
	int status = 0, r = take_signals(&run.signals, e);
	bool refused = false;

	/* From now on no change of the size is missed. */
	if (r == 0 && command->tty)
		window(&command->rows, &command->columns);
	if (r == 0 && command->tty)
		r = terminal_raw(STDIN_FILENO, e);
	if (r == 0)
		r = guest_execute(wire, &run, &status, &refused, e);
	terminal_restore();
	if (run.signals >= 0)
		close(run.signals);
	if (refused)
		return refusal(r, e);
	return r < 0 ? r : status;
}

static int check(const struct arguments *arguments, struct error *e)
{
	const struct option_value *values = arguments->values;
	const char *variable;
	size_t cursor = 0;

	if (arguments->operand_count < (values[EXEC_VSOCK].given ? 1u : 2u))
		return error_set(e, ERROR_USAGE, -EINVAL, "it needs a command; write it behind --");
	if (values[EXEC_TTY].given && !isatty(STDIN_FILENO))
		return error_set(e, ERROR_USAGE, -ENOTTY, "--tty: standard input is no terminal; leave --tty out");
	while ((variable = arguments_next(arguments, EXEC_ENV, &cursor)))
		if (*variable == '=' || !strchr(variable, '='))
			return error_set(e, ERROR_USAGE, -EINVAL, "--env %s: give NAME=VALUE", variable);
	return 0;
}

static int run(const struct arguments *arguments, struct error *e)
{
	const struct option_value *values = arguments->values;
	bool named = !values[EXEC_VSOCK].given;
	struct guest_command command = {.tty = values[EXEC_TTY].given,
					.directory = values[EXEC_DIRECTORY].given ? values[EXEC_DIRECTORY].text : "",
					.user = values[EXEC_USER].given ? values[EXEC_USER].text : ""};
	const char **variables = environment(arguments), **words = calloc(arguments->operand_count + 1, sizeof *words);
	struct wire wire;
	int r = variables && words ? check(arguments, e) : error_errno(e, -ENOMEM, "no memory");

	for (size_t i = named; r == 0 && i < arguments->operand_count; i++)
		words[i - named] = arguments->operands[i];
	command.arguments = words;
	command.environment = variables;
	if (r == 0)
		r = guest_target_open(&wire, arguments->operands[0], &values[EXEC_VSOCK], &values[EXEC_TIMEOUT], e);
	if (r == 0) {
		r = execute(&wire, arguments, &command, e);
		guest_close(&wire);
	}
	free(variables);
	free(words);
	return r < 0 ? error_prefix(e, r, "exec") : r;
}

static const struct verb_example examples[] = {
	{"doppel exec web -- uname -a", "runs a command and prints what it prints"},
	{"doppel exec -it web -- bash", "a shell in the guest, on this terminal"},
	{"doppel exec -i web -- tar -x -C /srv <site.tar", "a command that reads this standard input"},
	{"doppel exec -u nobody -w /tmp -e LANG=C web -- sh -c 'id; pwd'", "as another user, elsewhere"},
	{NULL, NULL},
};

const struct verb verb_exec = {
	.name = "exec",
	.summary = "run a command in a guest",
	.operands = "NAME -- COMMAND...",
	.operands_min = 1,
	.operands_max = UINT_MAX,
	.operand_kind = OPERAND_MACHINE_LIVE,
	.description =
		"Runs a command in the guest of a running machine. It is started as it is, without a shell. Standard "
		"output and standard error stay apart, binary data stays as it is, and signals that come here are passed on.\n\n"
		"The exit status is that of the command, 128 and the number of the signal that ended it, 127 when there is no "
		"such command, or 126 when it can not be started. When this ends first, the command is killed with all it "
		"started.\n\n"
		"The program doppel-guest in the guest does the work, over the machine's socket device; the images debian and "
		"debian-tiny bring it along.",
	.examples = examples,
	.options = options,
	.option_count = EXEC_OPTIONS,
	.run = run,
};
