/* Virtio over PCI: capabilities, registers of every size, interrupts by wire and message, bus mastering, doorbells, state. */
#include "virtio_bench.h"

#include "device/virtio/balloon.h"
#include "device_bench.h"

static struct virtio_bench bench;

static void start(bool messages, bool doorbells)
{
	struct virtio *balloon;

	virtio_bench_init(&bench);
	assert_int_equal(virtio_balloon_new(&balloon, "balloon0", bench.worker, NULL), 0);
	virtio_bench_place_on_pci(&bench, balloon, messages, doorbells);
}

static int with_wires(void **state)
{
	(void)state;
	start(false, false);
	return 0;
}

static int with_messages(void **state)
{
	(void)state;
	start(true, false);
	return 0;
}

static int with_doorbells(void **state)
{
	(void)state;
	start(false, true);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	virtio_bench_finish(&bench);
	return 0;
}

static struct virtio_pci *carrier(void)
{
	return (struct virtio_pci *)bench.virtio->carrier;
}

static uint32_t get(unsigned offset, unsigned size)
{
	return pci_get(bench.pci, BENCH_SLOT, offset, size);
}

static void put(unsigned offset, uint32_t value, unsigned size)
{
	pci_put(bench.pci, BENCH_SLOT, offset, value, size);
}

static void set_master(bool master)
{
	put(PCI_COMMAND, PCI_COMMAND_MEMORY | (master ? PCI_COMMAND_MASTER : 0), 2);
}

/* The vendor's capability of a kind (4.1.4), or 0. */
static unsigned capability(uint8_t kind)
{
	unsigned at = 0;

	while ((at = pci_find(bench.pci, BENCH_SLOT, 0x09, at)))
		if (get(at + 3, 1) == kind)
			break;
	return at;
}

static void capabilities_lead_to_the_registers(void **state)
{
	static const struct {
		uint8_t kind;
		uint32_t offset, length;
	} expected[] = {{1, 0, 60}, {2, 0x4000, 20}, {3, 0x1000, 1}, {4, 0x2000, 8}, {5, 0, 0}};

	(void)state;
	assert_int_equal(get(PCI_VENDOR, 4), 0x10451af4);
	assert_int_equal(get(PCI_REVISION, 1), 1);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		unsigned at = capability(expected[i].kind);

		assert_int_not_equal(at, 0);
		assert_int_equal(get(at + 4, 1), 0);
		assert_int_equal(get(at + 8, 4), expected[i].offset);
		assert_int_equal(get(at + 12, 4), expected[i].length);
		assert_int_equal(get(at + 2, 1), expected[i].kind == 2 || expected[i].kind == 5 ? 20 : 16);
	}
	assert_int_equal(get(capability(2) + 16, 4), 4);
	assert_int_equal(pci_find(bench.pci, BENCH_SLOT, 0x11, 0), 0);
	put(PCI_BAR_0, 0xffffffff, 4);
	assert_int_equal(get(PCI_BAR_0, 4), 0xffff8004);
}

static void common_fields_have_one_width(void **state)
{
	static const uint8_t widths[60] = {[0] = 4,  [4] = 4,  [8] = 4,  [12] = 4, [16] = 2, [18] = 2, [20] = 1, [21] = 1,
					   [22] = 2, [24] = 2, [26] = 2, [28] = 2, [30] = 2, [32] = 4, [36] = 4, [40] = 4,
					   [44] = 4, [48] = 4, [52] = 4, [56] = 2, [58] = 2};

	(void)state;
	bar_put(&bench, 12, 0x5a5a5a5a, 4);
	bar_put(&bench, 20, 1, 1);
	bar_put(&bench, 22, 2, 2);
	for (unsigned word = 32; word < 56; word += 4)
		bar_put(&bench, word, 0x5a5a5a5a, 4);
	for (unsigned size = 1; size <= 8; size *= 2)
		for (unsigned at = 0; at < 60 && at + size <= 64; at += size) {
			uint64_t value = bar_get(&bench, at, size);

			if (widths[at] != size && !(size == 8 && at >= 32 && at < 56))
				assert_int_equal(value, 0);
			if (widths[at] != size && size != 8)
				bar_put(&bench, at, UINT64_MAX >> (64 - 8 * size), size);
		}
	assert_int_equal(bar_get(&bench, 32, 8), 0x5a5a5a5a5a5a5a5a);
	assert_int_equal(bar_get(&bench, 12, 4), 0x5a5a5a5a);
	assert_int_equal(bar_get(&bench, 20, 1), 1);
	assert_int_equal(bar_get(&bench, 22, 2), 2);
	bar_put(&bench, 40, 0x123456789a, 8);
	assert_int_equal(bar_get(&bench, 40, 4), 0x3456789a);
	assert_int_equal(bar_get(&bench, 44, 4), 0x12);
	/* Beyond the fields, and between the parts. */
	for (uint64_t at = 64; at < 0x8000; at += 0x108 - 8)
		for (unsigned size = 1; size <= 8; size *= 2) {
			if (at >= 0x2000 && at < 0x2100)
				continue;
			assert_int_equal(bar_get(&bench, at, size), 0);
			bar_put(&bench, at, UINT64_MAX >> (64 - 8 * size), size);
		}
	assert_int_equal(bar_get(&bench, 18, 2), 5);
}

static void a_queue_is_set_up_and_reset(void **state)
{
	const struct piece list = {BENCH_DATA, 4, 0};

	(void)state;
	assert_true(bench_negotiate(&bench, VIRTIO_F_VERSION_1 | VIRTIO_F_RING_RESET));
	assert_int_equal(bar_get(&bench, 12, 4), (uint32_t)((VIRTIO_F_VERSION_1 | VIRTIO_F_RING_RESET) >> 32));
	for (uint16_t i = 0; i < 5; i++) {
		bar_put(&bench, 22, i, 2);
		assert_int_equal(bar_get(&bench, 24, 2), bench.virtio->queues[i].size_max);
		assert_int_equal(bar_get(&bench, 30, 2), i);
		assert_int_equal(bar_get(&bench, 28, 2), 0);
	}
	bar_put(&bench, 22, 5, 2);
	assert_int_equal(bar_get(&bench, 24, 2), 0);
	assert_int_equal(bar_get(&bench, 26, 2), 0xffff);
	assert_true(bench_queue(&bench, 0, 16));
	/* A driver does not disable; nor is 2 an answer. */
	bar_put(&bench, 28, 0, 2);
	assert_int_equal(bar_get(&bench, 28, 2), 1);
	bench_driver_ok(&bench);
	(void)bench_transfer(&bench, 0, &list, 1);
	bar_put(&bench, 58, 2, 2);
	assert_int_equal(bar_get(&bench, 28, 2), 1);
	bar_put(&bench, 58, 1, 2);
	assert_int_equal(bar_get(&bench, 58, 2), 0);
	assert_int_equal(bar_get(&bench, 28, 2), 0);
	assert_int_equal(bar_get(&bench, 24, 2), bench.virtio->queues[0].size_max);
	assert_true(bench_queue(&bench, 0, 8));
	(void)bench_transfer(&bench, 0, &list, 1);
}

/* It may leave the size as it finds it. */
static void a_queue_is_as_large_as_offered(void **state)
{
	(void)state;
	assert_true(bench_negotiate(&bench, VIRTIO_F_VERSION_1));
	bar_put(&bench, 22, 1, 2);
	for (unsigned area = 0; area < 3; area++)
		bar_put(&bench, 32 + 8 * area, BENCH_RINGS + 0x10000 * area, 8);
	bar_put(&bench, 28, 1, 2);
	assert_int_equal(bar_get(&bench, 28, 2), 1);
	assert_int_equal(bar_get(&bench, 24, 2), bench.virtio->queues[1].size_max);
}

static void reading_the_status_takes_it(void **state)
{
	const struct piece list = {BENCH_DATA, 4, 0};

	(void)state;
	bench_start(&bench, 0, 2, 16);
	(void)bench_transfer(&bench, 0, &list, 1);
	for (unsigned i = 0; i < 5000 && !atomic_load(&bench.level); i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_true(atomic_load(&bench.level));
	assert_int_equal(get(PCI_STATUS, 2) & PCI_STATUS_WIRE, PCI_STATUS_WIRE);
	assert_int_equal(bar_get(&bench, 0x1000, 1), VIRTIO_USED_BUFFER);
	assert_false(atomic_load(&bench.level));
	assert_int_equal(bar_get(&bench, 0x1000, 1), 0);
	virtio_balloon_set_target(bench.virtio, 4096);
	assert_true(atomic_load(&bench.level));
	assert_int_equal(bar_get(&bench, 0x1001, 1), 0);
	/* Forbidden, it stays in the status. */
	put(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_WIRE, 2);
	assert_false(atomic_load(&bench.level));
	put(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	assert_true(atomic_load(&bench.level));
	assert_int_equal(bar_get(&bench, 0x1000, 4), VIRTIO_CONFIG_CHANGED);
	assert_false(atomic_load(&bench.level));
}

static void without_mastering_nothing_is_served(void **state)
{
	const struct piece list = {BENCH_DATA, 4, 0};
	uint16_t id;
	uint32_t length;

	(void)state;
	set_master(false);
	bench_start(&bench, 0, 2, 16);
	ring_add(&bench.rings[0], &list, 1);
	bench_kick(&bench, 0);
	bench_settle(&bench);
	assert_false(ring_used(&bench.rings[0], &id, &length));
	set_master(true);
	bench_wait_used(&bench, 0, &id, &length);
	(void)bench_transfer(&bench, 0, &list, 1);
	/* While it is live; and a reset does not bring it back. */
	set_master(false);
	ring_add(&bench.rings[0], &list, 1);
	bench_kick(&bench, 0);
	bench_settle(&bench);
	assert_false(ring_used(&bench.rings[0], &id, &length));
	bench_start(&bench, 0, 2, 16);
	ring_add(&bench.rings[0], &list, 1);
	bench_kick(&bench, 0);
	device_pause(&bench.virtio->device);
	device_resume(&bench.virtio->device);
	bench_settle(&bench);
	assert_false(ring_used(&bench.rings[0], &id, &length));
	set_master(true);
	bench_wait_used(&bench, 0, &id, &length);
}

/* 4.1.4.9: through a window in configuration space. */
static void access_by_configuration_space(void **state)
{
	unsigned at = capability(5);

	(void)state;
	put(at + 4, 0, 1);
	put(at + 8, 20, 4);
	put(at + 12, 1, 4);
	put(at + 16, VIRTIO_ACKNOWLEDGE, 1);
	assert_int_equal(bar_get(&bench, 20, 1), VIRTIO_ACKNOWLEDGE);
	bar_put(&bench, 20, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER, 1);
	assert_int_equal(get(at + 16, 1), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	put(at + 8, 18, 4);
	put(at + 12, 2, 4);
	assert_int_equal(get(at + 16, 2), 5);
	assert_int_equal(get(at + 16, 4) & 0xffff, 5);
	put(at + 8, 0x3fffffff, 4);
	put(at + 16, 1, 4);
	/* Ways that lead nowhere: another BAR, a length, an offset that is odd or beyond. */
	put(at + 8, 20, 4);
	for (unsigned bar = 1; bar < 256; bar++) {
		put(at + 4, bar, 1);
		put(at + 16, 0, 2);
	}
	put(at + 4, 0, 1);
	for (uint32_t length = 0; length < 9; length++) {
		put(at + 12, length, 4);
		if (length != 1 && length != 2 && length != 4)
			put(at + 16, 0, 4);
	}
	put(at + 12, 2, 4);
	for (uint32_t offset = 1; offset < 0x80000000; offset = offset << 1 | 1) {
		put(at + 8, offset, 4);
		put(at + 16, 0, 4);
	}
	put(at + 12, 1, 4);
	for (uint32_t offset = VIRTIO_PCI_BAR_SIZE; offset; offset <<= 1) {
		put(at + 8, offset, 4);
		put(at + 16, 0, 1);
	}
	assert_int_equal(bar_get(&bench, 20, 1), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
}

static void set_vector(unsigned vector, uint32_t data)
{
	uint64_t at = 0x3000 + vector * MSIX_ENTRY;

	bar_put(&bench, at, 0xfee00000, 4);
	bar_put(&bench, at + 4, 0, 4);
	bar_put(&bench, at + 8, data, 4);
	bar_put(&bench, at + 12, 0, 4);
}

static void set_messages(unsigned control)
{
	put(pci_find(bench.pci, BENCH_SLOT, 0x11, 0) + 2, control, 2);
}

static void wait_fired(uint32_t data, unsigned times)
{
	for (unsigned i = 0; i < 5000 && pci_bench_fired(bench.pci, data) < times; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(pci_bench_fired(bench.pci, data), times);
}

static void each_queue_has_its_message(void **state)
{
	const struct piece list = {BENCH_DATA, 4, 0};
	unsigned at = pci_find(bench.pci, BENCH_SLOT, 0x11, 0);

	(void)state;
	assert_int_equal(get(at + 2, 2), 5);
	assert_int_equal(get(at + 4, 4), 0x3000);
	assert_int_equal(get(at + 8, 4), 0x3800);
	for (unsigned i = 0; i < 3; i++)
		set_vector(i, 100 + i);
	set_messages(MSIX_ENABLE);
	bench_start(&bench, 0, 2, 16);
	bar_put(&bench, 16, 0, 2);
	for (uint16_t i = 0; i < 2; i++) {
		bar_put(&bench, 22, i, 2);
		assert_int_equal(bar_get(&bench, 26, 2), 0xffff);
		bar_put(&bench, 26, i + 1, 2);
		assert_int_equal(bar_get(&bench, 26, 2), i + 1);
	}
	(void)bench_transfer(&bench, 1, &list, 1);
	wait_fired(102, 1);
	assert_int_equal(bar_get(&bench, 0x1000, 1), 0);
	virtio_balloon_set_target(bench.virtio, 4096);
	wait_fired(100, 1);
	assert_int_equal(bar_get(&bench, 0x1000, 1), VIRTIO_CONFIG_CHANGED);
	assert_int_equal(pci_bench_fired(bench.pci, 101), 0);
	assert_int_equal(atomic_load(&bench.rises), 0);
	/* Masked, it waits in the bit; without a vector it is lost, and so it is after a reset. */
	bar_put(&bench, 0x3000 + 2 * MSIX_ENTRY + 12, 1, 4);
	(void)bench_transfer(&bench, 1, &list, 1);
	for (unsigned i = 0; i < 5000 && !bar_get(&bench, 0x3800, 8); i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	assert_int_equal(bar_get(&bench, 0x3800, 8), 4);
	bar_put(&bench, 0x3000 + 2 * MSIX_ENTRY + 12, 0, 4);
	wait_fired(102, 2);
	bar_put(&bench, 26, 6, 2);
	assert_int_equal(bar_get(&bench, 26, 2), 0xffff);
	bar_put(&bench, 20, 0, 1);
	assert_int_equal(bar_get(&bench, 16, 2), 0xffff);
	set_messages(0);
	assert_int_equal(bench.pci->routes_left, BENCH_ROUTES);
}

static void without_messages_there_are_no_vectors(void **state)
{
	(void)state;
	bar_put(&bench, 16, 0, 2);
	assert_int_equal(bar_get(&bench, 16, 2), 0xffff);
	bar_put(&bench, 22, 0, 2);
	bar_put(&bench, 26, 0, 2);
	assert_int_equal(bar_get(&bench, 26, 2), 0xffff);
	bar_put(&bench, 0x3000, UINT64_MAX, 8);
	assert_int_equal(bar_get(&bench, 0x3000, 8), 0);
}

static void doorbells_move_with_the_registers(void **state)
{
	const struct piece list = {BENCH_DATA, 4, 0};
	uint16_t id;
	uint32_t length;

	(void)state;
	assert_int_equal(bench.pci->bell_count, 5);
	bench_start(&bench, 0, 2, 16);
	ring_add(&bench.rings[1], &list, 1);
	assert_true(pci_bench_ring(bench.pci, BENCH_BAR + 0x4004, 2));
	bench_wait_used(&bench, 1, &id, &length);
	/* By the bus it comes as well. */
	(void)bench_transfer(&bench, 1, &list, 1);
	pci_put_bar(bench.pci, BENCH_SLOT, 0, BENCH_HIGH);
	assert_int_equal(bench.pci->bell_count, 5);
	ring_add(&bench.rings[0], &list, 1);
	assert_false(pci_bench_ring(bench.pci, BENCH_BAR + 0x4000, 2));
	assert_true(pci_bench_ring(bench.pci, BENCH_HIGH + 0x4000, 2));
	bench_wait_used(&bench, 0, &id, &length);
	put(PCI_COMMAND, PCI_COMMAND_MASTER, 2);
	assert_int_equal(bench.pci->bell_count, 0);
	/* No room with the engine is no failure. */
	bench.pci->bell_count = BENCH_BELLS;
	set_master(true);
	put(PCI_COMMAND, 0, 2);
	assert_int_equal(bench.pci->bell_count, BENCH_BELLS);
	bench.pci->bell_count = 0;
}

static void state_moves(void **state)
{
	const struct piece list = {BENCH_DATA, 4, 0};
	struct saved own, function;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		set_vector(i, 100 + i);
	set_messages(MSIX_ENABLE);
	bench_start(&bench, 0, 2, 16);
	bar_put(&bench, 22, 0, 2);
	bar_put(&bench, 26, 1, 2);
	bar_put(&bench, 0x3000 + MSIX_ENTRY + 12, 1, 4);
	(void)bench_transfer(&bench, 0, &list, 1);
	for (unsigned i = 0; i < 5000 && !bar_get(&bench, 0x3800, 8); i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	device_pause(&bench.virtio->device);
	function = bench_save(bench.virtio->carrier);
	own = bench_save(&bench.virtio->device);
	device_reset(bench.virtio->carrier);
	device_reset(&bench.virtio->device);
	assert_int_equal(bench.pci->routes_left, BENCH_ROUTES);
	bench_load(bench.virtio->carrier, &function);
	bench_load(&bench.virtio->device, &own);
	device_resume(&bench.virtio->device);
	assert_int_equal(bar_get(&bench, 0x3800, 8), 2);
	bar_put(&bench, 0x3000 + MSIX_ENTRY + 12, 0, 4);
	wait_fired(101, 1);
	(void)bench_transfer(&bench, 0, &list, 1);
	wait_fired(101, 2);
	free(own.payload);
	free(function.payload);
}

static void forged_states_are_refused(void **state)
{
	struct device *device = bench.virtio->carrier;

	(void)state;
	bench_refuses(device, "function.config", PCI_VENDOR, 0);
	bench_refuses(device, "function.config", PCI_COMMAND, 0x80);
	bench_refuses(device, "function.config", PCI_BAR_0, 0);
	bench_refuses(device, "function.config", PCI_BAR_0 + 1, 1);
	bench_refuses(device, "config_vector", 0, 6);
	bench_refuses(device, "queue_vectors", 17, 7);
	bench_refuses(device, "msix.pending", 0, 1 << 6);
	bench_refuses(device, "msix.vectors.words", 3, 2);
	bench_refuses(device, "msix.vectors.words", 4, 1);
}

/* A vector is possible only where there are messages. */
static void states_with_messages_need_them(void **state)
{
	(void)state;
	bench_refuses(bench.virtio->carrier, "config_vector", 0, 1);
	bench_refuses(bench.virtio->carrier, "function.config", carrier()->access + 20, 0x11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(capabilities_lead_to_the_registers, with_wires, tear_down),
		cmocka_unit_test_setup_teardown(common_fields_have_one_width, with_wires, tear_down),
		cmocka_unit_test_setup_teardown(a_queue_is_set_up_and_reset, with_wires, tear_down),
		cmocka_unit_test_setup_teardown(a_queue_is_as_large_as_offered, with_wires, tear_down),
		cmocka_unit_test_setup_teardown(reading_the_status_takes_it, with_wires, tear_down),
		cmocka_unit_test_setup_teardown(without_mastering_nothing_is_served, with_wires, tear_down),
		cmocka_unit_test_setup_teardown(access_by_configuration_space, with_wires, tear_down),
		cmocka_unit_test_setup_teardown(each_queue_has_its_message, with_messages, tear_down),
		cmocka_unit_test_setup_teardown(without_messages_there_are_no_vectors, with_wires, tear_down),
		cmocka_unit_test_setup_teardown(doorbells_move_with_the_registers, with_doorbells, tear_down),
		cmocka_unit_test_setup_teardown(state_moves, with_messages, tear_down),
		cmocka_unit_test_setup_teardown(forged_states_are_refused, with_messages, tear_down),
		cmocka_unit_test_setup_teardown(states_with_messages_need_them, with_wires, tear_down),
	};

	return cmocka_run_group_tests_name("virtio-pci", tests, NULL, NULL);
}
