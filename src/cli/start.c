#include <errno.h>

#include "cli/named.h"
#include "cli/stop.h"
#include "cli/verb.h"
#include "monitor/monitor.h"

enum { START_ALL, START_OPTIONS };

static int start_one(struct named *named, void *context, struct error *e)
{
	(void)context;
	if (!named_is_at_rest(&named->record))
		return monitor_refuse(named->name, named->record.state, "started", e);
	return monitor_start(named->registry, named->name, NULL, e);
}

static int run_start(const struct arguments *arguments, struct error *e)
{
	return named_each(arguments, arguments->values[START_ALL].given, named_is_at_rest, start_one, NULL, e);
}

/* A machine at rest is just started. */
static int restart_one(struct named *named, void *context, struct error *e)
{
	int r = named_is_at_rest(&named->record) ? 0 : stop_and_wait(named, context, e);

	if (r < 0)
		return r;
	named_close(named);
	return monitor_start(named->registry, named->name, NULL, e);
}

static int run_restart(const struct arguments *arguments, struct error *e)
{
	return named_each(arguments, arguments->values[STOP_ALL].given, named_is_alive, restart_one, (void *)arguments, e);
}

static const struct option_spec start_options[START_OPTIONS] = {
	[START_ALL] = OPTION_ALL_ROW("start all machines that are at rest"),
};

static const struct verb_example start_examples[] = {
	{"doppel start web", "starts the machine web, which was created or has stopped"},
	{"doppel start web db", "starts two"},
	{NULL, NULL},
};

const struct verb verb_start = {
	.name = "start",
	.summary = "start machines that were created or have stopped",
	.operands = "[NAME...]",
	.operands_max = NAMED_MAX,
	.operand_kind = OPERAND_MACHINE_OVER,
	.description = "The machine gets a process of its own, which outlives this terminal. Returns when the machine runs, "
		       "or tells why it does not.",
	.examples = start_examples,
	.options = start_options,
	.option_count = START_OPTIONS,
	.run = run_start,
};

static const struct verb_example restart_examples[] = {
	{"doppel restart web", "stops web as doppel stop does, and starts it again"},
	{NULL, NULL},
};

const struct verb verb_restart = {
	.name = "restart",
	.summary = "stop machines and start them again",
	.operands = "[NAME...]",
	.operands_max = NAMED_MAX,
	.operand_kind = OPERAND_MACHINE,
	.description = "As doppel stop, then doppel start: what has changed in the machine's document counts from now on. A "
		       "machine at rest is just started.",
	.examples = restart_examples,
	.options = stop_options,
	.option_count = STOP_OPTIONS,
	.run = run_restart,
};
