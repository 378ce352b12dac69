#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bus/bus.h"
#include "bus/irq.h"

struct toy {
	uint64_t offset, value;
	unsigned size, calls;
};

static uint64_t toy_read(void *device, uint64_t offset, unsigned size)
{
	struct toy *toy = device;

	toy->offset = offset;
	toy->size = size;
	toy->calls++;
	return toy->value;
}

static void toy_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct toy *toy = device;

	toy->offset = offset;
	toy->size = size;
	toy->value = value;
	toy->calls++;
}

static const struct bus_ops any_size = {toy_read, toy_write, 1 | 2 | 4 | 8};
static const struct bus_ops words_only = {toy_read, toy_write, 4};

static int add(struct bus *bus, uint64_t base, uint64_t size, const struct bus_ops *ops, struct toy *toy)
{
	const struct bus_region region = {
		.base = gpa(base), .size = size, .ops = ops, .device = toy, .name = "toy"};
	struct error e = {0};
	int code = bus_add(bus, &region, &e);

	assert_int_equal(code != 0, e.message[0] != '\0');
	return code;
}

static void right_device_and_offset(void **state)
{
	struct toy toys[3] = {{.value = 10}, {.value = 11}, {.value = 12}};
	struct bus bus;
	uint64_t value;

	(void)state;
	bus_init(&bus);
	assert_int_equal(add(&bus, 0x3000, 0x100, &any_size, &toys[2]), 0);
	assert_int_equal(add(&bus, 0x1000, 0x100, &any_size, &toys[0]), 0);
	assert_int_equal(add(&bus, 0x1100, 0x100, &any_size, &toys[1]), 0);
	assert_int_equal(bus_read(&bus, gpa(0x1000), 4, &value), 0);
	assert_int_equal(value, 10);
	assert_int_equal(bus_read(&bus, gpa(0x11f8), 8, &value), 0);
	assert_int_equal(value, 11);
	assert_int_equal(toys[1].offset, 0xf8);
	assert_int_equal(toys[1].size, 8);
	assert_int_equal(bus_write(&bus, gpa(0x3002), 2, 77), 0);
	assert_int_equal(toys[2].value, 77);
	assert_int_equal(toys[2].offset, 2);
}

static void nothing_answers(void **state)
{
	struct toy toy = {0};
	struct bus bus;
	uint64_t value = 99;

	(void)state;
	bus_init(&bus);
	assert_int_equal(bus_read(&bus, gpa(0), 4, &value), -EFAULT);
	assert_int_equal(add(&bus, 0x1000, 0x102, &any_size, &toy), 0);
	assert_int_equal(bus_read(&bus, gpa(0xffc), 4, &value), -EFAULT);
	assert_int_equal(bus_read(&bus, gpa(0x1100), 4, &value), -EFAULT);
	assert_int_equal(bus_read(&bus, gpa(0x1104), 4, &value), -EFAULT);
	assert_int_equal(bus_write(&bus, gpa(UINT64_MAX - 7), 8, 1), -EFAULT);
	assert_int_equal(bus_read(&bus, gpa(0x1100), 2, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(toy.calls, 1);
}

static void sizes_and_alignment(void **state)
{
	struct toy toy = {0};
	struct bus bus;
	uint64_t value = 99;

	(void)state;
	bus_init(&bus);
	assert_int_equal(add(&bus, 0x1000, 0x10, &words_only, &toy), 0);
	assert_int_equal(add(&bus, 0x2000, 0x10, &any_size, &toy), 0);
	for (unsigned size = 0; size < 40; size++)
		assert_int_equal(bus_read(&bus, gpa(0x1000), size, &value), size == 4 ? 0 : -EFAULT);
	for (unsigned size = 0; size < 40; size++)
		assert_int_equal(bus_write(&bus, gpa(0x2000), size, 0),
				 size == 1 || size == 2 || size == 4 || size == 8 ? 0 : -EFAULT);
	for (unsigned at = 0; at < 8; at++)
		assert_int_equal(bus_read(&bus, gpa(0x2000 + at), 4, &value), at % 4 ? -EFAULT : 0);
}

static void overlaps_are_refused(void **state)
{
	struct toy toy = {0};
	struct bus bus;

	(void)state;
	bus_init(&bus);
	assert_int_equal(add(&bus, 0x1000, 0x100, &any_size, &toy), 0);
	assert_int_equal(add(&bus, 0x1000, 0x100, &any_size, &toy), -EINVAL);
	assert_int_equal(add(&bus, 0x10ff, 1, &any_size, &toy), -EINVAL);
	assert_int_equal(add(&bus, 0xfff, 2, &any_size, &toy), -EINVAL);
	assert_int_equal(add(&bus, 0, 0x10000, &any_size, &toy), -EINVAL);
	assert_int_equal(add(&bus, 0x5000, 0, &any_size, &toy), -EINVAL);
	assert_int_equal(add(&bus, UINT64_MAX, 2, &any_size, &toy), -EINVAL);
	assert_int_equal(bus.count, 1);
	assert_int_equal(add(&bus, UINT64_MAX, 1, &any_size, &toy), 0);
	assert_int_equal(add(&bus, 0, 0x1000, &any_size, &toy), 0);
	assert_int_equal(add(&bus, 0x1100, 1, &any_size, &toy), 0);
	assert_int_equal(bus.count, 4);
}

static void a_full_bus(void **state)
{
	struct toy toys[BUS_REGIONS_MAX];
	struct bus bus;
	uint64_t value;

	(void)state;
	bus_init(&bus);
	for (unsigned i = 0; i < BUS_REGIONS_MAX; i++) {
		unsigned place = i * 37 % BUS_REGIONS_MAX;

		toys[place] = (struct toy){.value = place};
		assert_int_equal(add(&bus, place * 0x100, 0x80, &any_size, &toys[place]), 0);
	}
	assert_int_equal(add(&bus, 0x100000, 1, &any_size, &toys[0]), -ENOSPC);
	for (unsigned i = 0; i < BUS_REGIONS_MAX; i++) {
		assert_int_equal(bus_read(&bus, gpa(i * 0x100 + 0x7f), 1, &value), 0);
		assert_int_equal(value, i);
		assert_int_equal(bus_read(&bus, gpa(i * 0x100 + 0x80), 1, &value), -EFAULT);
	}
}

struct counter {
	struct bus bus;
	unsigned long count; /* only the bus's lock guards it */
};

static uint64_t count_up(void *device, uint64_t offset, unsigned size)
{
	struct counter *counter = device;

	(void)offset;
	(void)size;
	return ++counter->count;
}

static void *count_much(void *arg)
{
	struct counter *counter = arg;
	uint64_t value;

	for (int i = 0; i < 20000; i++)
		if (bus_read(&counter->bus, gpa(0x10), 4, &value) < 0)
			break;
	return NULL;
}

static void the_lock_is_held_inside(void **state)
{
	static const struct bus_ops ops = {count_up, toy_write, 4};
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct counter counter = {.count = 0};
	const struct bus_region region = {
		.base = gpa(0x10), .size = 4, .ops = &ops, .device = &counter, .lock = &lock, .name = "counter"};
	pthread_t threads[3];

	(void)state;
	bus_init(&counter.bus);
	assert_int_equal(bus_add(&counter.bus, &region, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_much, &counter), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(counter.count, 60000);
}

static void note_level(void *controller, unsigned number, bool level)
{
	*(unsigned *)controller = number * 2 + level;
}

static void wires(void **state)
{
	const struct irq_line loose = {0};
	unsigned seen = 0;
	const struct irq_line line = {note_level, &seen, 5};

	(void)state;
	irq_set(&loose, true);
	irq_set(&line, true);
	assert_int_equal(seen, 11);
	irq_set(&line, false);
	assert_int_equal(seen, 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_device_and_offset),
		cmocka_unit_test(nothing_answers),
		cmocka_unit_test(sizes_and_alignment),
		cmocka_unit_test(overlaps_are_refused),
		cmocka_unit_test(a_full_bus),
		cmocka_unit_test(the_lock_is_held_inside),
		cmocka_unit_test(wires),
	};

	return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
