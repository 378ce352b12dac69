/* A machine's load as a JSON tree. */
#include "machine/load.h"

/* A field of a struct under its key. */
struct field {
	const char *key;
	size_t at;
};

#define OF(type, field)                                                                                           \
	{                                                                                                         \
#field, offsetof(struct type, field)                                                              \
	}

static json_t *integer(uint64_t number)
{
	return json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number);
}

static void add(json_t *object, const char *key, uint64_t number)
{
	json_object_set_new(object, key, integer(number));
}

static void add_fields(json_t *object, const void *from, const struct field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++)
		add(object, fields[i].key, *(const uint64_t *)(const void *)((const char *)from + fields[i].at));
}

static json_t *cpu_json(const struct machine_load *load)
{
	json_t *cpu = json_object(), *vcpus = json_array();

	add(cpu, "count", load->cpus);
	add(cpu, "asleep", load->asleep);
	add(cpu, "used_ns", load->use.cpu_ns);
	add(cpu, "held_ns", load->use.held_ns);
	for (unsigned i = 0; i < load->cpus; i++)
		json_array_append_new(vcpus, integer(load->use.vcpu_ns[i]));
	json_object_set_new(cpu, "vcpus_ns", vcpus);
	add(cpu, "quota_percent", load->quota.machine_percent);
	add(cpu, "vcpu_quota_percent", load->quota.vcpu_percent);
	return cpu;
}

/* What the guest said, where it did. */
static json_t *guest_memory_json(const struct machine_load *load)
{
	static const struct {
		const char *key;
		enum balloon_tag tag;
	} told[] = {{"free", BALLOON_FREE},           {"total", BALLOON_TOTAL},
		    {"available", BALLOON_AVAILABLE}, {"caches", BALLOON_CACHES},
		    {"swap_in", BALLOON_SWAP_IN},     {"swap_out", BALLOON_SWAP_OUT},
		    {"faults", BALLOON_MINOR_FAULTS}, {"major_faults", BALLOON_MAJOR_FAULTS}};
	const struct balloon_statistics *balloon = &load->balloon;
	json_t *guest = json_object();

	add(guest, "age_ns", load->at_ns - balloon->at_ns);
	for (size_t i = 0; i < ARRAY_SIZE(told); i++)
		if (balloon->valid >> told[i].tag & 1)
			add(guest, told[i].key, balloon->values[told[i].tag]);
	return guest;
}

static json_t *memory_json(const struct machine_load *load)
{
	static const struct field fields[] = {OF(gauge_reading, resident), OF(gauge_reading, shared),
					      OF(gauge_reading, huge), OF(gauge_reading, swapped)};
	static const struct field balloon_fields[] = {
		OF(balloon_statistics, target_bytes), OF(balloon_statistics, actual_bytes),
		OF(balloon_statistics, inflated_bytes), OF(balloon_statistics, reported_bytes)};
	json_t *memory = json_object(), *balloon;

	add(memory, "given", load->memory_bytes);
	if (load->memory.at_ns) {
		add_fields(memory, &load->memory, fields, ARRAY_SIZE(fields));
		add(memory, "monitor_resident", load->memory.other_resident);
		add(memory, "monitor_proportional", load->memory.other_proportional);
		add(memory, "age_ns", load->at_ns > load->memory.at_ns ? load->at_ns - load->memory.at_ns : 0);
	}
	if (!load->has_balloon)
		return memory;
	balloon = json_object();
	add_fields(balloon, &load->balloon, balloon_fields, ARRAY_SIZE(balloon_fields));
	json_object_set_new(memory, "balloon", balloon);
	if (load->balloon.at_ns)
		json_object_set_new(memory, "guest", guest_memory_json(load));
	return memory;
}

static void add_disk(json_t *device, const struct block_statistics *disk)
{
	static const char *const operations[BLOCK_OPERATIONS] = {[BLOCK_READ] = "disk_reads",
								 [BLOCK_WRITE] = "disk_writes",
								 [BLOCK_FLUSH] = "disk_flushes",
								 [BLOCK_DISCARD] = "disk_discards",
								 [BLOCK_ZERO] = "disk_zeroes"};
	static const struct field fields[] = {OF(block_statistics, bytes_read),
					      OF(block_statistics, bytes_written),
					      OF(block_statistics, throttled_ns), OF(block_statistics, in_flight)};

	for (size_t i = 0; i < BLOCK_OPERATIONS; i++)
		add(device, operations[i], disk->operations[i]);
	add_fields(device, disk, fields, ARRAY_SIZE(fields));
	add(device, "disk_errors", disk->errors);
}

static json_t *device_json(const struct machine_device_load *load)
{
	static const struct field fields[] = {
		OF(virtio_statistics, kicks),       OF(virtio_statistics, interrupts),
		OF(virtio_statistics, buffers),     OF(virtio_statistics, resets),
		OF(virtio_statistics, bytes_in),    OF(virtio_statistics, bytes_out),
		OF(virtio_statistics, errors),      OF(virtio_statistics, packets_in),
		OF(virtio_statistics, packets_out), OF(virtio_statistics, dropped_in),
		OF(virtio_statistics, dropped_out)};
	size_t of_others = 7;
	json_t *device = json_pack("{s:s, s:s}", "name", load->name, "kind", load->kind);

	if (!device)
		return NULL;
	add(device, "reads", load->reads);
	add(device, "writes", load->writes);
	if (load->is_virtio)
		add_fields(device, &load->virtio, fields, load->is_nic ? ARRAY_SIZE(fields) : of_others);
	if (load->is_disk)
		add_disk(device, &load->disk);
	return device;
}

static json_t *engine_json(const struct machine_load *load)
{
	static const struct field fields[] = {
		OF(engine_statistics, instructions), OF(engine_statistics, blocks_built),
		OF(engine_statistics, exits),        OF(engine_statistics, exceptions),
		OF(engine_statistics, code_used),    OF(engine_statistics, code_size),
		OF(engine_statistics, code_units),   OF(engine_statistics, code_pages),
		OF(engine_statistics, code_recycled)};
	json_t *engine = json_object(), *causes = json_object(), *misses = json_object();

	json_object_set_new(engine, "name", json_string(load->engine_name));
	add_fields(engine, &load->engine, fields, ARRAY_SIZE(fields));
	for (unsigned i = 0; i < ENGINE_CAUSES; i++)
		add(causes, engine_causes[i].name, load->engine.causes[i]);
	for (unsigned i = 0; i < ENGINE_MODES; i++)
		add(misses, engine_modes[i], load->engine.tlb_misses[i]);
	json_object_set_new(engine, "causes", causes);
	json_object_set_new(engine, "tlb_misses", misses);
	return engine;
}

json_t *machine_load_json(const struct machine_load *load)
{
	json_t *devices = json_array();

	for (unsigned i = 0; i < load->device_count; i++)
		json_array_append_new(devices, device_json(&load->devices[i]));
	return json_pack("{s:s, s:b, s:I, s:I, s:o, s:o, s:o, s:o, s:I}", "state", machine_state_name(load->state),
			 "stalled", load->stalled, "at_ns", (json_int_t)load->at_ns, "guest_ns",
			 (json_int_t)load->guest_ns, "cpu", cpu_json(load), "memory", memory_json(load), "engine",
			 engine_json(load), "devices", devices, "console_bytes", (json_int_t)load->console_bytes);
}
