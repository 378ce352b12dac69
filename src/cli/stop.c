#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/named.h"
#include "cli/stop.h"
#include "cli/verb.h"

/* What stop and restart have to wait longer than the monitor does. */
#define GRACE_MS 60000

const struct option_spec stop_options[STOP_OPTIONS] = {
	[STOP_FORCE] = {.name = "force",
			.letter = 'f',
			.type = OPTION_FLAG,
			.help = "switch the machine off at once, as by pulling its plug"},
	[STOP_TIMEOUT] = {.name = "timeout",
			  .letter = 't',
			  .type = OPTION_DURATION,
			  .placeholder = "TIME",
			  .minimum = 1,
			  .maximum = 24 * UINT64_C(3600000),
			  .fallback = "30s",
			  .help = "switch it off when the guest has not powered off by then"},
	[STOP_ALL] = OPTION_ALL_ROW("all machines that are not at rest"),
};

static int patience_of(const struct arguments *arguments)
{
	return arguments->values[STOP_FORCE].given ? 0 : (int)arguments->values[STOP_TIMEOUT].number;
}

/* The monitor answers when all of the machine is gone. */
int stop_and_wait(struct named *named, const struct arguments *arguments, struct error *e)
{
	int patience = patience_of(arguments), r;
	json_t *result = NULL;

	r = named_call(named, "stopped", "stop", json_pack("{s:i}", "timeout_ms", patience), patience + GRACE_MS, &result,
		       e);
	if (r == 0 && json_is_true(json_object_get(result, "forced")))
		fprintf(stderr, "doppel: %s did not power off in time and was switched off\n", named->name);
	json_decref(result);
	return r;
}

/* Machines that were asked, all before the first is waited for. */
struct asked {
	const struct arguments *arguments;
	struct named *machines;
	size_t count;
};

static int ask(struct named *named, void *context, struct error *e)
{
	struct asked *asked = context;
	struct named *grown = realloc(asked->machines, (asked->count + 1) * sizeof *grown);
	int r;

	if (!grown)
		return error_errno(e, -ENOMEM, "stop");
	asked->machines = grown;
	r = named_connect(named, "stopped", e);
	if (r == 0)
		r = named_call(named, "stopped", "stop",
			       json_pack("{s:i, s:b}", "timeout_ms", patience_of(asked->arguments), "wait", 0), GRACE_MS,
			       NULL, e);
	if (r < 0)
		return r;
	asked->machines[asked->count++] = *named;
	named->client = NULL; /* it is kept open */
	return 0;
}

static int wait_for_all(const struct asked *asked, struct error *e)
{
	int r = 0;

	for (size_t i = 0; i < asked->count; i++) {
		struct error own;
		int one = stop_and_wait(&asked->machines[i], asked->arguments, &own);

		named_close(&asked->machines[i]);
		if (one == 0 || one == -EPIPE || one == -ECONNRESET) /* it was gone before it was asked again */
			continue;
		if (r < 0)
			cli_report(e);
		r = error_set(e, own.kind, one, "%s", own.message);
	}
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	struct asked asked = {.arguments = arguments};
	struct error own;
	int r = named_each(arguments, arguments->values[STOP_ALL].given, named_is_alive, ask, &asked, e);
	int waited = wait_for_all(&asked, &own);

	free(asked.machines);
	if (waited < 0 && r < 0)
		cli_report(e);
	return waited < 0 ? error_set(e, own.kind, waited, "%s", own.message) : r;
}

static const struct verb_example examples[] = {
	{"doppel stop web", "asks the guest to power off, and waits until it has"},
	{"doppel stop web db --timeout 5m", "gives both five minutes"},
	{"doppel stop --all --force", "switches everything off at once"},
	{NULL, NULL},
};

const struct verb verb_stop = {
	.name = "stop",
	.summary = "ask guests to power off, and switch off those that do not",
	.operands = "[NAME...]",
	.operands_max = NAMED_MAX,
	.operand_kind = OPERAND_MACHINE_LIVE,
	.description = "Presses the machine's power button. A guest that has not powered off when the time is over is "
		       "switched off. Several machines are asked at once. A paused machine is resumed for it.",
	.examples = examples,
	.options = stop_options,
	.option_count = STOP_OPTIONS,
	.run = run,
};
