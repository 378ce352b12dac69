/* What can be asked at a monitor's control socket. On the loop: while the machine is made, on the greeter's thread. */
#include <errno.h>
#include <string.h>

#include "base/types.h"
#include "block/block.h"
#include "monitor/private.h"

#define IN(state) (1u << (state))
#define ENDS      (IN(MACHINE_STOPPED) | IN(MACHINE_FAILED))

static int ping(struct control_call *call, const json_t *with, struct error *e)
{
	(void)with;
	(void)e;
	control_answer(call, NULL, -1);
	return 0;
}

/* Who looks at the console from elsewhere: how many, and who of them writes. */
static json_t *describe_viewers(const struct machine *machine)
{
	const char *writer;
	unsigned count = machine_console_viewers(machine, &writer);

	return json_pack("{s:i, s:s?}", "viewers", (int)count, "writer", writer);
}

/* The files that its disks are, on this host. */
static json_t *describe_disks(const struct monitor *monitor)
{
	json_t *list = json_array();
	const struct block *block;

	for (unsigned i = 0; (block = machine_disk(monitor->machine, i)); i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:b, s:b}", "path", block_path(block), "format",
						      block_format_name(block), "size", (json_int_t)block_size(block), "writable",
						      !block_read_only(block), "overlay",
						      monitor->setup.config.disks[i].overlay));
	return list;
}

static int inspect(struct control_call *call, const json_t *with, struct error *e)
{
	const struct monitor *monitor = control_opaque(call);
	json_t *tree = monitor_describe(&monitor->record);
	json_t *arrival = monitor_describe_arrival(monitor);
	json_t *settings = monitor->machine ? monitor_describe_settings(monitor->machine) : NULL;

	(void)with;
	if (!tree)
		return error_errno(e, -ENOMEM, "inspect");
	if (settings)
		json_object_update(tree, settings);
	json_decref(settings);
	if (arrival)
		json_object_set_new(tree, "arrival", arrival);
	if (monitor->machine) {
		json_object_set_new(tree, "console", describe_viewers(monitor->machine));
		json_object_set_new(tree, "disk_files", describe_disks(monitor));
		json_object_set_new(tree, "dropped_connections", json_integer(monitor->dropped_flows));
	}
	json_object_set_new(tree, "walls", monitor_describe_walls());
	control_answer(call, tree, -1);
	return 0;
}

/* Refused by name in any state but `state`. */
static int check(const struct monitor *monitor, enum machine_state state, const char *what, struct error *e)
{
	int r = monitor_refuse_while_moving(monitor, what, e);

	if (r == 0)
		r = monitor_refuse_while_late(monitor, what, e);
	if (r < 0)
		return r;
	if (!monitor->machine)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is just being started and can not be %s; wait a moment",
				 monitor->options->name, what);
	if (machine_state(monitor->machine) != state)
		return monitor_refuse(monitor->options->name, machine_state(monitor->machine), what, e);
	return 0;
}

static int pause_machine(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	int r = check(monitor, MACHINE_RUNNING, "paused", e);

	(void)with;
	if (r == 0)
		r = machine_pause(monitor->machine, e);
	if (r == 0)
		control_answer(call, NULL, -1);
	return r;
}

static int resume_machine(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	int r = check(monitor, MACHINE_PAUSED, "resumed", e);

	(void)with;
	if (r == 0)
		r = machine_resume(monitor->machine, e);
	if (r == 0)
		control_answer(call, NULL, -1);
	return r;
}

/* {"timeout_ms": ..., "wait": true}; 0: at once. Answered when the machine is gone, or unless waiting now. */
static int stop(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	const json_t *given = json_object_get(with, "timeout_ms");
	json_int_t timeout = given ? json_integer_value(given) : MONITOR_STOP_MS;
	int r;

	if ((given && !json_is_integer(given)) || timeout < 0 || timeout > INT32_MAX)
		return error_set(e, ERROR_USAGE, -EINVAL, "stop: timeout_ms is 0 to %d", INT32_MAX);
	if (timeout && monitor_is_cut_off(monitor))
		return monitor_refuse_while_late(monitor, "stopped", e);
	if (timeout && monitor_refuse_while_needed(monitor, "stopped", e) < 0)
		return -EBUSY;
	if (!json_is_false(json_object_get(with, "wait"))) {
		r = monitor_await(monitor, call, ENDS, e);
		if (r < 0)
			return r;
	} else {
		control_answer(call, NULL, -1);
	}
	monitor_stop(monitor, (int)timeout);
	return 0;
}

static int state_of(const char *name)
{
	for (int state = MACHINE_CREATED; state <= MACHINE_FAILED; state++)
		if (name && strcmp(machine_state_name((enum machine_state)state), name) == 0)
			return state;
	return -1;
}

/* {"states": [...]}: any of them; without, the machine's end. */
static int wait(struct control_call *call, const json_t *with, struct error *e)
{
	const json_t *states = json_object_get(with, "states");
	unsigned wanted = ENDS;

	for (size_t i = 0; i < json_array_size(states); i++) {
		const char *name = json_string_value(json_array_get(states, i));
		int state = state_of(name);

		if (state < 0)
			return error_set(e, ERROR_USAGE, -EINVAL, "wait: there is no state \"%s\"", name ? name : "");
		wanted |= IN(state);
	}
	return monitor_await(control_opaque(call), call, wanted, e);
}

static int events(struct control_call *call, const json_t *with, struct error *e)
{
	(void)with;
	(void)e;
	control_subscribe(call);
	return 0;
}

const struct control_verb monitor_verbs[] = {
	{"ping", ping},		   {"inspect", inspect}, {"pause", pause_machine},
	{"resume", resume_machine}, {"stop", stop},	 {"wait", wait},
	{"events", events},	   {"console", monitor_console},
	{"statistics", monitor_statistics}, {"set", monitor_set},
	{"profile", monitor_profile}, {"snapshot", monitor_snapshot},
	{"snapshot_disks", monitor_snapshot_disks}, {"snapshot_disk", monitor_snapshot_disk},
	{"migrate", monitor_migrate},	    {"migrate ask", monitor_migrate_ask},
	{"migrate status", monitor_migrate_status}, {"migrate cancel", monitor_migrate_cancel},
	{"migrate bandwidth", monitor_migrate_bandwidth}, {"migrate link", monitor_migrate_link},
	{"migrate post-copy", monitor_migrate_post_copy}, {"migrate recover", monitor_migrate_recover},
	{NULL, NULL},
};
