#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/log_tail.h"
#include "cli/named.h"
#include "cli/verb.h"
#include "monitor/monitor.h"

#define LOOK_EVERY_NS 100000000
/* Whether the machine still lives is asked less often. */
#define LOOKS_A_LIFE 5

enum { LOGS_FOLLOW, LOGS_TAIL, LOGS_MONITOR, LOGS_OPTIONS };

static const struct option_spec options[LOGS_OPTIONS] = {
	[LOGS_FOLLOW] = {.name = "follow",
			 .letter = 'f',
			 .type = OPTION_FLAG,
			 .help = "go on with what comes, until the machine ends"},
	[LOGS_TAIL] = {.name = "tail",
		       .letter = 'n',
		       .type = OPTION_INTEGER,
		       .placeholder = "N",
		       .maximum = UINT32_MAX,
		       .help = "begin with the last N lines instead of all"},
	[LOGS_MONITOR] = {.name = "monitor",
			  .letter = 'm',
			  .type = OPTION_FLAG,
			  .help = "what the machine's own process has to say, not the guest's console"},
};

/* Prints what there is; -EPIPE: nobody reads it. */
static int print_all(struct log_tail *tail, struct error *e)
{
	uint8_t bytes[16 * 1024];
	ssize_t n;

	while ((n = log_tail_read(tail, bytes, sizeof bytes, e)) > 0)
		if (fwrite(bytes, 1, (size_t)n, stdout) != (size_t)n)
			return error_errno(e, -errno, "standard output");
	if (n == 0 && fflush(stdout) != 0)
		return error_errno(e, -errno, "standard output");
	return (int)n;
}

/* A machine that was removed has no record: *alive is false then, too. */
static int ask_life(struct registry *registry, const char *name, bool *alive, struct error *e)
{
	struct record record;
	int r = registry_record(registry, name, &record, e);

	*alive = r == 0 && named_is_alive(&record);
	return r == -ENOENT ? 0 : r;
}

/* What was written before the machine ended is printed, so its life is asked for first. */
static int follow(struct registry *registry, const char *name, struct log_tail *tail, struct error *e)
{
	const struct timespec pause = {.tv_nsec = LOOK_EVERY_NS};
	bool alive = true;
	int r = 0;

	for (unsigned i = 0; r == 0 && alive; i++) {
		if (i > 0)
			nanosleep(&pause, NULL);
		if (i % LOOKS_A_LIFE == 0)
			r = ask_life(registry, name, &alive, e);
		if (r == 0)
			r = print_all(tail, e);
	}
	return r;
}

static int open_log(struct registry *registry, const struct named *named, const char *file, struct log_tail **tail,
		    struct error *e)
{
	int folder, r = registry_folder(registry, named->name, &folder, e);

	if (r < 0)
		return r;
	r = log_tail_open(tail, folder, file, e);
	close(folder);
	if (r == -ENOENT)
		return error_set(e, ERROR_NOT_FOUND, r, "%s has no log yet: it was never started", named->name);
	return r;
}

static int show(struct named *named, const struct arguments *arguments, struct error *e)
{
	const struct option_value *lines = &arguments->values[LOGS_TAIL];
	const char *file = arguments->values[LOGS_MONITOR].given ? MONITOR_LOG : MONITOR_CONSOLE_LOG;
	struct log_tail *tail;
	int r = open_log(named->registry, named, file, &tail, e);

	if (r < 0)
		return r;
	if (lines->given)
		log_tail_skip(tail, lines->number);
	r = print_all(tail, e);
	if (r == 0 && arguments->values[LOGS_FOLLOW].given)
		r = follow(named->registry, named->name, tail, e);
	log_tail_close(tail);
	return r == -EPIPE ? 0 : r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	return named_do(arguments, show, e);
}

static const struct verb_example examples[] = {
	{"doppel logs web", "what web's console has shown"},
	{"doppel logs web --tail 20 -f", "the last lines, and all that come"},
	{"doppel logs web --monitor", "why web did not start, or what its process complains about"},
	{NULL, NULL},
};

const struct verb verb_logs = {
	.name = "logs",
	.summary = "print what a machine's console has shown",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_MACHINE,
	.description =
		"Prints the log of a machine's console, of all its lives, also when it is at rest. The latest 4 MiB are there "
		"in any case, and 8 MiB at most. What the host had no room for is missing, and a line says how much.",
	.examples = examples,
	.options = options,
	.option_count = LOGS_OPTIONS,
	.run = run,
};
