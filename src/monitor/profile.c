/* Where a running guest spends its instructions, over some time. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "machine/load.h"
#include "monitor/private.h"

#define MS_MAX    600000
#define SPOTS_MAX 6000 /* told; a frame holds no more values */

struct profiling {
	struct monitor *monitor;
	struct control_call *call;
	struct loop_timer timer;
	json_t *before;
};

static json_t *measure(struct monitor *monitor)
{
	struct machine_load load;

	machine_measure(monitor->machine, &load);
	return machine_load_json(&load);
}

static void forget(struct profiling *profiling)
{
	loop_timer_cancel(profiling->monitor->loop, &profiling->timer);
	profiling->monitor->profiling = NULL;
	json_decref(profiling->before);
	free(profiling);
}

static int by_instructions(const void *a, const void *b)
{
	const struct profile_spot *x = a, *y = b;

	return x->instructions > y->instructions ? -1 : x->instructions < y->instructions;
}

/* [[pc, mode, instructions], ...]; pc in two's complement. What is too much for an answer is added to *elsewhere. */
static json_t *spots_json(struct profile_spot *spots, size_t count, uint64_t *elsewhere)
{
	json_t *list = json_array();

	if (count > SPOTS_MAX)
		qsort(spots, count, sizeof *spots, by_instructions);
	for (size_t i = 0; i < count; i++) {
		if (i >= SPOTS_MAX)
			*elsewhere += spots[i].instructions;
		else
			json_array_append_new(list,
					      json_pack("[I, i, I]", (json_int_t)spots[i].pc, (int)spots[i].priv,
							(json_int_t)spots[i].instructions));
	}
	return list;
}

static void is_over(void *arg)
{
	struct profiling *profiling = arg;
	struct monitor *monitor = profiling->monitor;
	struct control_call *call = profiling->call;
	struct error e;
	struct profile_spot *spots = NULL;
	uint64_t elsewhere = 0;
	size_t count = 0;
	json_t *answer = NULL, *list;

	if (monitor->machine)
		spots = machine_profile_end(monitor->machine, &count, &elsewhere);
	if (spots) {
		list = spots_json(spots, count, &elsewhere);
		answer = json_pack("{s:O, s:o, s:o, s:I}", "before", profiling->before, "now", measure(monitor),
				   "spots", list, "elsewhere", (json_int_t)elsewhere);
	}
	free(spots);
	forget(profiling);
	if (answer) {
		control_answer(call, answer, -1);
		return;
	}
	error_set(&e, ERROR_STATE, -EBUSY, "%s ended, or there was no memory, before its profile was made",
		  monitor->options->name);
	control_fail(call, &e);
}

/* Nobody waits for it any more, or the machine has ended. */
static void gone(struct control_call *call, void *arg)
{
	struct profiling *profiling = arg;
	struct monitor *monitor = profiling->monitor;
	uint64_t elsewhere;
	size_t count;

	(void)call;
	if (monitor->machine)
		free(machine_profile_end(monitor->machine, &count, &elsewhere));
	forget(profiling);
}

/* {"ms": how long}. */
int monitor_profile(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	const json_t *ms = json_object_get(with, "ms");
	struct profiling *profiling;
	int r;

	if (!json_is_integer(ms) || json_integer_value(ms) < 1 || json_integer_value(ms) > MS_MAX)
		return error_set(e, ERROR_USAGE, -EINVAL, "profile: ms is 1 to %d", MS_MAX);
	if (!monitor->machine)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is just being started or has just ended",
				 monitor->options->name);
	r = monitor_refuse_while_late(monitor, "profiled", e);
	if (r == 0)
		r = machine_profile_begin(monitor->machine, e);
	if (r < 0)
		return r;
	profiling = calloc(1, sizeof *profiling);
	if (!profiling) {
		uint64_t elsewhere;
		size_t count;

		free(machine_profile_end(monitor->machine, &count, &elsewhere));
		return error_errno(e, -ENOMEM, "a profile");
	}
	*profiling = (struct profiling){.monitor = monitor, .call = call, .before = measure(monitor)};
	profiling->timer = (struct loop_timer){.fn = is_over, .arg = profiling};
	monitor->profiling = profiling;
	control_keep(call, gone, profiling);
	loop_timer_set(monitor->loop, &profiling->timer,
		       clock_host_ns() + (uint64_t)json_integer_value(ms) * NS_PER_MS);
	return 0;
}
