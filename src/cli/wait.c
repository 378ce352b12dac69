#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/named.h"
#include "cli/verb.h"
#include "monitor/monitor.h"

/* A monitor that has stopped listening ends within moments, on a busy host too. */
#define END_MS  5000
#define LOOK_MS 10

enum { WAIT_STATE, WAIT_TIMEOUT, WAIT_OPTIONS };

/* By index of the option's words. */
static const char *const states[] = {"ended", "running", "paused", NULL};
enum { STATE_ENDED, STATE_RUNNING, STATE_PAUSED };

/* Whether the record of a machine without a monitor is what is waited for, or never will be. */
static int judge_record(const struct record *record, const char *name, uint64_t wanted, struct error *e)
{
	if (wanted == STATE_ENDED && record->state == MACHINE_FAILED)
		return error_set(e, ERROR_FAILED, -EIO, "%s failed: %s", name, record->message);
	if (wanted == STATE_ENDED && record->state == MACHINE_STOPPED)
		return record->exit_code;
	return monitor_refuse(name, record->state, "waited for", e);
}

static int judge_answer(const json_t *answer, const char *name, uint64_t wanted, struct error *e)
{
	const char *state = json_string_value(json_object_get(answer, "state"));
	const char *message = json_string_value(json_object_get(answer, "message"));

	if (state && wanted != STATE_ENDED && strcmp(state, states[wanted]) == 0)
		return 0;
	if (message)
		return error_set(e, ERROR_FAILED, -EIO, "%s failed: %s", name, message);
	if (wanted != STATE_ENDED)
		return error_set(e, ERROR_STATE, -EBUSY, "%s has ended and was never %s", name, states[wanted]);
	return (int)json_integer_value(json_object_get(answer, "exit_code"));
}

/* Whether its monitor, which answers nobody any more, ends now: the record then tells how, and it can be removed. */
static bool await_end(struct named *named)
{
	for (unsigned waited = 0; waited < END_MS; waited += LOOK_MS) {
		if (registry_record(named->registry, named->name, &named->record, NULL) < 0)
			return false;
		if (named_is_at_rest(&named->record) && !registry_is_held(named->registry, named->name))
			return true;
		usleep(LOOK_MS * 1000);
	}
	return false;
}

static int wait_for(struct named *named, const struct arguments *arguments, struct error *e)
{
	const struct option_value *timeout = &arguments->values[WAIT_TIMEOUT];
	uint64_t wanted = arguments->values[WAIT_STATE].number;
	json_t *with = wanted == STATE_ENDED ? NULL : json_pack("{s:[s]}", "states", states[wanted]), *answer = NULL;
	int r;

	if (named_is_at_rest(&named->record)) {
		json_decref(with);
		(void)await_end(named);
		return judge_record(&named->record, named->name, wanted, e);
	}
	r = named_call(named, "waited for", "wait", with, timeout->given ? (int)timeout->number : -1, &answer, e);
	if (r == -ETIMEDOUT)
		return error_set(e, ERROR_TIMEOUT, r, "%s was not %s within %s", named->name, states[wanted],
				 timeout->text);
	if (r == 0)
		r = judge_answer(answer, named->name, wanted, e);
	else if ((r == -EPIPE || r == -EBUSY) && await_end(named))
		r = judge_record(&named->record, named->name, wanted, e);
	json_decref(answer);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	return named_do(arguments, wait_for, e);
}

static const struct option_spec options[WAIT_OPTIONS] = {
	[WAIT_STATE] = {.name = "for",
			.letter = 's',
			.type = OPTION_ENUM,
			.placeholder = "STATE",
			.words = states,
			.fallback = "ended",
			.help = "what to wait for; ended is stopped or failed"},
	[WAIT_TIMEOUT] = {.name = "timeout",
			  .letter = 't',
			  .type = OPTION_DURATION,
			  .placeholder = "TIME",
			  .minimum = 1,
			  .maximum = 500 * UINT64_C(3600000),
			  .help = "give up after this time, with status 6"},
};

static const struct verb_example examples[] = {
	{"doppel wait web", "returns when web has powered off, with the guest's exit status"},
	{"doppel wait web --for paused --timeout 1m", "returns when web is paused, or after a minute"},
	{NULL, NULL},
};

const struct verb verb_wait = {
	.name = "wait",
	.summary = "wait until a machine has ended, or is in some state",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_MACHINE,
	.description = "The exit status is the guest's own when it has ended, 1 when the machine failed, 6 when the time was "
		       "over.",
	.examples = examples,
	.options = options,
	.option_count = WAIT_OPTIONS,
	.run = run,
};
