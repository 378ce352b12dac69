/* The PCI host bridge and what functions have in common: ECAM, BARs that move, wires, reset and state. */
#include "pci_bench.h"

#define NOBODY 0xffffffffu

/* A function with two BARs that remembers how it was reached. */
struct part {
	struct pci_function function;
	pthread_mutex_t lock;
	unsigned bar, size, reads, writes, changes, moves;
	uint64_t offset, value, from, to;
};

static struct bus bus;
static struct pci_bench bench;
static struct part parts[PCI_SLOTS];

static struct part *part_of(struct pci_function *function)
{
	return (struct part *)(void *)function;
}

static uint64_t part_read(struct pci_function *function, unsigned bar, uint64_t offset, unsigned size)
{
	struct part *part = part_of(function);

	part->bar = bar;
	part->offset = offset;
	part->size = size;
	part->reads++;
	return 0x1122334455667788 >> (64 - 8 * size);
}

static void part_write(struct pci_function *function, unsigned bar, uint64_t offset, uint64_t value, unsigned size)
{
	struct part *part = part_of(function);

	part->bar = bar;
	part->offset = offset;
	part->size = size;
	part->value = value;
	part->writes++;
}

static void part_changed(struct pci_function *function, unsigned offset, unsigned size)
{
	(void)offset;
	(void)size;
	part_of(function)->changes++;
}

static void part_moved(struct pci_function *function, unsigned bar, uint64_t from, uint64_t to)
{
	part_of(function)->bar = bar;
	part_of(function)->from = from;
	part_of(function)->to = to;
	part_of(function)->moves++;
}

static const struct pci_function_ops part_ops = {
	.read = part_read,
	.write = part_write,
	.changed = part_changed,
	.moved = part_moved,
};

static int add_part(unsigned index)
{
	static const struct pci_identity identity = {
		.vendor = 0x1234, .device = 0x5678, .subsystem_vendor = 0x9abc, .subsystem = 0xdef0,
		.class_code = 0x020304, .revision = 5, .wire = true,
	};
	struct part *part = &parts[index];
	int r;

	*part = (struct part){.lock = PTHREAD_MUTEX_INITIALIZER};
	pci_function_init(&part->function, &part_ops, &identity, &part->lock);
	pci_set_bar(&part->function, 0, 0x1000);
	pci_set_bar(&part->function, 1, 0x4000);
	r = pci_add(bench.host, &part->function, "part", NULL);
	if (r == 0)
		pci_function_reset(&part->function);
	return r;
}

static int set_up(void **state)
{
	(void)state;
	bus_init(&bus);
	pci_bench_init(&bench, &bus, false, false);
	for (unsigned i = 1; i <= 2; i++)
		assert_int_equal(add_part(i), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	device_free(bench.host);
	return 0;
}

/* 0 when nobody answered. */
static unsigned answered(uint64_t address)
{
	uint64_t value = 0;

	assert_int_equal(bus_read(&bus, gpa(address), 4, &value), 0);
	for (unsigned i = 1; i < PCI_SLOTS; i++)
		if (parts[i].reads) {
			parts[i].reads = 0;
			assert_int_equal(value, 0x11223344);
			return i;
		}
	assert_int_equal(value, NOBODY);
	return 0;
}

static void every_slot_is_there_or_reads_ones(void **state)
{
	(void)state;
	assert_int_equal(pci_get(&bench, 0, PCI_CLASS, 1), 0);
	assert_int_equal(pci_get(&bench, 0, PCI_CLASS + 1, 2), 0x0600);
	assert_int_equal(pci_get(&bench, 1, PCI_VENDOR, 4), 0x56781234);
	assert_int_equal(pci_get(&bench, 2, PCI_SUBSYSTEM_VENDOR, 4), 0xdef09abc);
	assert_int_equal(pci_get(&bench, 2, PCI_REVISION, 4), 0x02030405);
	for (unsigned slot = 3; slot < PCI_SLOTS; slot++) {
		assert_int_equal(pci_get(&bench, slot, PCI_VENDOR, 4), NOBODY);
		assert_int_equal(pci_get(&bench, slot, PCI_VENDOR, 2), 0xffff);
		assert_int_equal(pci_get(&bench, slot, PCI_VENDOR, 1), 0xff);
		pci_put(&bench, slot, PCI_COMMAND, NOBODY, 4);
	}
	/* Other functions of a slot, and extended space. */
	for (unsigned function = 1; function < 8; function++)
		assert_int_equal(pci_get(&bench, 1, function << 12, 4), NOBODY);
	assert_int_equal(pci_get(&bench, 1, 0x100, 4), 0);
	assert_int_equal(pci_get(&bench, 1, 0xffc, 4), 0);
	pci_put(&bench, 1, 0x100, NOBODY, 4);
	assert_int_equal(pci_get(&bench, 1, 0x100, 4), 0);
}

static void accesses_of_each_size_agree(void **state)
{
	uint64_t value;

	(void)state;
	for (unsigned at = 0; at < PCI_CONFIG_SIZE; at += 4) {
		uint32_t whole = pci_get(&bench, 1, at, 4);

		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(pci_get(&bench, 1, at + i, 1), whole >> (8 * i) & 0xff);
		assert_int_equal(pci_get(&bench, 1, at, 2) | pci_get(&bench, 1, at + 2, 2) << 16, whole);
	}
	assert_int_equal(bus_read(&bus, gpa(BENCH_ECAM + 0x8000), 8, &value), -EFAULT);
	assert_int_equal(bus_read(&bus, gpa(BENCH_ECAM + 0x8001), 2, &value), -EFAULT);
	assert_int_equal(bus_write(&bus, gpa(BENCH_ECAM + 0x8000), 8, 0), -EFAULT);
	assert_int_equal(bus_read(&bus, gpa(BENCH_ECAM + PCI_ECAM_SIZE), 4, &value), -EFAULT);
}

static void only_what_is_writable_changes(void **state)
{
	uint32_t before[PCI_CONFIG_SIZE / 4];

	(void)state;
	for (unsigned at = 0; at < PCI_CONFIG_SIZE; at += 4)
		before[at / 4] = pci_get(&bench, 1, at, 4);
	for (unsigned at = 0; at < PCI_CONFIG_SIZE; at += 4)
		pci_put(&bench, 1, at, NOBODY, 4);
	for (unsigned at = 0; at < PCI_CONFIG_SIZE; at += 4) {
		uint32_t expected = before[at / 4] | (at == PCI_COMMAND ? 0x406 : 0) | (at == PCI_CACHE_LINE ? 0xff : 0) |
				    (at == PCI_INTERRUPT_LINE ? 0xff : 0);

		if (at == PCI_BAR_0)
			expected = 0xfffff004;
		else if (at == PCI_BAR_0 + 8)
			expected = 0xffffc004;
		else if (at == PCI_BAR_0 + 4 || at == PCI_BAR_0 + 12)
			expected = NOBODY;
		assert_int_equal(pci_get(&bench, 1, at, 4), expected);
	}
	/* The bridge has nothing to write. */
	for (unsigned at = 0; at < PCI_CONFIG_SIZE; at += 4) {
		uint32_t bridge = pci_get(&bench, 0, at, 4);

		pci_put(&bench, 0, at, ~bridge, 4);
		assert_int_equal(pci_get(&bench, 0, at, 4), bridge);
	}
}

static uint32_t port_get(struct bus *ports, uint64_t port, unsigned size)
{
	uint64_t value = 0;

	assert_int_equal(bus_read(ports, gpa(port), size, &value), 0);
	return (uint32_t)value;
}

static void port_put(struct bus *ports, uint64_t port, unsigned size, uint32_t value)
{
	assert_int_equal(bus_write(ports, gpa(port), size, value), 0);
}

/* What the window shows is what ECAM has, for what is there and for what is not. */
static void check_window(struct bus *ports, unsigned slot)
{
	for (unsigned at = 0; at < PCI_CONFIG_SIZE; at += 4) {
		uint32_t whole = pci_get(&bench, slot, at, 4);

		port_put(ports, 0xcf8, 4, 0x80000000 | slot << 11 | at);
		assert_int_equal(port_get(ports, 0xcf8, 4), 0x80000000 | slot << 11 | at);
		assert_int_equal(port_get(ports, 0xcfc, 4), whole);
		assert_int_equal(port_get(ports, 0xcfe, 2), whole >> 16);
		assert_int_equal(port_get(ports, 0xcfd, 1), whole >> 8 & 0xff);
	}
}

static void ports_reach_the_same(void **state)
{
	static const uint32_t nowhere[] = {1 << 11, 0x80010000 | 1 << 11, 0x80000100 | 1 << 11};
	struct device *device;
	struct bus ports;

	(void)state;
	bus_init(&ports);
	assert_int_equal(pci_ports_new(&device, "pci-ports", gpa(0xcf8), bench.host, NULL), 0);
	assert_int_equal(device_attach(device, &ports, NULL), 0);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		check_window(&ports, slot);
	/* Not enabled; another bus; another function. */
	for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
		port_put(&ports, 0xcf8, 4, nowhere[i]);
		assert_int_equal(port_get(&ports, 0xcfc, 4), NOBODY);
		port_put(&ports, 0xcfc, 4, NOBODY);
	}
	assert_int_equal(pci_get(&bench, 1, PCI_COMMAND, 2), 0);
	port_put(&ports, 0xcf8, 4, 0x80000000 | 1 << 11 | PCI_COMMAND);
	port_put(&ports, 0xcfc, 1, PCI_COMMAND_MEMORY);
	assert_int_equal(pci_get(&bench, 1, PCI_COMMAND, 2), PCI_COMMAND_MEMORY);
	/* The address is one register of 32 bits, of which some are always 0. */
	port_put(&ports, 0xcfb, 1, 1);
	port_put(&ports, 0xcf8, 2, 0);
	assert_int_equal(port_get(&ports, 0xcf8, 4), 0x80000000 | 1 << 11 | PCI_COMMAND);
	assert_int_equal(port_get(&ports, 0xcf8, 1), 0xff);
	port_put(&ports, 0xcf8, 4, NOBODY);
	assert_int_equal(port_get(&ports, 0xcf8, 4), 0x80fffffc);
	device_reset(device);
	assert_int_equal(port_get(&ports, 0xcf8, 4), 0);
	device_free(device);
}

static void the_ports_address_is_saved(void **state)
{
	struct device *device;
	struct bus ports;

	(void)state;
	bus_init(&ports);
	assert_int_equal(pci_ports_new(&device, "pci-ports", gpa(0xcf8), bench.host, NULL), 0);
	assert_int_equal(device_attach(device, &ports, NULL), 0);
	for (unsigned possible = 0; possible < 2; possible++) {
		const uint32_t address = possible ? 0x80001234 : 0x80001235;
		struct state_section section;
		struct state_writer w;
		struct state_reader r;
		uint8_t payload[64];

		port_put(&ports, 0xcf8, 4, 0x80000ff0);
		state_writer_init(&w);
		device_save(device, &w);
		state_reader_init(&r, w.bytes, w.length);
		assert_int_equal(state_next(&r, &section, NULL), 1);
		assert_in_range(section.length, 4, sizeof payload);
		memcpy(payload, section.payload, section.length);
		memcpy(payload + section.length - 4, &address, 4);
		section.payload = payload;
		assert_int_equal(device_load(device, &section, NULL), possible ? 0 : -EINVAL);
		assert_int_equal(port_get(&ports, 0xcf8, 4), possible ? address : 0x80000ff0);
		state_writer_finish(&w);
	}
	device_free(device);
}

static void bars_answer_where_they_are_put(void **state)
{
	static const uint64_t places[] = {BENCH_LOW, BENCH_HIGH + 0x10000, BENCH_LOW + BENCH_LOW_SIZE - 0x1000,
					  BENCH_HIGH + BENCH_HIGH_SIZE - 0x1000};

	(void)state;
	/* Not placed: the memory bit alone is nothing. */
	pci_put(&bench, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		assert_int_equal(answered(places[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		pci_put_bar(&bench, 1, 0, places[i]);
		assert_int_equal(parts[1].to, places[i]);
		for (size_t j = 0; j < ARRAY_SIZE(places); j++)
			assert_int_equal(answered(places[j]), i == j);
		assert_int_equal(answered(places[i] + 0xffc), 1);
		assert_int_equal(parts[1].offset, 0xffc);
	}
	/* The memory bit. */
	pci_put(&bench, 1, PCI_COMMAND, 0, 2);
	assert_int_equal(answered(places[3]), 0);
	assert_true(parts[1].to == PCI_NOWHERE);
	pci_put(&bench, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(answered(places[3]), 1);
}

static void sizing_moves_nothing_by_chance(void **state)
{
	(void)state;
	pci_put_bar(&bench, 1, 1, BENCH_LOW);
	pci_put(&bench, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(answered(BENCH_LOW + 0x3ffc), 1);
	assert_int_equal(parts[1].bar, 1);
	pci_put(&bench, 1, PCI_BAR_0 + 8, NOBODY, 4);
	assert_int_equal(pci_get(&bench, 1, PCI_BAR_0 + 8, 4), 0xffffc004);
	assert_int_equal(answered(BENCH_LOW), 0);
	pci_put(&bench, 1, PCI_BAR_0 + 8, (uint32_t)BENCH_LOW, 4);
	assert_int_equal(answered(BENCH_LOW), 1);
}

static void outside_of_windows_nothing_answers(void **state)
{
	/* Beyond, before, half in, around the end of the address space, and where other things are. */
	static const uint64_t places[] = {0, 0x1000, BENCH_LOW - 0x4000, BENCH_LOW + BENCH_LOW_SIZE,
					  BENCH_HIGH + BENCH_HIGH_SIZE, BENCH_ECAM, BENCH_IO, UINT64_MAX - 0x3fff,
					  UINT64_C(1) << 63};

	(void)state;
	pci_put(&bench, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		pci_put_bar(&bench, 1, 1, places[i]);
		assert_true(atomic_load(&parts[1].function.bars[1].base) == PCI_NOWHERE);
	}
	pci_put_bar(&bench, 1, 1, BENCH_ECAM);
	assert_int_equal(pci_get(&bench, 1, PCI_VENDOR, 4), 0x56781234);
	assert_int_equal(parts[1].reads, 0);
}

static void where_bars_overlap_the_first_answers(void **state)
{
	(void)state;
	for (unsigned slot = 2; slot >= 1; slot--) {
		pci_put_bar(&bench, slot, 0, BENCH_LOW + 0x1000);
		pci_put_bar(&bench, slot, 1, BENCH_LOW);
		pci_put(&bench, slot, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	}
	assert_int_equal(answered(BENCH_LOW + 0x1000), 1);
	assert_int_equal(parts[1].bar, 0);
	assert_int_equal(answered(BENCH_LOW), 1);
	assert_int_equal(parts[1].bar, 1);
	pci_put(&bench, 1, PCI_COMMAND, 0, 2);
	assert_int_equal(answered(BENCH_LOW + 0x1000), 2);
}

static void registers_take_each_size(void **state)
{
	(void)state;
	pci_put_bar(&bench, 1, 0, BENCH_HIGH);
	pci_put(&bench, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	for (unsigned size = 1; size <= 8; size *= 2) {
		uint64_t value = 0, sent = 0xa1b2c3d4e5f60718 >> (64 - 8 * size);

		assert_int_equal(bus_read(&bus, gpa(BENCH_HIGH + 0x20), size, &value), 0);
		assert_int_equal(value, 0x1122334455667788 >> (64 - 8 * size));
		assert_int_equal(bus_write(&bus, gpa(BENCH_HIGH + 0x28), size, sent), 0);
		assert_int_equal(parts[1].offset, 0x28);
		assert_int_equal(parts[1].size, size);
		assert_int_equal(parts[1].value, sent);
		assert_int_equal(bus_read(&bus, gpa(BENCH_HIGH + 0x2000), size, &value), 0);
		assert_int_equal(value, UINT64_MAX >> (64 - 8 * size));
	}
}

static void no_io_port_answers(void **state)
{
	uint64_t value = 0;

	(void)state;
	assert_int_equal(bus_read(&bus, gpa(BENCH_IO + 0x60), 1, &value), 0);
	assert_int_equal(value, 0xff);
	assert_int_equal(bus_write(&bus, gpa(BENCH_IO + 0x60), 4, 0), 0);
	assert_int_equal(bus_read(&bus, gpa(BENCH_IO + 0xfffc), 4, &value), 0);
	assert_int_equal(value, NOBODY);
}

/* Slots 1 and 5 share a wire. */
static void wires_are_shared_and_may_be_forbidden(void **state)
{
	struct pci_function *first = &parts[1].function, *second = &parts[5].function;

	(void)state;
	for (unsigned i = 3; i <= 5; i++)
		assert_int_equal(add_part(i), 0);
	assert_int_equal(second->slot, 5);
	assert_int_equal(pci_get(&bench, 1, PCI_INTERRUPT_PIN, 1), 1);
	pci_set_wire(first, true);
	pci_set_wire(second, true);
	assert_true(bench.levels[1]);
	assert_false(bench.levels[0] || bench.levels[2] || bench.levels[3]);
	assert_int_equal(pci_get(&bench, 1, PCI_STATUS, 2) & PCI_STATUS_WIRE, PCI_STATUS_WIRE);
	pci_set_wire(first, false);
	assert_true(bench.levels[1]);
	assert_int_equal(pci_get(&bench, 1, PCI_STATUS, 2) & PCI_STATUS_WIRE, 0);
	/* Forbidden: the status still tells. */
	pci_put(&bench, 5, PCI_COMMAND, PCI_COMMAND_NO_WIRE, 2);
	assert_false(bench.levels[1]);
	assert_int_equal(pci_get(&bench, 5, PCI_STATUS, 2) & PCI_STATUS_WIRE, PCI_STATUS_WIRE);
	pci_put(&bench, 5, PCI_COMMAND, 0, 2);
	assert_true(bench.levels[1]);
	pci_use_wire(second, false);
	assert_false(bench.levels[1]);
	pci_use_wire(second, true);
	assert_true(bench.levels[1]);
	pci_set_wire(second, false);
	assert_false(bench.levels[1]);
	assert_int_equal(bench.rises[1], 3);
}

static void the_bus_has_31_places(void **state)
{
	struct error e;

	(void)state;
	for (unsigned i = 3; i < PCI_SLOTS; i++)
		assert_int_equal(add_part(i), 0);
	assert_int_equal(pci_add(bench.host, &(struct pci_function){.slot = 0}, "one more", &e), -ENOSPC);
	assert_non_null(strstr(e.message, "one more"));
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		pci_put_bar(&bench, slot, 1, BENCH_LOW + slot * 0x10000);
		pci_put(&bench, slot, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	}
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++)
		assert_int_equal(answered(BENCH_LOW + slot * 0x10000), slot);
}

static void capabilities_are_a_chain(void **state)
{
	static const uint8_t bytes[10] = {0, 0, 1, 2, 3, 4, 5, 6, 7, 8}, writable[10] = {0, 0, 0xf0, 0xff};
	struct pci_function *f = &parts[1].function;
	unsigned first, second;

	(void)state;
	assert_int_equal(pci_get(&bench, 1, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES, 0);
	first = pci_add_capability(f, 0x42, bytes, writable, sizeof bytes);
	second = pci_add_capability(f, 0x43, bytes, NULL, 4);
	assert_int_equal(pci_get(&bench, 1, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES, PCI_STATUS_CAPABILITIES);
	assert_int_equal(pci_find(&bench, 1, 0x42, 0), first);
	assert_int_equal(pci_find(&bench, 1, 0x43, 0), second);
	assert_int_equal(second % 4, 0);
	assert_int_equal(pci_get(&bench, 1, second + 1, 1), 0);
	pci_put(&bench, 1, first, NOBODY, 4);
	assert_int_equal(pci_get(&bench, 1, first, 4), 0x42 | second << 8 | 0xf1 << 16 | 0xffu << 24);
}

static void state_is_configuration_space(void **state)
{
	struct pci_function *f = &parts[1].function;
	uint8_t saved[PCI_CONFIG_SIZE];

	(void)state;
	pci_put_bar(&bench, 1, 0, BENCH_LOW);
	pci_put(&bench, 1, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_NO_WIRE, 2);
	memcpy(saved, f->config, sizeof saved);
	pci_function_reset(f);
	assert_int_equal(answered(BENCH_LOW), 0);
	assert_int_equal(pci_get(&bench, 1, PCI_COMMAND, 2), 0);
	pci_set_wire(f, true);
	assert_true(bench.levels[1]);
	memcpy(f->config, saved, sizeof saved);
	assert_true(pci_function_possible(f));
	pci_function_loaded(f);
	assert_int_equal(answered(BENCH_LOW), 1);
	assert_false(bench.levels[1]);
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			f->config[i] ^= (uint8_t)(1u << bit);
			assert_int_equal(pci_function_possible(f), f->writable[i] >> bit & 1);
			f->config[i] ^= (uint8_t)(1u << bit);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_slot_is_there_or_reads_ones, set_up, tear_down),
		cmocka_unit_test_setup_teardown(accesses_of_each_size_agree, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ports_reach_the_same, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_ports_address_is_saved, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_what_is_writable_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bars_answer_where_they_are_put, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sizing_moves_nothing_by_chance, set_up, tear_down),
		cmocka_unit_test_setup_teardown(outside_of_windows_nothing_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(where_bars_overlap_the_first_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(registers_take_each_size, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_io_port_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(wires_are_shared_and_may_be_forbidden, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_bus_has_31_places, set_up, tear_down),
		cmocka_unit_test_setup_teardown(capabilities_are_a_chain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(state_is_configuration_space, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
