#include <errno.h>

#include "base/clock.h"
#include "monitor/monitor.h"

/* What can be done instead: doppel VERB NAME EFFECT. */
static const struct {
	const char *verb, *effect;
} remedies[] = {
	[MACHINE_CREATED] = {"start", "starts it"}, [MACHINE_RUNNING] = {"stop", "ends it"},
	[MACHINE_PAUSED] = {"resume", "lets it go on"}, [MACHINE_STOPPED] = {"start", "starts it"},
	[MACHINE_FAILED] = {"start", "starts it anew"},
};

int monitor_refuse(const char *name, enum machine_state state, const char *what, struct error *e)
{
	return error_set(e, ERROR_STATE, -EBUSY, "%s is %s and can not be %s; doppel %s %s %s", name,
			 machine_state_name(state), what, remedies[state].verb, name, remedies[state].effect);
}

/* Seconds of the epoch as "2026-11-21T15:04:05Z". */
static json_t *time_text(int64_t seconds)
{
	char text[CLOCK_TEXT];

	clock_seconds_text(seconds, text);
	return *text ? json_string(text) : json_null();
}

json_t *monitor_describe(const struct record *record)
{
	json_t *out = json_pack("{s:s, s:s, s:b, s:b, s:s, s:I, s:i, s:o, s:o}", "name", record->name, "state",
				machine_state_name(record->state), "stalled", record->stalled, "foreground",
				record->foreground, "image", record->image, "memory", (json_int_t)record->memory_bytes,
				"cpus", (int)record->cpus, "created", time_text(record->created_s), "changed",
				time_text(record->changed_s));

	if (out && record->monitor)
		json_object_set_new(out, "pid", json_integer(record->monitor));
	if (out && record->state == MACHINE_STOPPED)
		json_object_set_new(out, "exit_code", json_integer(record->exit_code));
	if (out && record->state == MACHINE_FAILED)
		json_object_set_new(out, "message", json_string(record->message));
	return out;
}
