#include "cli/named.h"
#include "cli/verb.h"

/* A pause waits until devices are quiet: for slow disks of the host. */
#define PATIENCE_MS 60000

enum { PAUSE_ALL, PAUSE_OPTIONS };

static int pause_one(struct named *named, void *context, struct error *e)
{
	(void)context;
	return named_call(named, "paused", "pause", NULL, PATIENCE_MS, NULL, e);
}

static int resume_one(struct named *named, void *context, struct error *e)
{
	(void)context;
	return named_call(named, "resumed", "resume", NULL, PATIENCE_MS, NULL, e);
}

static int run_pause(const struct arguments *arguments, struct error *e)
{
	return named_each(arguments, arguments->values[PAUSE_ALL].given, named_is_running, pause_one, NULL, e);
}

static int run_resume(const struct arguments *arguments, struct error *e)
{
	return named_each(arguments, arguments->values[PAUSE_ALL].given, named_is_paused, resume_one, NULL, e);
}

static const struct option_spec pause_options[PAUSE_OPTIONS] = {
	[PAUSE_ALL] = OPTION_ALL_ROW("pause all machines that run"),
};

static const struct option_spec resume_options[PAUSE_OPTIONS] = {
	[PAUSE_ALL] = OPTION_ALL_ROW("resume all machines that are paused"),
};

static const struct verb_example pause_examples[] = {
	{"doppel pause web", "web stands still; its memory stays"},
	{"doppel pause --all", "all machines that run stand still"},
	{NULL, NULL},
};

const struct verb verb_pause = {
	.name = "pause",
	.summary = "let machines stand still",
	.operands = "[NAME...]",
	.operands_max = NAMED_MAX,
	.operand_kind = OPERAND_MACHINE_RUNNING,
	.description = "The guest stops amid what it does: its processors, its devices, and its clock. It notices nothing "
		       "but, by its wall clock, that time has passed.",
	.examples = pause_examples,
	.options = pause_options,
	.option_count = PAUSE_OPTIONS,
	.run = run_pause,
};

static const struct verb_example resume_examples[] = {
	{"doppel resume web", "web goes on where it stood"},
	{NULL, NULL},
};

const struct verb verb_resume = {
	.name = "resume",
	.summary = "let paused machines go on",
	.operands = "[NAME...]",
	.operands_max = NAMED_MAX,
	.operand_kind = OPERAND_MACHINE_PAUSED,
	.description = "The guest goes on as if no time had passed.",
	.examples = resume_examples,
	.options = resume_options,
	.option_count = PAUSE_OPTIONS,
	.run = run_resume,
};
