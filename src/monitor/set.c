/*
 * {"call": "set"}: what a machine may use is changed while it runs, or told.
 *
 *   {"memory": BYTES, "quota": {"machine": PERCENT, "vcpu": PERCENT},
 *    "disks": [{"index": N, "bytes_per_second": N, "operations_per_second": N, "burst_ms": N}, ...],
 *    "cards": [{"index": N, "bytes_per_second": N, "packets_per_second": N, "burst_ms": N}, ...],
 *    "publish": [TEXT, ...], "unpublish": [TEXT, ...], "group": {...}}
 *
 * All members may be left out; what a limit leaves out stays as it is, and 0 is no limit. All are set, or none: what was set
 * before one that fails is as before again. `group` was changed by who asks, since the kernel keeps it, and is only told in
 * the history. The answer tells all of them as they are then, ports as objects.
 */
#include <errno.h>

#include "monitor/private.h"
#include "monitor/undo.h"

#define RATE_MAX     (INT64_C(1) << 50)
#define BURST_MS_MAX 3600000
#define PERCENT_MAX  100000

/* The member of this name into *out, which it leaves alone when there is none. */
static int take_number(const json_t *object, const char *name, json_int_t maximum, uint64_t *out, struct error *e)
{
	const json_t *value = json_object_get(object, name);

	if (!value)
		return 0;
	if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > maximum)
		return error_set(e, ERROR_USAGE, -EINVAL, "set: %s is 0 to %lld", name, (long long)maximum);
	*out = (uint64_t)json_integer_value(value);
	return 0;
}

static int set_memory(struct monitor *monitor, const json_t *with, struct error *e)
{
	uint64_t bytes = 0;
	int r = take_number(with, "memory", INT64_MAX, &bytes, e);

	return r < 0 || !json_object_get(with, "memory") ? r : machine_set_memory(monitor->machine, bytes, e);
}

static int set_quota(struct monitor *monitor, const json_t *with, struct error *e)
{
	const json_t *wanted = json_object_get(with, "quota");
	struct machine_quota quota;
	uint64_t machine, vcpu;
	int r;

	if (!wanted)
		return 0;
	machine_get_quota(monitor->machine, &quota);
	machine = quota.machine_percent;
	vcpu = quota.vcpu_percent;
	r = take_number(wanted, "machine", PERCENT_MAX, &machine, e);
	if (r == 0)
		r = take_number(wanted, "vcpu", 100, &vcpu, e);
	quota = (struct machine_quota){.machine_percent = (unsigned)machine, .vcpu_percent = (unsigned)vcpu};
	return r < 0 ? r : machine_set_quota(monitor->machine, &quota, e);
}

/* Limits of one thing; `count` is the name of what is counted besides bytes. */
static int take_limits(const json_t *wanted, const char *count, uint64_t *bytes, uint64_t *counted, double *burst_seconds,
		       struct error *e)
{
	uint64_t burst_ms = (uint64_t)(*burst_seconds * 1000 + 0.5);
	int r = take_number(wanted, "bytes_per_second", RATE_MAX, bytes, e);

	if (r == 0)
		r = take_number(wanted, count, RATE_MAX, counted, e);
	if (r == 0)
		r = take_number(wanted, "burst_ms", BURST_MS_MAX, &burst_ms, e);
	if (r == 0)
		*burst_seconds = (double)burst_ms / 1000;
	return r;
}

static int set_disk(struct machine *machine, unsigned index, const json_t *wanted, struct error *e)
{
	struct block_limits limits;
	int r = machine_get_disk_limits(machine, index, &limits, e);

	if (r == 0)
		r = take_limits(wanted, "operations_per_second", &limits.bytes_per_second, &limits.operations_per_second,
				&limits.burst_seconds, e);
	return r < 0 ? r : machine_set_disk_limits(machine, index, &limits, e);
}

static int set_card(struct machine *machine, unsigned index, const json_t *wanted, struct error *e)
{
	struct net_limits limits;
	int r = machine_get_nic_limits(machine, index, &limits, e);

	if (r == 0)
		r = take_limits(wanted, "packets_per_second", &limits.bytes_per_second, &limits.packets_per_second,
				&limits.burst_seconds, e);
	return r < 0 ? r : machine_set_nic_limits(machine, index, &limits, e);
}

static int set_each(struct monitor *monitor, const json_t *list,
		    int (*set)(struct machine *machine, unsigned index, const json_t *wanted, struct error *e),
		    struct error *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		uint64_t index = 0;

		r = take_number(json_array_get(list, i), "index", MACHINE_DISKS_MAX, &index, e);
		if (r == 0)
			r = set(monitor->machine, (unsigned)index, json_array_get(list, i), e);
	}
	return r;
}

static int set_ports(struct monitor *monitor, const json_t *list, bool publish, struct error *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		struct net_forward forward;

		r = net_parse_forward(text ? text : "", &forward, e);
		if (r == 0 && publish)
			r = machine_publish(monitor->machine, &forward, e);
		else if (r == 0)
			r = machine_unpublish(monitor->machine, &forward, e);
	}
	return r;
}

static int apply_each(struct monitor *monitor, const json_t *with, struct error *e)
{
	int r = set_memory(monitor, with, e);

	if (r == 0)
		r = set_quota(monitor, with, e);
	if (r == 0)
		r = set_each(monitor, json_object_get(with, "disks"), set_disk, e);
	if (r == 0)
		r = set_each(monitor, json_object_get(with, "cards"), set_card, e);
	if (r == 0)
		r = set_ports(monitor, json_object_get(with, "unpublish"), false, e);
	if (r == 0)
		r = set_ports(monitor, json_object_get(with, "publish"), true, e);
	return r;
}

static int apply(struct monitor *monitor, const json_t *with, struct error *e)
{
	struct undo undo;
	int r;

	undo_remember(monitor->machine, &undo);
	r = apply_each(monitor, with, e);
	if (r < 0)
		undo_restore(monitor->machine, &undo);
	return r;
}

/* ---- As they are ---- */

static json_int_t memory_left(const struct machine *machine)
{
	uint64_t bytes, left;

	machine_get_memory(machine, &bytes, &left);
	return (json_int_t)left;
}

static json_t *describe_quota(const struct machine *machine)
{
	struct machine_quota quota;

	machine_get_quota(machine, &quota);
	return json_pack("{s:i, s:i}", "machine", (int)quota.machine_percent, "vcpu", (int)quota.vcpu_percent);
}

/* `what` is what the second limit counts: "operations_per_second". */
static json_t *describe_limits(unsigned index, uint64_t bytes, const char *what, uint64_t count, double burst_seconds)
{
	return json_pack("{s:i, s:I, s:I, s:I}", "index", (int)index, "bytes_per_second", (json_int_t)bytes, what,
			 (json_int_t)count, "burst_ms", (json_int_t)(burst_seconds * 1000 + 0.5));
}

static json_t *describe_disks(const struct machine *machine)
{
	json_t *list = json_array();
	struct block_limits limits;

	for (unsigned i = 0; machine_get_disk_limits(machine, i, &limits, NULL) == 0; i++)
		json_array_append_new(list, describe_limits(i, limits.bytes_per_second, "operations_per_second",
							    limits.operations_per_second, limits.burst_seconds));
	return list;
}

static json_t *describe_cards(const struct machine *machine)
{
	json_t *list = json_array();
	struct net_limits limits;

	for (unsigned i = 0; machine_get_nic_limits(machine, i, &limits, NULL) == 0; i++)
		json_array_append_new(list, describe_limits(i, limits.bytes_per_second, "packets_per_second",
							    limits.packets_per_second, limits.burst_seconds));
	return list;
}

static json_t *describe_ports(const struct machine *machine)
{
	json_t *list = json_array();
	unsigned count;
	const struct net_forward *forwards = machine_forwards(machine, &count);

	for (unsigned i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i}", "protocol", forwards[i].udp ? "udp" : "tcp",
						      "address", *forwards[i].address ? forwards[i].address : "127.0.0.1",
						      "host_port", (int)forwards[i].host_port, "guest_port",
						      (int)forwards[i].guest_port));
	return list;
}

json_t *monitor_describe_settings(const struct machine *machine)
{
	return json_pack("{s:I, s:o, s:o, s:o, s:o}", "memory_left", memory_left(machine), "quota", describe_quota(machine),
			 "disks", describe_disks(machine), "cards", describe_cards(machine), "ports",
			 describe_ports(machine));
}

int monitor_set(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	int r;

	if (!monitor->machine)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is just being started and can not be changed; wait a moment",
				 monitor->options->name);
	r = apply(monitor, with, e);
	if (r < 0)
		return r;
	if (json_object_size(with))
		monitor_note(monitor, "changed", json_deep_copy(with));
	control_answer(call, monitor_describe_settings(monitor->machine), -1);
	return 0;
}
