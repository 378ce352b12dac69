#include "device_bench.h"

#include <time.h>

#define BASE UINT64_C(0x101000)

enum {
	TIME_LOW = 0x00,
	TIME_HIGH = 0x04,
	ALARM_LOW = 0x08,
	ALARM_HIGH = 0x0c,
	IRQ_ENABLED = 0x10,
	CLEAR_ALARM = 0x14,
	ALARM_STATUS = 0x18,
	CLEAR_INTERRUPT = 0x1c,
};

#define SECOND UINT64_C(1000000000)
#define HOUR   (3600 * SECOND)

static struct {
	struct bench bench;
	struct probe wire;
	struct device *rtc;
	unsigned changes;
} t;

static void count_change(void *opaque)
{
	assert_ptr_equal(opaque, &t);
	t.changes++;
}

static struct device *new_rtc(uint64_t base, struct probe *wire)
{
	struct device *rtc;
	struct error e;

	assert_int_equal(goldfish_rtc_new(&rtc, "rtc", gpa(base), probe_line(wire), &e), 0);
	return rtc;
}

static int setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	bench_init(&t.bench);
	t.rtc = new_rtc(BASE, &t.wire);
	bench_add(&t.bench, t.rtc);
	goldfish_rtc_on_alarm(t.rtc, count_change, &t);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	device_free(t.rtc);
	return 0;
}

static uint64_t in(uint64_t reg)
{
	return bench_read(&t.bench, BASE + reg, 4);
}

static void out(uint64_t reg, uint64_t value)
{
	bench_write(&t.bench, BASE + reg, value & 0xffffffff, 4);
}

static uint64_t host_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static uint64_t rtc_now(void)
{
	uint64_t low = in(TIME_LOW);

	return in(TIME_HIGH) << 32 | low;
}

static void set_alarm(uint64_t time)
{
	out(ALARM_HIGH, time >> 32);
	out(ALARM_LOW, time);
	out(IRQ_ENABLED, 1);
}

static void tells_host_time(void **state)
{
	uint64_t before = host_now(), told = rtc_now(), after = host_now();

	(void)state;
	assert_in_range(told, before, after);
}

static void high_half_is_latched(void **state)
{
	uint64_t high;

	(void)state;
	in(TIME_LOW);
	high = in(TIME_HIGH);
	out(TIME_HIGH, high + 5);
	assert_int_equal(in(TIME_HIGH), high);
	in(TIME_LOW);
	assert_in_range(in(TIME_HIGH), high + 5, high + 6);
}

/* In the order of drivers: the high half first. */
static void guest_sets_the_time(void **state)
{
	uint64_t wanted = 86400 * SECOND;

	(void)state;
	out(TIME_HIGH, wanted >> 32);
	out(TIME_LOW, wanted);
	assert_in_range(rtc_now(), wanted, wanted + 5 * SECOND);
}

static void alarm_in_the_future(void **state)
{
	uint64_t due = host_now() + HOUR;

	(void)state;
	assert_int_equal(goldfish_rtc_next_alarm(t.rtc), UINT64_MAX);
	set_alarm(due);
	assert_true(t.changes > 0);
	assert_int_equal(in(ALARM_STATUS), 1);
	assert_int_equal(in(ALARM_HIGH) << 32 | in(ALARM_LOW), due);
	assert_int_equal(goldfish_rtc_next_alarm(t.rtc), due);
	goldfish_rtc_poll(t.rtc);
	assert_false(t.wire.level);
	out(CLEAR_ALARM, 1);
	assert_int_equal(in(ALARM_STATUS), 0);
	assert_int_equal(goldfish_rtc_next_alarm(t.rtc), UINT64_MAX);
}

static void alarm_when_due(void **state)
{
	struct timespec pause = {.tv_nsec = 30000000};

	(void)state;
	set_alarm(host_now() + 20000000);
	nanosleep(&pause, NULL);
	assert_false(t.wire.level);
	goldfish_rtc_poll(t.rtc);
	assert_true(t.wire.level);
	assert_int_equal(in(ALARM_STATUS), 0);
	assert_int_equal(goldfish_rtc_next_alarm(t.rtc), UINT64_MAX);
	out(IRQ_ENABLED, 0);
	assert_false(t.wire.level);
	out(IRQ_ENABLED, 1);
	assert_true(t.wire.level);
	out(CLEAR_INTERRUPT, 1);
	assert_false(t.wire.level);
	goldfish_rtc_poll(t.rtc);
	assert_false(t.wire.level);
	assert_int_equal(t.wire.rises, 2);
}

static void alarm_in_the_past_is_due_at_once(void **state)
{
	(void)state;
	out(IRQ_ENABLED, 1);
	out(ALARM_HIGH, 0);
	assert_false(t.wire.level);
	out(ALARM_LOW, 1);
	assert_true(t.wire.level);
}

static void setting_the_time_moves_the_alarm(void **state)
{
	uint64_t due = host_now() + HOUR, high, next;

	(void)state;
	set_alarm(due);
	in(TIME_LOW);
	high = in(TIME_HIGH);
	out(TIME_HIGH, high - 100);
	next = goldfish_rtc_next_alarm(t.rtc);
	assert_in_range(next, due + (UINT64_C(98) << 32), due + (UINT64_C(102) << 32));
	assert_false(t.wire.level);
	out(TIME_HIGH, high + 0x10000);
	assert_true(t.wire.level);
}

static void farthest_alarm_never_comes(void **state)
{
	(void)state;
	set_alarm(UINT64_MAX);
	assert_int_equal(goldfish_rtc_next_alarm(t.rtc), UINT64_MAX);
	out(TIME_HIGH, 0);
	assert_int_equal(goldfish_rtc_next_alarm(t.rtc), UINT64_MAX);
	assert_int_equal(in(ALARM_STATUS), 1);
}

static void unassigned_registers(void **state)
{
	uint64_t value;

	(void)state;
	for (uint64_t reg = 0x20; reg < 0x1000; reg += 4) {
		out(reg, 0xffffffff);
		assert_int_equal(in(reg), 0);
	}
	assert_int_equal(in(CLEAR_ALARM), 0);
	assert_int_equal(in(CLEAR_INTERRUPT), 0);
	assert_int_equal(bus_read(&t.bench.bus, gpa(BASE), 8, &value), -EFAULT);
}

static void state_moves(void **state)
{
	struct probe wire = {0};
	struct device *copy = new_rtc(BASE + 0x1000, &wire);
	struct saved saved;

	(void)state;
	bench_add(&t.bench, copy);
	out(TIME_HIGH, 0x1000);
	set_alarm(5);
	assert_true(t.wire.level);
	set_alarm(UINT64_C(0x2000) << 32);
	saved = bench_save(t.rtc);
	bench_load(copy, &saved);
	assert_true(wire.level);
	assert_int_equal(bench_read(&t.bench, BASE + 0x1000 + ALARM_STATUS, 4), 1);
	assert_int_equal(bench_read(&t.bench, BASE + 0x1000 + ALARM_HIGH, 4), 0x2000);
	bench_read(&t.bench, BASE + 0x1000 + TIME_LOW, 4);
	assert_in_range(bench_read(&t.bench, BASE + 0x1000 + TIME_HIGH, 4), 0x1000, 0x1002);
	assert_int_not_equal(goldfish_rtc_next_alarm(copy), UINT64_MAX);
	free(saved.payload);
	device_free(copy);
}

static void reset_forgets_everything(void **state)
{
	out(TIME_HIGH, 1);
	set_alarm(1);
	assert_true(t.wire.level);
	device_reset(t.rtc);
	assert_false(t.wire.level);
	assert_int_equal(in(ALARM_LOW), 0);
	assert_int_equal(in(IRQ_ENABLED), 0);
	tells_host_time(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tells_host_time, setup, teardown),
		cmocka_unit_test_setup_teardown(high_half_is_latched, setup, teardown),
		cmocka_unit_test_setup_teardown(guest_sets_the_time, setup, teardown),
		cmocka_unit_test_setup_teardown(alarm_in_the_future, setup, teardown),
		cmocka_unit_test_setup_teardown(alarm_when_due, setup, teardown),
		cmocka_unit_test_setup_teardown(alarm_in_the_past_is_due_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(setting_the_time_moves_the_alarm, setup, teardown),
		cmocka_unit_test_setup_teardown(farthest_alarm_never_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(unassigned_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(state_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_forgets_everything, setup, teardown),
	};

	return cmocka_run_group_tests_name("rtc", tests, NULL, NULL);
}
