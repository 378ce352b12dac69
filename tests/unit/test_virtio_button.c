/* The power button: what a driver finds, what it gets when somebody presses, and a hostile one. */
#include "hostile_driver.h"

#include "device/virtio/button.h"

#define EVENTS     0
#define STATUS     1
#define EVENT_SIZE 8

enum { SELECT_NAME = 1, SELECT_SERIAL = 2, SELECT_IDS = 3, SELECT_PROPERTIES = 0x10, SELECT_EVENTS = 0x11 };

static struct virtio_bench bench;

static int setup(void **state)
{
	struct virtio *button;

	(void)state;
	virtio_bench_init(&bench);
	assert_int_equal(virtio_button_new(&button, "button0", bench.worker, NULL), 0);
	virtio_bench_place(&bench, button);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtio_bench_finish(&bench);
	return 0;
}

static void put_byte(uint64_t offset, uint8_t value)
{
	config_put(&bench, offset, value, 1);
}

static uint8_t get_byte(uint64_t offset)
{
	return (uint8_t)config_get(&bench, offset, 1);
}

/* Returns the length of what is told about it. */
static unsigned ask(uint8_t select, uint8_t subselect, uint8_t data[128])
{
	put_byte(0, select);
	put_byte(1, subselect);
	for (unsigned i = 0; i < 128; i++)
		data[i] = get_byte(8 + i);
	return get_byte(2);
}

static void what_a_driver_finds(void **state)
{
	uint8_t data[128];

	(void)state;
	assert_int_equal(reg_get(&bench, REG_ID), 18);
	assert_int_equal(ask(SELECT_NAME, 0, data), 12);
	assert_memory_equal(data, "Power Button", 13);
	assert_int_equal(ask(SELECT_IDS, 0, data), 8);
	assert_int_equal(data[0], 6); /* BUS_VIRTUAL */
	assert_int_equal(ask(SELECT_EVENTS, 1, data), 15);
	for (unsigned key = 0; key < 1024; key++)
		assert_int_equal(data[key / 8] >> key % 8 & 1, key == 116);
	assert_int_equal(ask(SELECT_NAME, 1, data), 0);
	assert_int_equal(data[0], 0);
	for (unsigned type = 2; type < 32; type++)
		assert_int_equal(ask(SELECT_EVENTS, (uint8_t)type, data), 0);
	assert_int_equal(ask(SELECT_SERIAL, 0, data), 0);
	assert_int_equal(ask(SELECT_PROPERTIES, 0, data), 0);
	put_byte(2, 99); /* not the driver's to write */
	assert_int_equal(get_byte(2), 0);
}

static void offer_events(unsigned count, uint32_t size)
{
	for (unsigned i = 0; i < count; i++) {
		const struct piece piece = {BENCH_DATA + i * EVENT_SIZE, size, 2};

		(void)ring_add(&bench.rings[EVENTS], &piece, 1);
	}
	bench_kick(&bench, EVENTS);
}

static void expect_event(unsigned index, uint16_t type, uint16_t code, uint32_t value)
{
	const uint8_t *event = bench_bytes(&bench, BENCH_DATA + index * EVENT_SIZE);
	uint32_t length;
	uint16_t id;

	bench_wait_used(&bench, EVENTS, &id, &length);
	assert_int_equal(length, EVENT_SIZE);
	assert_int_equal(event[0] | event[1] << 8, type);
	assert_int_equal(event[2] | event[3] << 8, code);
	assert_int_equal(event[4], value);
}

static void expect_press(unsigned from)
{
	expect_event(from, 1, 116, 1);
	expect_event(from + 1, 0, 0, 0);
	expect_event(from + 2, 1, 116, 0);
	expect_event(from + 3, 0, 0, 0);
}

static bool anything_used(void)
{
	uint32_t length;
	uint16_t id;

	bench_settle(&bench);
	return ring_used(&bench.rings[EVENTS], &id, &length);
}

static void a_press(void **state)
{
	(void)state;
	bench_start(&bench, 0, 2, 16);
	offer_events(8, EVENT_SIZE);
	assert_false(anything_used());
	virtio_button_press(bench.virtio);
	expect_press(0);
	assert_false(anything_used());
	virtio_button_press(bench.virtio);
	expect_press(4);
}

/* The rest of a press waits for buffers; presses meanwhile are the same press. */
static void a_slow_driver(void **state)
{
	(void)state;
	bench_start(&bench, 0, 2, 16);
	virtio_button_press(bench.virtio);
	virtio_button_press(bench.virtio);
	assert_false(anything_used());
	offer_events(2, EVENT_SIZE);
	expect_event(0, 1, 116, 1);
	expect_event(1, 0, 0, 0);
	virtio_button_press(bench.virtio);
	offer_events(4, EVENT_SIZE);
	expect_event(0, 1, 116, 0);
	expect_event(1, 0, 0, 0);
	assert_false(anything_used());
}

static void nobody_listens(void **state)
{
	(void)state;
	virtio_button_press(bench.virtio);
	bench_start(&bench, 0, 2, 16);
	offer_events(4, EVENT_SIZE);
	assert_false(anything_used());
	virtio_button_press(bench.virtio);
	expect_event(0, 1, 116, 1);
	bench_start(&bench, 0, 2, 16);
	offer_events(4, EVENT_SIZE);
	assert_false(anything_used());
}

static void paused(void **state)
{
	(void)state;
	bench_start(&bench, 0, 2, 16);
	offer_events(4, EVENT_SIZE);
	device_pause(&bench.virtio->device);
	virtio_button_press(bench.virtio);
	assert_false(anything_used());
	device_resume(&bench.virtio->device);
	expect_press(0);
}

static void lights_are_taken(void **state)
{
	const struct piece piece = {BENCH_DATA, EVENT_SIZE, 0};

	(void)state;
	bench_start(&bench, 0, 2, 16);
	assert_int_equal(bench_transfer(&bench, STATUS, &piece, 1), 0);
}

/* Half a press is saved; more than a whole one is refused. */
static void saved_amid_a_press(void **state)
{
	struct device *device = &bench.virtio->device;
	struct state_section section;
	struct state_writer w;
	struct state_reader r;
	uint8_t *payload;
	struct error e;

	(void)state;
	bench_start(&bench, 0, 2, 16);
	virtio_button_press(bench.virtio);
	offer_events(1, EVENT_SIZE);
	expect_event(0, 1, 116, 1);
	device_pause(device);
	state_writer_init(&w);
	device_save(device, &w);
	assert_int_equal(w.failed, 0);
	state_reader_init(&r, w.bytes, w.length);
	assert_int_equal(state_next(&r, &section, &e), 1);
	device_reset(device);
	assert_int_equal(device_load(device, &section, &e), 0);
	payload = w.bytes + (section.payload - w.bytes);
	assert_int_equal(payload[section.length - 1], 3);
	payload[section.length - 1] = 5;
	assert_int_equal(device_load(device, &section, &e), -EINVAL);
	state_writer_finish(&w);
	device_resume(device);
	offer_events(4, EVENT_SIZE);
	expect_event(0, 0, 0, 0);
	expect_event(1, 1, 116, 0);
	expect_event(2, 0, 0, 0);
	assert_false(anything_used());
}

static void press_at_random(struct hostile *h, unsigned queue, uint8_t *bytes, uint32_t length)
{
	(void)queue;
	if (length)
		bytes[0] = (uint8_t)hostile_random(h);
	if (hostile_chance(h, 200))
		virtio_button_press(h->bench->virtio);
}

static void a_hostile_driver(void **state)
{
	struct hostile h;

	(void)state;
	hostile_init(&h, &bench, 2);
	h.fill = press_at_random;
	h.longest = 64;
	hostile_run(&h, hostile_count() / 4);
	bench_start(&bench, 0, 2, 16);
	offer_events(4, EVENT_SIZE);
	virtio_button_press(bench.virtio);
	expect_press(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_a_driver_finds),
		TEST(a_press),
		TEST(a_slow_driver),
		TEST(nobody_listens),
		TEST(paused),
		TEST(lights_are_taken),
		TEST(saved_amid_a_press),
		TEST(a_hostile_driver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
