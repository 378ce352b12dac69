#include "cli/figures.h"

#include <string.h>

#include "base/types.h"
#include "engine/engine.h"

/* Two answers, or two parts of them that lie at the same place. */
struct span {
	const json_t *before, *now; /* `before` is NULL when there is one answer */
	double seconds;
};

static double number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	double found = json_number_value(value);

	return found > 0 ? found : 0;
}

double figures_number(const json_t *figures, const char *group, const char *key)
{
	return number(json_object_get(figures, group), key);
}

static struct span part(const struct span *span, const char *key)
{
	return (struct span){json_object_get(span->before, key), json_object_get(span->now, key), span->seconds};
}

/* Two decimal places are enough for what people and graphs look at. */
static json_t *rounded(double value)
{
	return json_real((double)(int64_t)((value < 9e15 ? value : 9e15) * 100 + 0.5) / 100);
}

static double growth(const struct span *span, const char *key)
{
	double grown = number(span->now, key) - number(span->before, key);

	return grown > 0 && span->seconds > 0 ? grown / span->seconds : 0;
}

static json_t *rate(const struct span *span, double value)
{
	return span->before ? rounded(value) : json_null();
}

/* Some keys of the answer, for a second, under names of their own. */
struct renamed {
	const char *key, *name;
};

static void add_rates(json_t *out, const struct span *span, const struct renamed *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_object_set_new(out, keys[i].name, rate(span, growth(span, keys[i].key)));
}

static void add_values(json_t *out, const json_t *from, const struct renamed *keys, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (json_is_integer(json_object_get(from, keys[i].key)))
			json_object_set_new(out, keys[i].name,
					    json_integer((json_int_t)number(from, keys[i].key)));
}

static json_t *cpu_figures(const struct span *all)
{
	static const struct renamed values[] = {{"count", "count"},
						{"asleep", "asleep"},
						{"quota_percent", "quota_percent"},
						{"vcpu_quota_percent", "vcpu_quota_percent"}};
	struct span span = part(all, "cpu");
	const json_t *before = json_object_get(span.before, "vcpus_ns"),
		     *now = json_object_get(span.now, "vcpus_ns");
	json_t *cpu = json_object(), *each = json_array();

	json_object_set_new(cpu, "percent", rate(&span, growth(&span, "used_ns") / 1e7));
	for (size_t i = 0; i < json_array_size(now); i++) {
		double grown = json_number_value(json_array_get(now, i)) -
			       json_number_value(json_array_get(before, i));

		json_array_append_new(each,
				      rate(&span, grown > 0 && span.seconds > 0 ? grown / span.seconds / 1e7 : 0));
	}
	json_object_set_new(cpu, "each_percent", each);
	json_object_set_new(cpu, "held_percent", rate(&span, growth(&span, "held_ns") / 1e7));
	add_values(cpu, span.now, values, ARRAY_SIZE(values));
	return cpu;
}

static json_t *memory_figures(const struct span *all)
{
	static const struct renamed values[] = {{"given", "given"},
						{"resident", "resident"},
						{"shared", "shared"},
						{"huge", "huge"},
						{"swapped", "swapped"},
						{"monitor_resident", "monitor_resident"},
						{"monitor_proportional", "monitor_proportional"}};
	static const struct renamed balloon[] = {{"actual_bytes", "ballooned"},
						 {"target_bytes", "balloon_target"}};
	static const struct renamed balloon_rates[] = {{"reported_bytes", "reported"}};
	static const struct renamed guest[] = {{"free", "guest_free"}, {"available", "guest_available"}};
	struct span span = part(all, "memory"), given_back = part(&span, "balloon");
	json_t *memory = json_object();

	add_values(memory, span.now, values, ARRAY_SIZE(values));
	add_values(memory, given_back.now, balloon, ARRAY_SIZE(balloon));
	if (given_back.now)
		add_rates(memory, &given_back, balloon_rates, ARRAY_SIZE(balloon_rates));
	add_values(memory, json_object_get(span.now, "guest"), guest, ARRAY_SIZE(guest));
	return memory;
}

/* The device at `index` of both answers. */
static struct span device_span(const struct span *all, size_t index)
{
	struct span span = {json_array_get(json_object_get(all->before, "devices"), index),
			    json_array_get(json_object_get(all->now, "devices"), index), all->seconds};

	if (span.before && !json_equal(json_object_get(span.before, "name"), json_object_get(span.now, "name")))
		span.before = NULL;
	return span;
}

static bool is_kind(const struct span *device, const char *kind)
{
	const char *found = json_string_value(json_object_get(device->now, "kind"));

	return found && strcmp(found, kind) == 0;
}

/* Rates of all devices of a kind, summed. */
static json_t *sum_figures(const struct span *all, const char *kind, const struct renamed *keys, size_t count)
{
	size_t devices = json_array_size(json_object_get(all->now, "devices"));
	json_t *out = json_object();

	for (size_t i = 0; i < count; i++) {
		double sum = 0;

		for (size_t d = 0; d < devices; d++) {
			struct span device = device_span(all, d);

			sum += device.before && is_kind(&device, kind) ? growth(&device, keys[i].key) : 0;
		}
		if (json_object_get(out, keys[i].name))
			sum += number(out, keys[i].name);
		json_object_set_new(out, keys[i].name, rate(all, sum));
	}
	return out;
}

static json_t *disk_figures(const struct span *all)
{
	static const struct renamed keys[] = {{"bytes_read", "read"},         {"bytes_written", "written"},
					      {"disk_reads", "operations"},   {"disk_writes", "operations"},
					      {"disk_flushes", "operations"}, {"disk_discards", "operations"},
					      {"disk_zeroes", "operations"},  {"disk_errors", "errors"}};

	return sum_figures(all, "virtio-blk", keys, ARRAY_SIZE(keys));
}

static json_t *network_figures(const struct span *all)
{
	static const struct renamed keys[] = {{"bytes_in", "in"},           {"bytes_out", "out"},
					      {"packets_in", "packets_in"}, {"packets_out", "packets_out"},
					      {"dropped_in", "dropped"},    {"dropped_out", "dropped"}};

	return sum_figures(all, "virtio-net", keys, ARRAY_SIZE(keys));
}

static json_t *engine_figures(const struct span *all)
{
	static const struct renamed rates[] = {{"instructions", "instructions"},
					       {"blocks_built", "units_made"},
					       {"exceptions", "exceptions"},
					       {"code_recycled", "recycled"}};
	static const struct renamed values[] = {{"code_used", "code_used"},
						{"code_size", "code_size"},
						{"code_units", "units"},
						{"code_pages", "pages"}};
	struct span span = part(all, "engine");
	const char *name = json_string_value(json_object_get(span.now, "name"));
	json_t *engine = json_object();

	json_object_set_new(engine, "name", json_string(name ? name : ""));
	add_rates(engine, &span, rates, ARRAY_SIZE(rates));
	add_values(engine, span.now, values, ARRAY_SIZE(values));
	return engine;
}

/* By cause; and accesses to devices, which are among those of "emulate". */
static json_t *exit_figures(const struct span *all)
{
	struct span engine = part(all, "engine"), causes = part(&engine, "causes");
	size_t devices = json_array_size(json_object_get(all->now, "devices"));
	json_t *exits = json_object();
	double total = 0, accesses = 0;

	for (unsigned i = 0; i < ENGINE_CAUSES; i++)
		total += growth(&causes, engine_causes[i].name);
	for (size_t d = 0; d < devices; d++) {
		struct span device = device_span(all, d);

		accesses += device.before ? growth(&device, "reads") + growth(&device, "writes") : 0;
	}
	json_object_set_new(exits, "total", rate(&causes, total));
	for (unsigned i = 0; i < ENGINE_CAUSES; i++)
		json_object_set_new(exits, engine_causes[i].name,
				    rate(&causes, growth(&causes, engine_causes[i].name)));
	json_object_set_new(exits, "device", rate(&causes, accesses));
	return exits;
}

static json_t *tlb_figures(const struct span *all)
{
	struct span engine = part(all, "engine"), misses = part(&engine, "tlb_misses");
	json_t *out = json_object();

	for (unsigned i = 0; i < ENGINE_MODES; i++)
		json_object_set_new(out, engine_modes[i], rate(&misses, growth(&misses, engine_modes[i])));
	return out;
}

static json_t *device_figures(const struct span *all)
{
	static const struct renamed keys[] = {
		{"kicks", "kicks"},           {"interrupts", "interrupts"},  {"buffers", "buffers"},
		{"bytes_in", "in"},           {"bytes_out", "out"},          {"errors", "errors"},
		{"disk_errors", "errors"},    {"packets_in", "packets_in"},  {"packets_out", "packets_out"},
		{"dropped_in", "dropped_in"}, {"dropped_out", "dropped_out"}};
	size_t count = json_array_size(json_object_get(all->now, "devices"));
	json_t *devices = json_array();

	for (size_t d = 0; d < count; d++) {
		struct span span = device_span(all, d);
		const char *name = json_string_value(json_object_get(span.now, "name"));
		const char *kind = json_string_value(json_object_get(span.now, "kind"));
		json_t *device = json_pack("{s:s, s:s}", "name", name ? name : "", "kind", kind ? kind : "");

		json_object_set_new(device, "accesses",
				    rate(&span, growth(&span, "reads") + growth(&span, "writes")));
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			if (json_object_get(span.now, keys[i].key))
				add_rates(device, &span, &keys[i], 1);
		json_array_append_new(devices, device);
	}
	return devices;
}

static const struct {
	const char *name;
	json_t *(*make)(const struct span *all);
} groups[] = {{"cpu", cpu_figures},         {"memory", memory_figures}, {"disk", disk_figures},
	      {"network", network_figures}, {"engine", engine_figures}, {"exits", exit_figures},
	      {"tlb_misses", tlb_figures},  {"devices", device_figures}};

static double seconds_between(const json_t *before, const json_t *now)
{
	double passed = number(now, "at_ns") - number(before, "at_ns");

	return before && passed > 0 ? passed / 1e9 : 0;
}

json_t *figures_of(const struct watched *machine)
{
	struct span all = {machine->before, machine->now, seconds_between(machine->before, machine->now)};
	json_t *figures = json_pack("{s:s, s:s, s:b}", "name", machine->record.name, "state",
				    machine_state_name(machine->record.state), "stalled", machine->record.stalled);

	if (!figures)
		return NULL;
	json_object_set_new(figures, "seconds", all.before ? rounded(all.seconds) : json_null());
	if (machine->trouble[0])
		json_object_set_new(figures, "trouble", json_string(machine->trouble));
	if (!machine->record.monitor || !all.now)
		return figures;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		json_object_set_new(figures, groups[i].name, groups[i].make(&all));
	json_object_set_new(figures, "console", rate(&all, growth(&all, "console_bytes")));
	return figures;
}
