#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/machine_disk.h"
#include "cli/named.h"
#include "cli/snapshots.h"
#include "cli/stop.h"
#include "cli/verb.h"
#include "monitor/monitor.h"

enum { START_ALL, START_OPTIONS };

/* Nobody starts it meanwhile. Where that fails, for want of room, the machine starts with the layers that it has. */
static void join_layers(const struct named *named)
{
	struct error e = {.message = ""};
	char folder[PATH_MAX];
	int lock, r;

	if (registry_lock(named->registry, named->name, &lock, NULL) < 0)
		return;
	registry_folder_path(named->registry, named->name, folder);
	r = machine_disk_join(folder, &e);
	close(lock);
	if (r < 0)
		fprintf(stderr, "doppel: %s keeps the layers of its disk: %s\n", named->name, e.message);
	else if (r > 0)
		snapshots_sweep(named->registry, named->name);
}

static int start_one(struct named *named, void *context, struct error *e)
{
	(void)context;
	if (!named_is_at_rest(&named->record))
		return monitor_refuse(named->name, named->record.state, "started", e);
	join_layers(named);
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
	join_layers(named);
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
		       "or tells why it does not. A disk of many layers, one for each time that the machine was saved, is made one first.",
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
