/* What all devices share: the table of types, attaching, saving and loading, and their nodes in the device tree. */
#include "device_bench.h"

#include <libfdt.h>

#include "device/describe.h"

#define DEVICES 6

static struct {
	struct bench bench;
	struct device *devices[DEVICES];
	struct device *plic, *uart;
} t;

static int setup(void **state)
{
	struct hart_cluster *cluster = &t.bench.cluster;
	struct error e;
	int failed = 0;

	(void)state;
	memset(&t, 0, sizeof t);
	bench_init(&t.bench);
	failed |= plic_new(&t.devices[0], "plic", gpa(0xc000000), cluster, &e);
	t.plic = t.devices[0];
	failed |= uart16550_new(&t.devices[1], "uart0", gpa(0x10000000), plic_line(t.plic, 10),
				(struct serial_sink){0}, &e);
	t.uart = t.devices[1];
	failed |= goldfish_rtc_new(&t.devices[2], "rtc", gpa(0x101000), plic_line(t.plic, 11), &e);
	failed |= aclint_new(&t.devices[3], "aclint", gpa(0x2000000), cluster, &e);
	failed |= aclint_sswi_new(&t.devices[4], "sswi", gpa(0x2f00000), cluster, &e);
	failed |= finisher_new(&t.devices[5], "finisher", gpa(0x100000), (struct power_sink){0}, &e);
	assert_int_equal(failed, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < DEVICES; i++)
		device_free(t.devices[i]);
	return 0;
}

static void types_are_well_formed(void **state)
{
	(void)state;
	assert_true(device_type_count > DEVICES);
	for (size_t i = 0; i < device_type_count; i++) {
		const struct device_type *type = device_types[i];

		assert_non_null(type->name);
		assert_non_null(type->help);
		assert_non_null(type->destroy);
		assert_true(i == 0 || strcmp(device_types[i - 1]->name, type->name) < 0);
		assert_true(!type->state || strcmp(type->state->kind, type->name) == 0);
		assert_true(!type->state || (type->state->oldest >= 1 && type->state->oldest <= type->state->version));
	}
}

static void long_names_are_cut(void **state)
{
	struct device device;

	(void)state;
	device_init(&device, &finisher_type, "0123456789012345678901234567890123456789", gpa(4), 8);
	assert_string_equal(device.name, "0123456789012345678901234567890");
	device_finish(&device);
	device_free(NULL);
}

static void windows_do_not_overlap(void **state)
{
	struct error e;

	(void)state;
	for (unsigned i = 0; i < DEVICES; i++)
		bench_add(&t.bench, t.devices[i]);
	assert_int_equal(t.bench.bus.count, DEVICES);
	assert_int_equal(device_attach(t.uart, &t.bench.bus, &e), -EINVAL);
}

static void wires_run_from_device_to_hart(void **state)
{
	uint64_t source;

	(void)state;
	for (unsigned i = 0; i < DEVICES; i++)
		bench_add(&t.bench, t.devices[i]);
	bench_write(&t.bench, 0xc000000 + 4 * 10, 1, 4);
	bench_write(&t.bench, 0xc002080, 1 << 10, 4);
	bench_write(&t.bench, 0x10000001, 1, 1);
	assert_int_equal(uart16550_receive(t.uart, (const uint8_t *)"x", 1), 1);
	assert_true(bench_pending(&t.bench, 0, IRQ_SEI));
	source = bench_read(&t.bench, 0xc201004, 4);
	assert_int_equal(source, 10);
	bench_read(&t.bench, 0x10000000, 1);
	bench_write(&t.bench, 0xc201004, source, 4);
	assert_false(bench_pending(&t.bench, 0, IRQ_SEI));
}

static void state_of_another_device_is_refused(void **state)
{
	struct saved saved = bench_save(t.uart);
	struct error e;

	(void)state;
	assert_int_equal(device_load(t.devices[2], &saved.section, &e), -EBADMSG);
	assert_int_equal(device_load(t.devices[5], &saved.section, &e), -EBADMSG);
	saved.section.length--;
	assert_int_equal(device_load(t.uart, &saved.section, &e), -EBADMSG);
	saved.section.length++;
	bench_load(t.uart, &saved);
	free(saved.payload);
}

static void stateless_devices_save_nothing(void **state)
{
	struct state_writer w;

	(void)state;
	state_writer_init(&w);
	device_save(t.devices[4], &w);
	device_save(t.devices[5], &w);
	assert_int_equal(w.length, 0);
	state_writer_finish(&w);
}

static void *described(void)
{
	struct fdt_writer w;
	struct error e;
	void *blob;
	size_t size;

	assert_int_equal(fdt_writer_init(&w, 1 << 16, &e), 0);
	fdt_u32(&w, "#address-cells", 2);
	fdt_u32(&w, "#size-cells", 2);
	fdt_node(&w, "soc");
	for (unsigned i = 0; i < DEVICES; i++)
		device_describe(t.devices[i], &w);
	fdt_end(&w);
	assert_int_equal(fdt_writer_finish(&w, &blob, &size, &e), 0);
	assert_int_equal(fdt_check_full(blob, size), 0);
	return blob;
}

static void assert_cells(const void *blob, const char *path, const char *property, const uint32_t *expected,
			 unsigned count)
{
	int length, node = fdt_path_offset(blob, path);
	const uint8_t *bytes = fdt_getprop(blob, node, property, &length);

	assert_non_null(bytes);
	assert_int_equal(length, count * 4);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(fdt32_ld((const fdt32_t *)(const void *)(bytes + 4 * i)), expected[i]);
}

static uint32_t cell(const void *blob, const char *path, const char *property)
{
	int length;
	const fdt32_t *value = fdt_getprop(blob, fdt_path_offset(blob, path), property, &length);

	assert_non_null(value);
	assert_int_equal(length, 4);
	return fdt32_ld(value);
}

static void assert_compatible(const void *blob, const char *path, const char *compatible)
{
	int node = fdt_path_offset(blob, path);

	if (node < 0)
		fail_msg("%s: %s", path, fdt_strerror(node));
	assert_int_equal(fdt_node_check_compatible(blob, node, compatible), 0);
}

static void nodes_match_the_drivers(void **state)
{
	static const char *const nodes[][2] = {
		{"/soc/plic@c000000", "sifive,plic-1.0.0"}, {"/soc/plic@c000000", "riscv,plic0"},
		{"/soc/serial@10000000", "ns16550a"},       {"/soc/rtc@101000", "google,goldfish-rtc"},
		{"/soc/clint@2000000", "sifive,clint0"},    {"/soc/clint@2000000", "riscv,clint0"},
		{"/soc/sswi@2f00000", "riscv,aclint-sswi"}, {"/soc/test@100000", "sifive,test1"},
		{"/soc/test@100000", "sifive,test0"},       {"/soc/test@100000", "syscon"},
		{"/soc/poweroff", "syscon-poweroff"},       {"/soc/reboot", "syscon-reboot"},
	};
	static const uint32_t plic_reg[] = {0, 0xc000000, 0, 0x600000}, uart_reg[] = {0, 0x10000000, 0, 0x100};
	void *blob = described();
	uint32_t plic = cell(blob, "/soc/plic@c000000", "phandle");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		assert_compatible(blob, nodes[i][0], nodes[i][1]);
	assert_cells(blob, "/soc/plic@c000000", "reg", plic_reg, 4);
	assert_cells(blob, "/soc/serial@10000000", "reg", uart_reg, 4);
	assert_int_equal(plic, FDT_FIRST_PHANDLE);
	assert_int_equal(cell(blob, "/soc/plic@c000000", "riscv,ndev"), PLIC_SOURCES);
	assert_int_equal(cell(blob, "/soc/serial@10000000", "interrupt-parent"), plic);
	assert_int_equal(cell(blob, "/soc/serial@10000000", "interrupts"), 10);
	assert_int_equal(cell(blob, "/soc/rtc@101000", "interrupts"), 11);
	assert_int_equal(cell(blob, "/soc/poweroff", "value"), 0x5555);
	assert_int_equal(cell(blob, "/soc/reboot", "value"), 0x7777);
	assert_int_equal(cell(blob, "/soc/reboot", "regmap"), cell(blob, "/soc/test@100000", "phandle"));
	free(blob);
}

/* With firmware both of a hart's contexts are wired; with the monitor in M-mode only the supervisor's. */
static void machine_mode_wires_follow_the_firmware(void **state)
{
	static const uint32_t firmware[] = {1, 11, 1, 9, 2, 11, 2, 9}, timers[] = {1, 3, 1, 7, 2, 3, 2, 7};
	static const uint32_t monitor[] = {1, UINT32_MAX, 1, 9, 2, UINT32_MAX, 2, 9}, software[] = {1, 1, 2, 1};
	void *blob;

	(void)state;
	t.bench.cluster.count = 2;
	blob = described();
	assert_cells(blob, "/soc/plic@c000000", "interrupts-extended", firmware, 8);
	assert_cells(blob, "/soc/clint@2000000", "interrupts-extended", timers, 8);
	free(blob);
	t.bench.cluster.sbi = (struct sbi *)&t;
	blob = described();
	assert_cells(blob, "/soc/plic@c000000", "interrupts-extended", monitor, 8);
	assert_int_equal(fdt_path_offset(blob, "/soc/clint@2000000"), -FDT_ERR_NOTFOUND);
	assert_cells(blob, "/soc/sswi@2f00000", "interrupts-extended", software, 4);
	free(blob);
}

static void largest_cluster_is_described(void **state)
{
	struct device *plic, *aclint;
	struct hart_cluster cluster = {.count = RISCV_HARTS_MAX};
	struct fdt_writer w;
	struct error e;
	void *blob;
	size_t size;

	(void)state;
	assert_int_equal(plic_new(&plic, "plic", gpa(0xc000000), &cluster, &e), 0);
	assert_int_equal(aclint_new(&aclint, "aclint", gpa(0x2000000), &cluster, &e), 0);
	assert_int_equal(fdt_writer_init(&w, 1 << 16, &e), 0);
	device_describe(plic, &w);
	device_describe(aclint, &w);
	assert_int_equal(fdt_writer_finish(&w, &blob, &size, &e), 0);
	assert_int_equal(fdt_check_full(blob, size), 0);
	free(blob);
	device_free(plic);
	device_free(aclint);
}

static void writer_properties(void **state)
{
	static const char *const texts[] = {"one", "two", NULL};
	struct fdt_writer w;
	struct error e;
	void *blob;
	size_t size;
	int length;

	(void)state;
	assert_int_equal(fdt_writer_init(&w, 4096, &e), 0);
	fdt_texts(&w, "texts", texts);
	fdt_empty(&w, "empty");
	fdt_u64(&w, "wide", UINT64_C(0x123456789abcdef0));
	fdt_bytes(&w, "bytes", "\1\2\3", 3);
	assert_int_equal(fdt_new_phandle(&w), FDT_FIRST_PHANDLE);
	assert_int_equal(fdt_new_phandle(&w), FDT_FIRST_PHANDLE + 1);
	assert_int_equal(fdt_writer_finish(&w, &blob, &size, &e), 0);
	assert_memory_equal(fdt_getprop(blob, 0, "texts", &length), "one\0two", 8);
	assert_int_equal(length, 8);
	assert_non_null(fdt_getprop(blob, 0, "empty", &length));
	assert_int_equal(length, 0);
	assert_memory_equal(fdt_getprop(blob, 0, "wide", &length), "\x12\x34\x56\x78\x9a\xbc\xde\xf0", 8);
	assert_memory_equal(fdt_getprop(blob, 0, "bytes", &length), "\1\2\3", 3);
	free(blob);
}

static void writer_failures(void **state)
{
	static const uint32_t cells[64] = {0};
	struct fdt_writer w;
	struct error e;
	void *blob = &t;
	size_t size = 7;

	(void)state;
	assert_int_equal(fdt_writer_init(&w, 256, &e), 0);
	fdt_cells(&w, "cells", cells, 64);
	fdt_u32(&w, "small", 1);
	assert_int_equal(fdt_writer_finish(&w, &blob, &size, &e), -ENOSPC);
	assert_ptr_equal(blob, &t);
	assert_int_equal(size, 7);
	fdt_writer_discard(&w);
	assert_int_equal(fdt_writer_init(&w, 4, &e), 0);
	assert_int_equal(fdt_writer_finish(&w, &blob, &size, &e), -ENOSPC);
	assert_int_equal(fdt_writer_init(&w, 4096, &e), 0);
	fdt_node(&w, "open");
	assert_int_equal(fdt_writer_finish(&w, &blob, &size, &e), -EINVAL);
	assert_int_equal(fdt_writer_init(&w, 4096, &e), 0);
	fdt_end(&w);
	assert_int_equal(fdt_writer_finish(&w, &blob, &size, &e), -EINVAL);
	assert_int_equal(fdt_writer_init(&w, 4096, &e), 0);
	fdt_node(&w, "%0100d", 1);
	fdt_end(&w);
	assert_int_equal(fdt_writer_finish(&w, &blob, &size, &e), -EINVAL);
	assert_int_equal(fdt_writer_init(&w, 4096, &e), 0);
	fdt_writer_discard(&w);
	fdt_u32(&w, "late", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(types_are_well_formed, setup, teardown),
		cmocka_unit_test_setup_teardown(long_names_are_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(windows_do_not_overlap, setup, teardown),
		cmocka_unit_test_setup_teardown(wires_run_from_device_to_hart, setup, teardown),
		cmocka_unit_test_setup_teardown(state_of_another_device_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(stateless_devices_save_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(nodes_match_the_drivers, setup, teardown),
		cmocka_unit_test_setup_teardown(machine_mode_wires_follow_the_firmware, setup, teardown),
		cmocka_unit_test_setup_teardown(largest_cluster_is_described, setup, teardown),
		cmocka_unit_test(writer_properties),
		cmocka_unit_test(writer_failures),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
