/* The PC's devices at ports: the clock above all, then the ways to end a machine. */
#include "device_bench.h"

#include <time.h>

#include "device/pc/devices.h"

#define RTC 0x70

enum { SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH, YEAR, A, B, C, D };

static struct {
	struct bench bench;
	struct probe wire;
	struct device *device;
	unsigned changes;
	enum power_action action;
	unsigned code, requests;
} t;

static void on_power(void *opaque, enum power_action action, unsigned code)
{
	(void)opaque;
	t.action = action;
	t.code = code;
	t.requests++;
}

static const struct power_sink sink = {.request = on_power};

static void count_change(void *opaque)
{
	assert_ptr_equal(opaque, &t);
	t.changes++;
}

static int set_up_rtc(void **state)
{
	(void)state;
	memset(&t, 0, sizeof t);
	bench_init(&t.bench);
	assert_int_equal(mc146818_new(&t.device, "rtc", gpa(RTC), probe_line(&t.wire), NULL), 0);
	bench_add(&t.bench, t.device);
	mc146818_type.alarm->on_change(t.device, count_change, &t);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	device_free(t.device);
	return 0;
}

static uint8_t get(unsigned index)
{
	bench_write(&t.bench, RTC, index, 1);
	return (uint8_t)bench_read(&t.bench, RTC + 1, 1);
}

static void set(unsigned index, unsigned value)
{
	bench_write(&t.bench, RTC, index, 1);
	bench_write(&t.bench, RTC + 1, value, 1);
}

static int bcd(unsigned value)
{
	return (int)(value / 16 * 10 + value % 16);
}

/* As a guest does it: until nothing changes under its eyes. */
static time_t read_time(void)
{
	struct tm tm = {0};

	do {
		tm.tm_sec = bcd(get(SECONDS));
		tm.tm_min = bcd(get(MINUTES));
		tm.tm_hour = bcd(get(HOURS));
		tm.tm_mday = bcd(get(DAY));
		tm.tm_mon = bcd(get(MONTH)) - 1;
		tm.tm_year = bcd(get(YEAR)) + bcd(get(MC146818_CENTURY)) * 100 - 1900;
	} while (bcd(get(SECONDS)) != tm.tm_sec);
	return timegm(&tm);
}

static void is_about(time_t got, time_t expected)
{
	if (got < expected || got > expected + 60)
		fail_msg("%lld, but %lld was expected, or a little later", (long long)got, (long long)expected);
}

static void tells_the_hosts_time(void **state)
{
	time_t before = time(NULL);

	(void)state;
	is_about(read_time(), before);
	assert_int_equal(get(D), 0x80);
	assert_int_equal(bench_read(&t.bench, RTC, 1), 0xff);
}

/* 2031-05-07 23:59:50, in every form that register B has. */
static void set_date(unsigned form)
{
	static const unsigned binary[] = {50, 59, 23, 7, 5, 31, 20},
			      packed[] = {0x50, 0x59, 0x23, 0x07, 0x05, 0x31, 0x20};
	static const unsigned indexes[] = {SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR, MC146818_CENTURY};
	const unsigned *values = form & 4 ? binary : packed;

	set(B, 0x80 | form);
	for (unsigned i = 0; i < ARRAY_SIZE(indexes); i++)
		set(indexes[i], values[i]);
	if (!(form & 2))
		set(HOURS, (form & 4 ? 11 : 0x11) | 0x80);
	set(B, form);
}

static void is_set_in_every_form(void **state)
{
	(void)state;
	for (unsigned form = 0; form <= 6; form += 2) {
		set_date(form);
		set(B, 2);
		/* date -u -d "2031-05-07 23:59:50" +%s */
		is_about(read_time(), 1935964790 - 1);
		set(B, form);
		if (!(form & 2))
			assert_int_equal(get(HOURS) & 0x80, get(HOURS) == 12 || get(HOURS) == 0x12 ? 0 : 0x80);
	}
}

static void stands_while_set(void **state)
{
	(void)state;
	set(B, 0x82);
	set(SECONDS, 0x77);
	assert_int_equal(get(SECONDS), 0x77);
	assert_int_equal(get(A) & 0x80, 0);
	/* No such second: the time goes on as it was. */
	set(B, 2);
	is_about(read_time(), time(NULL) - 1);
}

static void takes_no_impossible_date(void **state)
{
	static const struct {
		unsigned index, value;
	} wrong[] = {{MINUTES, 0x60},
		     {HOURS, 0x24},
		     {DAY, 0},
		     {DAY, 0x32},
		     {MONTH, 0},
		     {MONTH, 0x13},
		     {MC146818_CENTURY, 0x18},
		     {MC146818_CENTURY, 0xff},
		     {HOURS, 0xff}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		set(wrong[i].index, wrong[i].value);
		is_about(read_time(), time(NULL) - 60);
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t next(void)
{
	return mc146818_type.alarm->next(t.device);
}

static void alarm_comes(void **state)
{
	uint64_t due, before = now_ns();

	(void)state;
	assert_int_equal(next(), UINT64_MAX);
	/* Every second matches. */
	set(SECONDS_ALARM, 0xff);
	set(MINUTES_ALARM, 0xc0);
	set(HOURS_ALARM, 0xc0);
	get(C);
	set(B, 0x22);
	due = next();
	assert_true(t.changes > 0);
	assert_in_range(due, before, now_ns() + 1000000000);
	while (now_ns() < due)
		;
	mc146818_type.alarm->poll(t.device);
	assert_true(t.wire.level);
	assert_int_equal(next(), UINT64_MAX);
	assert_int_equal(get(C) & 0xa0, 0xa0);
	assert_false(t.wire.level);
	assert_true(next() != UINT64_MAX);
}

static void alarm_finds_its_time(void **state)
{
	static const struct {
		unsigned hours, minutes, seconds;
		uint64_t after; /* seconds from 23:59:50 */
	} cases[] = {{0x23, 0x59, 0x55, 5},    {0, 0, 0, 10},          {0x23, 0x59, 0x49, 86399},
		     {0xff, 0x30, 0, 1810},    {0xff, 0xff, 0x10, 20}, {0x12, 0xff, 0x05, 43215},
		     {0x11, 0x22, 0x33, 40963}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t due, expected;

		set_date(2);
		get(C);
		expected = now_ns() + (cases[i].after - 1) * 1000000000;
		set(HOURS_ALARM, cases[i].hours);
		set(MINUTES_ALARM, cases[i].minutes);
		set(SECONDS_ALARM, cases[i].seconds);
		get(C);
		set(B, 0x22);
		due = next();
		/* Half a second from the setting to the first update; a slow host sets it later. */
		if (due < expected - 20000000000 || due > expected + 2000000000)
			fail_msg("case %zu: due %lld ns from where it was expected", i,
				 (long long)(due - expected));
	}
}

/* No hour is 0x99. */
static void alarm_that_never_is(void **state)
{
	(void)state;
	set(HOURS_ALARM, 0x99);
	set(B, 0x22);
	assert_int_equal(next(), UINT64_MAX);
}

static void period_and_update(void **state)
{
	uint64_t before = now_ns();

	(void)state;
	set(B, 0x42);
	get(C);
	/* The rate after power-on: 1024 Hz. */
	assert_in_range(next(), before, now_ns() + 976563);
	set(A, 0x2f);
	assert_in_range(next(), before, now_ns() + 500000000);
	set(A, 0x20);
	get(C);
	assert_int_equal(next(), UINT64_MAX);
	set(B, 0x12);
	get(C);
	assert_in_range(next(), before, now_ns() + 1000000000);
	set(B, 0x92);
	assert_int_equal(next(), UINT64_MAX);
}

static void keeps_cmos_and_state(void **state)
{
	struct saved saved;

	(void)state;
	set(0x40, 0x5a);
	set_date(2);
	saved = bench_save(t.device);
	device_reset(t.device);
	assert_int_equal(get(0x40), 0);
	bench_load(t.device, &saved);
	assert_int_equal(get(0x40), 0x5a);
	is_about(read_time(), 1935964790 - 1);
	free(saved.payload);
	bench_refuses(t.device, "index", 0, 128);
	bench_refuses(t.device, "offset", 0, (uint64_t)INT64_MAX);
	bench_refuses(t.device, "seen", 0, (uint64_t)INT64_MAX);
	bench_refuses(t.device, "seen", 0, (uint64_t)INT64_MIN);
}

/* As a host's clock that is set back makes of a guest's that stands at the beginning. */
static void keeps_a_time_before_1970(void **state)
{
	struct saved saved = bench_save(t.device);

	(void)state;
	bench_damage(&saved, t.device->type->state, "offset", 0, (uint64_t)-now_ns() - 86400 * UINT64_C(1000000000));
	bench_load(t.device, &saved);
	free(saved.payload);
	saved = bench_save(t.device);
	bench_load(t.device, &saved);
	is_about(read_time(), -86400);
	free(saved.payload);
}

typedef int make_fn(struct device **out, const char *name, gpa_t base, struct power_sink power, struct error *e);

static void make(make_fn *maker)
{
	memset(&t, 0, sizeof t);
	bench_init(&t.bench);
	assert_int_equal(maker(&t.device, "device", gpa(0x60), sink, NULL), 0);
	bench_add(&t.bench, t.device);
}

static void is_power(enum power_action action, unsigned code)
{
	assert_int_equal(t.action, action);
	assert_int_equal(t.code, code);
	t.action = POWER_NONE;
	t.code = 0;
}

static void i8042_resets(void **state)
{
	(void)state;
	make(i8042_new);
	assert_int_equal(bench_read(&t.bench, 0x64, 1) & 3, 0);
	assert_int_equal(bench_read(&t.bench, 0x60, 1), 0);
	bench_write(&t.bench, 0x64, 0xaa, 1);
	bench_write(&t.bench, 0x60, 0xfe, 1);
	assert_int_equal(t.requests, 0);
	bench_write(&t.bench, 0x64, 0xfe, 1);
	is_power(POWER_RESET, 0);
	device_free(t.device);
}

static void debug_exit_ends(void **state)
{
	static const struct {
		uint64_t value;
		unsigned size, code;
	} cases[] = {{0, 1, 1},       {1, 1, 3},         {0x10, 4, 33},
		     {0x7f, 2, 255},  {0x80, 1, 1},      {0xffffffff, 4, 255},
		     {0x73333, 4, 7}, {0x1003333, 4, 1}, {0x3333, 2, 0x67}};

	(void)state;
	make(debug_exit_new);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bench_write(&t.bench, 0x60, cases[i].value, cases[i].size);
		is_power(POWER_OFF, cases[i].code);
	}
	device_free(t.device);
}

static void pvpanic_tells(void **state)
{
	(void)state;
	make(pvpanic_new);
	assert_int_equal(bench_read(&t.bench, 0x60, 1), 3);
	bench_write(&t.bench, 0x60, 2, 1);
	assert_int_equal(t.requests, 0);
	bench_write(&t.bench, 0x60, 1, 1);
	is_power(POWER_CRASH, 0);
	device_free(t.device);
}

static void acpi_power_works(void **state)
{
	struct saved saved;

	(void)state;
	memset(&t, 0, sizeof t);
	bench_init(&t.bench);
	assert_int_equal(acpi_power_new(&t.device, "power", gpa(0x600), probe_line(&t.wire), sink, NULL), 0);
	bench_add(&t.bench, t.device);
	bench_write(&t.bench, 0x600, 5 << 2, 1);
	bench_write(&t.bench, 0x600, 3 << 2 | 0x20, 1);
	bench_write(&t.bench, 0x602, 2, 1);
	assert_int_equal(t.requests, 0);
	bench_write(&t.bench, 0x600, 5 << 2 | 0x20, 1);
	is_power(POWER_OFF, 0);
	bench_write(&t.bench, 0x602, 1, 1);
	is_power(POWER_RESET, 0);
	acpi_power_press(t.device);
	acpi_power_press(t.device);
	assert_int_equal(t.wire.rises, 1);
	saved = bench_save(t.device);
	assert_int_equal(bench_read(&t.bench, 0x604, 1), 1);
	assert_false(t.wire.level);
	assert_int_equal(bench_read(&t.bench, 0x604, 1), 0);
	bench_load(t.device, &saved);
	assert_true(t.wire.level);
	free(saved.payload);
	bench_refuses(t.device, "events", 0, 4);
	device_reset(t.device);
	assert_false(t.wire.level);
	device_free(t.device);
}

/* A generation is of its own from the start, comes along with the state, and a change of it is told. */
static void acpi_power_renews(void **state)
{
	uint8_t first[VMGENID_BYTES];
	struct saved saved;
	struct device *other;

	(void)state;
	memset(&t, 0, sizeof t);
	bench_init(&t.bench);
	assert_int_equal(acpi_power_new(&other, "other", gpa(0x600), probe_line(&t.wire), sink, NULL), 0);
	assert_int_equal(acpi_power_new(&t.device, "power", gpa(0x600), probe_line(&t.wire), sink, NULL), 0);
	bench_add(&t.bench, t.device);
	memcpy(first, acpi_power_generation(t.device), sizeof first);
	assert_memory_not_equal(first, acpi_power_generation(other), sizeof first);
	saved = bench_save(t.device);
	acpi_power_renew(t.device, acpi_power_generation(other));
	assert_memory_equal(acpi_power_generation(t.device), acpi_power_generation(other), sizeof first);
	assert_true(t.wire.level);
	assert_int_equal(bench_read(&t.bench, 0x604, 1), ACPI_POWER_EVENT_COPIED);
	assert_false(t.wire.level);
	bench_load(t.device, &saved);
	assert_memory_equal(acpi_power_generation(t.device), first, sizeof first);
	device_reset(t.device);
	assert_memory_equal(acpi_power_generation(t.device), first, sizeof first);
	free(saved.payload);
	device_free(other);
	device_free(t.device);
}

#define RTC_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_rtc, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RTC_TEST(tells_the_hosts_time),
		RTC_TEST(is_set_in_every_form),
		RTC_TEST(stands_while_set),
		RTC_TEST(takes_no_impossible_date),
		RTC_TEST(alarm_comes),
		RTC_TEST(alarm_finds_its_time),
		RTC_TEST(alarm_that_never_is),
		RTC_TEST(period_and_update),
		RTC_TEST(keeps_cmos_and_state),
		RTC_TEST(keeps_a_time_before_1970),
		cmocka_unit_test(i8042_resets),
		cmocka_unit_test(debug_exit_ends),
		cmocka_unit_test(pvpanic_tells),
		cmocka_unit_test(acpi_power_works),
		cmocka_unit_test(acpi_power_renews),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
