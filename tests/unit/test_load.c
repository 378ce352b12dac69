/* What a machine tells about its load, while it runs. */
#include "boot_files.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "fake_engine.h"
#include "machine/load.h"

#define CPUS    2
#define MEMORY  (64 * MIB)
#define TOUCHED (24 * MIB)

static struct boot_directory directory;
static struct machine_config config;
static struct block_options disk;
static struct machine *machine;

/* *state: the transport, or NULL. */
static int setup(void **state)
{
	const enum board_transport *transport = *state;
	struct blob image = make_image(100000, 0x200000, 200000);
	struct blob empty = {.bytes = calloc(1, MIB), .length = MIB};
	struct error e;

	directory_init(&directory);
	disk = (struct block_options){.path = directory_add(&directory, "disk.raw", &empty), .format = BLOCK_RAW};
	config = (struct machine_config){
		.name = "test",
		.memory_bytes = MEMORY,
		.cpus = CPUS,
		.engine = &fake_engine,
		.kernel = directory_add(&directory, "Image", &image),
		.console = CONSOLE_NONE,
		.transport = transport ? *transport : BOARD_OWN_TRANSPORT,
		.balloon = true,
		.disks = &disk,
		.disk_count = 1,
	};
	if (machine_new(&machine, &config, &e) < 0)
		fail_msg("machine: %s", e.message);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	machine_free(machine);
	directory_finish(&directory);
	return 0;
}

static void test_gauge_lines(void **state)
{
	static uint8_t ram[2];
	struct memory memory = {.count = 1, .regions = {{.host = ram, .size = 2}}};
	struct gauge_reading reading = {.at_ns = 0};
	char first[64];
	const char *lines[] = {
		"1000-2000 r-xp 00000000 00:00 0      /bin/x",
		"Size:  100 kB",
		"Rss:   3 kB",
		"Pss:  2 kB",
		"Swap:  7 kB",
		first,
		"Rss:     40 kB",
		"Pss:  39 kB",
		"Shared_Clean:  5 kB",
		"Shared_Dirty:  6 kB",
		"AnonHugePages:  20 kB",
		"Shared_Hugetlb:  2048 kB",
		"Private_Hugetlb:  4096 kB",
		"Swap:  8 kB",
		"VmFlags: rd wr",
		"",
		"Rss: what",
		"Rss:",
	};
	bool in_ram = false;

	(void)state;
	snprintf(first, sizeof first, "%lx-%lx rw-p 00000000 00:00 0", (unsigned long)ram, (unsigned long)ram + 2);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		gauge_take_line(&reading, &memory, lines[i], &in_ram);
	assert_int_equal(reading.resident, (40 + 2048 + 4096) * KIB);
	assert_int_equal(reading.shared, 11 * KIB);
	assert_int_equal(reading.huge, (20 + 2048 + 4096) * KIB);
	assert_int_equal(reading.swapped, 8 * KIB);
	assert_int_equal(reading.other_resident, 3 * KIB);
	assert_int_equal(reading.other_proportional, 2 * KIB);
}

static void test_memory(void **state)
{
	struct memory *memory = &machine_board(machine)->memory;
	struct machine_load before, after;
	void *half = memory_host(memory, gpa_add(memory->regions[0].base, MEMORY - TOUCHED), TOUCHED);

	(void)state;
	machine_measure(machine, &before);
	assert_int_equal(before.memory_bytes, MEMORY);
	assert_true(before.memory.at_ns > 0);
	assert_true(before.memory.other_resident > 0 && before.memory.other_proportional > 0);
	memset(half, 1, TOUCHED);
	/* A new reading waits for fifty times what the last one took. */
	do
		machine_measure(machine, &after);
	while (after.memory.at_ns == before.memory.at_ns);
	if (before.memory.resident >= TOUCHED || after.memory.resident < TOUCHED || after.memory.resident > MEMORY)
		fail_msg("%llu bytes were resident, now %llu", (unsigned long long)before.memory.resident,
			 (unsigned long long)after.memory.resident);
}

static bool counts(struct engine_vcpu *vcpu, struct engine_exit *out)
{
	(void)vcpu;
	(void)out;
	return false;
}

static void test_while_it_runs(void **state)
{
	struct machine_load first, last = {.at_ns = 0};
	struct error e;

	(void)state;
	fake_guest = counts;
	assert_int_equal(machine_start(machine, &e), 0);
	machine_measure(machine, &first);
	assert_int_equal(first.state, MACHINE_RUNNING);
	assert_int_equal(first.cpus, CPUS);
	do
		machine_measure(machine, &last);
	while (last.engine.instructions <= first.engine.instructions ||
	       last.use.vcpu_ns[1] <= first.use.vcpu_ns[1] || last.use.cpu_ns <= first.use.cpu_ns);
	assert_true(last.at_ns > first.at_ns && last.guest_ns > first.guest_ns);
	assert_int_equal(machine_pause(machine, &e), 0);
	machine_measure(machine, &first);
	machine_measure(machine, &last);
	assert_int_equal(first.state, MACHINE_PAUSED);
	assert_int_equal(last.guest_ns, first.guest_ns);
	assert_int_equal(last.engine.instructions, first.engine.instructions);
}

static const json_t *device(const json_t *tree, const char *name)
{
	const json_t *devices = json_object_get(tree, "devices"), *found;

	for (size_t i = 0; i < json_array_size(devices); i++) {
		found = json_array_get(devices, i);
		if (strcmp(json_string_value(json_object_get(found, "name")), name) == 0)
			return found;
	}
	fail_msg("there is no %s", name);
	return NULL;
}

static json_int_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		fail_msg("%s is not there", key);
	return json_integer_value(value);
}

static void test_json(void **state)
{
	struct board *board = machine_board(machine);
	struct machine_load load;
	json_t *tree;

	(void)state;
	assert_int_equal(bus_write(&board->bus, gpa(0x10000000), 1, 'a'), 0);
	assert_int_equal(bus_write(&board->bus, gpa(0x10000000), 1, 'b'), 0);
	machine_measure(machine, &load);
	tree = machine_load_json(&load);
	assert_non_null(tree);
	assert_string_equal(json_string_value(json_object_get(tree, "state")), "created");
	assert_int_equal(number(tree, "console_bytes"), 2);
	assert_int_equal(number(json_object_get(tree, "memory"), "given"), MEMORY);
	assert_int_equal(number(json_object_get(tree, "cpu"), "count"), CPUS);
	assert_int_equal(json_array_size(json_object_get(json_object_get(tree, "cpu"), "vcpus_ns")), CPUS);
	assert_int_equal(number(json_object_get(json_object_get(tree, "memory"), "balloon"), "actual_bytes"), 0);
	assert_int_equal(json_object_size(json_object_get(json_object_get(tree, "engine"), "causes")),
			 ENGINE_CAUSES);
	assert_int_equal(number(device(tree, "uart0"), "writes"), 2);
	assert_int_equal(number(device(tree, "disk0"), "disk_reads"), 0);
	assert_null(json_object_get(device(tree, "disk0"), "packets_in"));
	json_decref(tree);
}

/* The registers of the balloon (Virtio 1.2, 4.2.2: DeviceID 5). */
static gpa_t find_balloon(struct board *board)
{
	for (uint64_t at = 0x10001000; at < 0x10009000; at += 0x1000) {
		uint64_t kind = 0;

		if (bus_read(&board->bus, gpa(at + 8), 4, &kind) == 0 && kind == 5)
			return gpa(at);
	}
	fail_msg("no balloon at any place for virtio devices");
	return gpa(0);
}

/* A guest that boasts of its balloon (5.5.4: actual). */
static void test_boast(void **state)
{
	struct board *board = machine_board(machine);
	gpa_t balloon = find_balloon(board);
	struct machine_load load;

	(void)state;
	for (uint64_t status = 1; status < 8; status = 2 * status + 1)
		assert_int_equal(bus_write(&board->bus, gpa(balloon.value + 0x70), 4, status), 0);
	assert_int_equal(bus_write(&board->bus, gpa(balloon.value + 0x104), 4, 0x100), 0);
	machine_measure(machine, &load);
	assert_int_equal(load.balloon.actual_bytes, 0x100000);
	assert_int_equal(bus_write(&board->bus, gpa(balloon.value + 0x104), 4, UINT32_MAX), 0);
	machine_measure(machine, &load);
	assert_int_equal(load.balloon.actual_bytes, MEMORY);
}

/* A disk on PCI is one device, with what the guest did to its registers wherever they are. */
static void test_on_pci(void **state)
{
	struct board *board = machine_board(machine);
	unsigned disks = 0;
	struct machine_load load;
	uint64_t value;

	(void)state;
	assert_int_equal(bus_write(&board->bus, gpa(0x30008010), 4, 0x40000000), 0);
	assert_int_equal(bus_write(&board->bus, gpa(0x30008004), 2, 2), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(bus_read(&board->bus, gpa(0x40000012), 2, &value), 0);
	assert_int_equal(bus_write(&board->bus, gpa(0x40000014), 1, 1), 0);
	machine_measure(machine, &load);
	for (unsigned i = 0; i < load.device_count; i++) {
		assert_string_not_equal(load.devices[i].kind, "virtio-pci");
		if (strcmp(load.devices[i].name, "disk0") != 0)
			continue;
		disks++;
		assert_true(load.devices[i].is_virtio && load.devices[i].is_disk);
		assert_int_equal(load.devices[i].reads, 3);
		assert_int_equal(load.devices[i].writes, 1);
	}
	assert_int_equal(disks, 1);
	assert_int_equal(board->device_count - load.device_count, 2);
}

int main(void)
{
	static enum board_transport pci = BOARD_PCI;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gauge_lines),
		cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_while_it_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_boast, setup, teardown),
		cmocka_unit_test_prestate_setup_teardown(test_on_pci, setup, teardown, &pci),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
