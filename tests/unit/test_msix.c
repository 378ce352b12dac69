/* MSI-X alone: the table, masks, pending bits and routes. */
#include "pci_bench.h"

#define COUNT 5

static struct bus bus;
static struct pci_bench bench;
static struct msix msix;

static int set_up(void **state)
{
	(void)state;
	bus_init(&bus);
	pci_bench_init(&bench, &bus, true, false);
	msix_init(&msix, &bench.controller, COUNT, "part");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	msix_finish(&msix);
	device_free(bench.host);
	assert_int_equal(bench.routes_left, BENCH_ROUTES);
	return 0;
}

/* As drivers do: masked while it is half written. */
static void set_vector(unsigned vector, uint64_t address, uint32_t data)
{
	uint64_t at = vector * MSIX_ENTRY;

	msix_write(&msix, at + 12, 1, 4);
	msix_write(&msix, at, (uint32_t)address, 4);
	msix_write(&msix, at + 4, address >> 32, 4);
	msix_write(&msix, at + 8, data, 4);
	msix_write(&msix, at + 12, 0, 4);
}

static void a_message_goes_out(void **state)
{
	(void)state;
	msix_control(&msix, MSIX_ENABLE, true);
	assert_true(msix_enabled(&msix));
	assert_int_equal(bench.routes_left, BENCH_ROUTES - COUNT);
	set_vector(2, 0x1fee01000, 0x42);
	msix_fire(&msix, 2);
	msix_fire(&msix, 2);
	assert_int_equal(pci_bench_fired(&bench, 0x42), 2);
	assert_int_equal(bench.routes[2].message.address, 0x1fee01000);
	assert_int_equal(bench.routes[2].told, 1);
	assert_int_equal(msix_read_pending(&msix, 0, 8), 0);
	/* Vectors that there are not. */
	for (unsigned vector = COUNT; vector < 70000; vector += 1111)
		msix_fire(&msix, vector);
	assert_int_equal(msix_read_pending(&msix, 0, 8), 0);
	msix_control(&msix, 0, true);
	assert_int_equal(bench.routes_left, BENCH_ROUTES);
	msix_fire(&msix, 2);
	assert_int_equal(msix_read_pending(&msix, 0, 8), 0);
}

static void what_is_masked_waits(void **state)
{
	(void)state;
	msix_control(&msix, MSIX_ENABLE, true);
	set_vector(0, 0xfee00000, 7);
	/* By the vector's own mask, */
	msix_write(&msix, 12, 1, 4);
	msix_fire(&msix, 0);
	msix_fire(&msix, 0);
	assert_int_equal(msix_read_pending(&msix, 0, 4), 1);
	assert_int_equal(pci_bench_fired(&bench, 7), 0);
	msix_write(&msix, 12, 0, 4);
	assert_int_equal(pci_bench_fired(&bench, 7), 1);
	assert_int_equal(msix_read_pending(&msix, 0, 4), 0);
	/* by the function's, */
	msix_control(&msix, MSIX_ENABLE | MSIX_MASK, true);
	msix_fire(&msix, 0);
	assert_int_equal(pci_bench_fired(&bench, 7), 1);
	msix_control(&msix, MSIX_ENABLE, true);
	assert_int_equal(pci_bench_fired(&bench, 7), 2);
	/* and for want of leave to write to memory. */
	msix_control(&msix, MSIX_ENABLE, false);
	msix_fire(&msix, 0);
	assert_int_equal(msix_read_pending(&msix, 0, 8), 1);
	msix_control(&msix, MSIX_ENABLE, true);
	assert_int_equal(pci_bench_fired(&bench, 7), 3);
}

static void a_message_that_changes_is_told_once(void **state)
{
	(void)state;
	msix_control(&msix, MSIX_ENABLE, true);
	set_vector(1, 0xfee00000, 1);
	assert_int_equal(bench.routes[1].told, 1);
	msix_write(&msix, MSIX_ENTRY + 12, 1, 4);
	msix_write(&msix, MSIX_ENTRY + 12, 0, 4);
	assert_int_equal(bench.routes[1].told, 1);
	set_vector(1, 0xfee00000, 2);
	assert_int_equal(bench.routes[1].told, 2);
	/* Waiting messages go where the vector leads when they may. */
	msix_write(&msix, MSIX_ENTRY + 12, 1, 4);
	msix_fire(&msix, 1);
	set_vector(1, 0xfee00000, 3);
	assert_int_equal(pci_bench_fired(&bench, 3), 1);
	assert_int_equal(pci_bench_fired(&bench, 2), 0);
}

static void the_table_takes_words(void **state)
{
	(void)state;
	for (unsigned vector = 0; vector < COUNT; vector++) {
		uint64_t at = vector * MSIX_ENTRY;

		assert_int_equal(msix_read(&msix, at + 12, 4), 1);
		msix_write(&msix, at, UINT64_MAX, 8);
		msix_write(&msix, at + 8, UINT64_MAX, 8);
		assert_int_equal(msix_read(&msix, at, 8), 0xfffffffffffffffc);
		assert_int_equal(msix_read(&msix, at + 8, 8), 0x1ffffffff);
		/* Parts of words do nothing. */
		for (unsigned size = 1; size <= 2; size++) {
			msix_write(&msix, at + 8, 0, size);
			assert_int_equal(msix_read(&msix, at + 8, size), 0);
		}
		assert_int_equal(msix_read(&msix, at + 8, 4), 0xffffffff);
	}
	for (uint64_t at = COUNT * MSIX_ENTRY; at < 0x800; at += 8) {
		msix_write(&msix, at, UINT64_MAX, 8);
		assert_int_equal(msix_read(&msix, at, 8), 0);
	}
	assert_int_equal(msix_read_pending(&msix, 8, 8), 0);
	assert_int_equal(msix_read_pending(&msix, 0, 2), 0);
}

static void a_controller_without_room_costs_messages_only(void **state)
{
	(void)state;
	bench.routes_left = 2;
	msix_control(&msix, MSIX_ENABLE, true);
	for (unsigned vector = 0; vector < COUNT; vector++) {
		set_vector(vector, 0xfee00000, 10 + vector);
		msix_fire(&msix, vector);
		assert_int_equal(pci_bench_fired(&bench, 10 + vector), vector < 2);
	}
	msix_control(&msix, 0, true);
	assert_int_equal(bench.routes_left, 2);
	bench.routes_left = BENCH_ROUTES;
}

static void without_a_controller_it_is_never_on(void **state)
{
	struct msix none;

	(void)state;
	msix_init(&none, NULL, COUNT, "part");
	msix_control(&none, MSIX_ENABLE, true);
	assert_false(msix_enabled(&none));
	msix_fire(&none, 0);
	assert_int_equal(msix_read_pending(&none, 0, 4), 0);
	msix_finish(&none);
}

static void impossible_states_are_known(void **state)
{
	(void)state;
	assert_true(msix_possible(&msix));
	msix.pending = 1u << (COUNT - 1);
	assert_true(msix_possible(&msix));
	msix.pending = 1u << COUNT;
	assert_false(msix_possible(&msix));
	msix.pending = 0;
	msix.vectors[0].words[0] = 2;
	assert_false(msix_possible(&msix));
	msix.vectors[0].words[0] = 4;
	msix.vectors[MSIX_VECTORS_MAX - 1].words[3] = 3;
	assert_false(msix_possible(&msix));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_message_goes_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_masked_waits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_message_that_changes_is_told_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_table_takes_words, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_controller_without_room_costs_messages_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_controller_it_is_never_on, set_up, tear_down),
		cmocka_unit_test_setup_teardown(impossible_states_are_known, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("msix", tests, NULL, NULL);
}
