/*
 * MC146818A real-time clock (Motorola data sheet ADI1026R1).
 *
 * Nothing counts here: the time is the host's plus an offset, and each access first catches up with what has happened since
 * the last one (updates, alarm matches, periods). The machine's timer does the same by `poll` when an interrupt is due.
 * While the guest holds SET, the time's registers are plain memory; when it lets go, what they say becomes the time, and
 * the next update comes half a second later.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "device/pc/devices.h"

#define SECOND_NS ((int64_t)NS_PER_SECOND)
#define UPDATE_NS     INT64_C(244000) /* UIP rises so long before an update */
#define CMOS_BYTES    128

enum {
	SECONDS = 0,
	SECONDS_ALARM = 1,
	MINUTES = 2,
	MINUTES_ALARM = 3,
	HOURS = 4,
	HOURS_ALARM = 5,
	WEEKDAY = 6,
	DAY = 7,
	MONTH = 8,
	YEAR = 9,
	REGISTER_A = 10,
	REGISTER_B = 11,
	REGISTER_C = 12,
	REGISTER_D = 13,
	CENTURY = MC146818_CENTURY,
};

enum { A_RATE = 0x0f, A_UPDATING = 0x80, A_POWER_ON = 0x26 };
enum { B_24_HOURS = 0x02, B_BINARY = 0x04, B_SET = 0x80 };
/* In register C the events that were, in B those that interrupt. */
enum { EVENT_UPDATE = 0x10, EVENT_ALARM = 0x20, EVENT_PERIOD = 0x40, EVENTS = 0x70, C_INTERRUPT = 0x80 };
enum { D_VALID = 0x80 };

struct mc146818 {
	struct device device;
	struct irq_line irq;
	void (*changed)(void *opaque);
	void *opaque;
	int64_t offset; /* guest time - host CLOCK_REALTIME, ns */
	int64_t seen;   /* guest time, ns: events up to then are in register C */
	uint8_t index;
	uint8_t bytes[CMOS_BYTES];
};

static int64_t host_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static int64_t guest_time(const struct mc146818 *rtc)
{
	return host_time() + rtc->offset;
}

static bool is_set(const struct mc146818 *rtc)
{
	return rtc->bytes[REGISTER_B] & B_SET;
}

static uint8_t encode(const struct mc146818 *rtc, int value)
{
	return (uint8_t)(rtc->bytes[REGISTER_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static int decode(const struct mc146818 *rtc, uint8_t byte)
{
	return rtc->bytes[REGISTER_B] & B_BINARY ? byte : (byte >> 4) * 10 + (byte & 15);
}

static uint8_t encode_hour(const struct mc146818 *rtc, int hour)
{
	if (rtc->bytes[REGISTER_B] & B_24_HOURS)
		return encode(rtc, hour);
	return (uint8_t)(encode(rtc, hour % 12 ? hour % 12 : 12) | (hour < 12 ? 0 : 0x80));
}

static int decode_hour(const struct mc146818 *rtc, uint8_t byte)
{
	if (rtc->bytes[REGISTER_B] & B_24_HOURS)
		return decode(rtc, byte);
	return decode(rtc, byte & 0x7f) % 12 + (byte & 0x80 ? 12 : 0);
}

static struct tm date_of(int64_t ns)
{
	/* Rounded down, also before 1970. */
	time_t seconds = (time_t)(ns / SECOND_NS - (ns % SECOND_NS < 0));
	struct tm date;

	gmtime_r(&seconds, &date);
	return date;
}

/* The registers of the time at `ns`. */
static void latch(struct mc146818 *rtc, int64_t ns)
{
	struct tm date = date_of(ns);
	int year = date.tm_year + 1900;

	rtc->bytes[SECONDS] = encode(rtc, date.tm_sec);
	rtc->bytes[MINUTES] = encode(rtc, date.tm_min);
	rtc->bytes[HOURS] = encode_hour(rtc, date.tm_hour);
	rtc->bytes[WEEKDAY] = encode(rtc, date.tm_wday + 1);
	rtc->bytes[DAY] = encode(rtc, date.tm_mday);
	rtc->bytes[MONTH] = encode(rtc, date.tm_mon + 1);
	rtc->bytes[YEAR] = encode(rtc, year % 100);
	rtc->bytes[CENTURY] = encode(rtc, year / 100);
}

/* The time becomes what its registers say; a date that is none, or beyond what 64 bits of nanoseconds hold, is not taken. */
static void take_registers(struct mc146818 *rtc)
{
	struct tm date = {
		.tm_sec = decode(rtc, rtc->bytes[SECONDS]),
		.tm_min = decode(rtc, rtc->bytes[MINUTES]),
		.tm_hour = decode_hour(rtc, rtc->bytes[HOURS]),
		.tm_mday = decode(rtc, rtc->bytes[DAY]),
		.tm_mon = decode(rtc, rtc->bytes[MONTH]) - 1,
		.tm_year = decode(rtc, rtc->bytes[CENTURY]) * 100 + decode(rtc, rtc->bytes[YEAR]) - 1900,
	};
	bool sane = date.tm_sec < 60 && date.tm_min < 60 && date.tm_hour < 24 && date.tm_mday >= 1 &&
		    date.tm_mday <= 31 && date.tm_mon >= 0 && date.tm_mon < 12 && date.tm_year >= 70 &&
		    date.tm_year < 300;

	if (!sane)
		return;
	rtc->seen = timegm(&date) * SECOND_NS + SECOND_NS / 2;
	rtc->offset = rtc->seen - host_time();
}

static int64_t period_ns(const struct mc146818 *rtc)
{
	unsigned rate = rtc->bytes[REGISTER_A] & A_RATE;

	if (rate == 0)
		return 0;
	/* The two fastest rates are those of a slower crystal. */
	return SECOND_NS * (INT64_C(1) << (rate < 3 ? rate + 6 : rate - 1)) / 32768;
}

/* An alarm register with its two high bits set fits any value. */
static bool fits(uint8_t alarm, uint8_t now)
{
	return alarm >= 0xc0 || alarm == now;
}

/* The first second after `ns` at which the alarm matches, as ns; INT64_MAX when no time of day does. */
static int64_t next_alarm(const struct mc146818 *rtc, int64_t ns)
{
	int64_t second = ns / SECOND_NS + 1;

	/* At most the rest of a minute and of an hour, then a day's hours, an hour's minutes, a minute's seconds. */
	for (unsigned step = 0; step < 60 + 60 + 24 + 60 + 60; step++) {
		struct tm date = date_of(second * SECOND_NS);

		if (!fits(rtc->bytes[HOURS_ALARM], encode_hour(rtc, date.tm_hour)))
			second += 3600 - date.tm_min * 60 - date.tm_sec;
		else if (!fits(rtc->bytes[MINUTES_ALARM], encode(rtc, date.tm_min)))
			second += 60 - date.tm_sec;
		else if (!fits(rtc->bytes[SECONDS_ALARM], encode(rtc, date.tm_sec)))
			second++;
		else
			return second * SECOND_NS;
	}
	return INT64_MAX;
}

static int64_t next_multiple(int64_t ns, int64_t of)
{
	return of ? (ns / of + 1) * of : INT64_MAX;
}

/* When the event happens next after `ns`. */
static int64_t next_event(const struct mc146818 *rtc, uint8_t event, int64_t ns)
{
	if (event == EVENT_PERIOD)
		return next_multiple(ns, period_ns(rtc));
	if (is_set(rtc))
		return INT64_MAX;
	return event == EVENT_UPDATE ? next_multiple(ns, SECOND_NS) : next_alarm(rtc, ns);
}

static void drive(struct mc146818 *rtc)
{
	irq_set(&rtc->irq, rtc->bytes[REGISTER_C] & rtc->bytes[REGISTER_B] & EVENTS);
}

static void catch_up(struct mc146818 *rtc)
{
	int64_t now = guest_time(rtc);

	for (uint8_t event = EVENT_UPDATE; event <= EVENT_PERIOD; event = (uint8_t)(event << 1))
		if (!(rtc->bytes[REGISTER_C] & event) && next_event(rtc, event, rtc->seen) <= now)
			rtc->bytes[REGISTER_C] |= event;
	rtc->seen = now;
	drive(rtc);
}

/* Which interrupts come next, or when, may be different from now on. */
static void tell_changed(struct mc146818 *rtc)
{
	if (rtc->changed)
		rtc->changed(rtc->opaque);
}

static bool is_time(uint8_t index)
{
	return index == SECONDS || index == MINUTES || index == HOURS || (index >= WEEKDAY && index <= YEAR) ||
	       index == CENTURY;
}

static uint8_t read_a(const struct mc146818 *rtc)
{
	bool updating = !is_set(rtc) && rtc->seen % SECOND_NS >= SECOND_NS - UPDATE_NS;

	return (uint8_t)((rtc->bytes[REGISTER_A] & ~A_UPDATING) | (updating ? A_UPDATING : 0));
}

static uint8_t read_c(struct mc146818 *rtc)
{
	uint8_t events = rtc->bytes[REGISTER_C] & EVENTS;

	if (events & rtc->bytes[REGISTER_B])
		events |= C_INTERRUPT;
	rtc->bytes[REGISTER_C] = 0;
	drive(rtc);
	tell_changed(rtc);
	return events;
}

static uint64_t mc146818_read(void *device, uint64_t offset, unsigned size)
{
	struct mc146818 *rtc = device;

	(void)size;
	if (offset == 0)
		return 0xff;
	catch_up(rtc);
	switch (rtc->index) {
	case REGISTER_A:
		return read_a(rtc);
	case REGISTER_C:
		return read_c(rtc);
	default:
		if (is_time(rtc->index) && !is_set(rtc))
			latch(rtc, rtc->seen);
		return rtc->bytes[rtc->index];
	}
}

/* The time is latched by the settings before, and read by those after. */
static void write_b(struct mc146818 *rtc, uint8_t value)
{
	bool was_set = is_set(rtc);

	if (!was_set)
		latch(rtc, rtc->seen);
	rtc->bytes[REGISTER_B] = value;
	if (was_set && !is_set(rtc))
		take_registers(rtc);
}

static void write_time(struct mc146818 *rtc, uint8_t value)
{
	if (!is_set(rtc))
		latch(rtc, rtc->seen);
	rtc->bytes[rtc->index] = value;
	if (!is_set(rtc))
		take_registers(rtc);
}

static void write_register(struct mc146818 *rtc, uint8_t value)
{
	switch (rtc->index) {
	case REGISTER_B:
		write_b(rtc, value);
		break;
	case REGISTER_C:
	case REGISTER_D:
		break;
	default:
		if (is_time(rtc->index))
			write_time(rtc, value);
		else
			rtc->bytes[rtc->index] = value;
	}
}

static void mc146818_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct mc146818 *rtc = device;

	(void)size;
	if (offset == 0) {
		rtc->index = value % CMOS_BYTES;
		return;
	}
	catch_up(rtc);
	write_register(rtc, (uint8_t)value);
	drive(rtc);
	tell_changed(rtc);
}

static uint64_t alarm_next(struct device *device)
{
	struct mc146818 *rtc = (struct mc146818 *)device;
	int64_t next = INT64_MAX;
	uint8_t awaited;

	pthread_mutex_lock(&device->lock);
	awaited = rtc->bytes[REGISTER_B] & EVENTS;
	/* The wire is up already: nothing more to tell until register C is read. */
	if (awaited & rtc->bytes[REGISTER_C])
		awaited = 0;
	for (uint8_t event = EVENT_UPDATE; event <= EVENT_PERIOD; event = (uint8_t)(event << 1)) {
		int64_t when = awaited & event ? next_event(rtc, event, rtc->seen) : INT64_MAX;

		next = when < next ? when : next;
	}
	if (next != INT64_MAX)
		next -= rtc->offset;
	pthread_mutex_unlock(&device->lock);
	return next == INT64_MAX ? UINT64_MAX : next < 0 ? 0 : (uint64_t)next;
}

static void alarm_poll(struct device *device)
{
	pthread_mutex_lock(&device->lock);
	catch_up((struct mc146818 *)device);
	pthread_mutex_unlock(&device->lock);
}

static void alarm_on_change(struct device *device, void (*changed)(void *opaque), void *opaque)
{
	struct mc146818 *rtc = (struct mc146818 *)device;

	pthread_mutex_lock(&device->lock);
	rtc->changed = changed;
	rtc->opaque = opaque;
	pthread_mutex_unlock(&device->lock);
}

static void mc146818_loaded(struct device *device)
{
	struct mc146818 *rtc = (struct mc146818 *)device;

	catch_up(rtc);
	tell_changed(rtc);
}

static void mc146818_reset(struct device *device)
{
	struct mc146818 *rtc = (struct mc146818 *)device;

	*rtc = (struct mc146818){
		.device = rtc->device,
		.irq = rtc->irq,
		.changed = rtc->changed,
		.opaque = rtc->opaque,
		.seen = host_time(),
		.bytes = {[REGISTER_A] = A_POWER_ON, [REGISTER_B] = B_24_HOURS, [REGISTER_D] = D_VALID},
	};
	mc146818_loaded(device);
}

static int mc146818_validate(const void *shadow, struct error *e)
{
	const struct mc146818 *rtc = shadow;
	/* What a guest can set, and a host's clock beside it, stay far within; a host's clock that is set back takes a guest's
	 * before 1970. */
	const int64_t most = INT64_MAX / 2;

	if (rtc->index < CMOS_BYTES && rtc->seen > -most && rtc->seen < most + most / 2 && rtc->offset > -most &&
	    rtc->offset < most)
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL, "RTC state: index %u, time %lld and offset %lld ns", rtc->index,
			 (long long)rtc->seen, (long long)rtc->offset);
}

static const struct state_field mc146818_fields[] = {
	STATE_FIELD(struct mc146818, offset, STATE_U64),
	STATE_FIELD(struct mc146818, seen, STATE_U64),
	STATE_FIELD(struct mc146818, index, STATE_U8),
	STATE_FIELD(struct mc146818, bytes, STATE_U8),
};

static const struct state_descriptor mc146818_state = {
	.kind = "mc146818",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct mc146818),
	.fields = mc146818_fields,
	.field_count = ARRAY_SIZE(mc146818_fields),
	.validate = mc146818_validate,
};

static const struct bus_ops mc146818_ops = {.read = mc146818_read, .write = mc146818_write, .sizes = 1};

static const struct device_alarm mc146818_alarm = {
	.next = alarm_next,
	.poll = alarm_poll,
	.on_change = alarm_on_change,
};

const struct device_type mc146818_type = {
	.name = "mc146818",
	.help = "PC real-time clock: the host's wall-clock time, with an alarm, and CMOS RAM",
	.state = &mc146818_state,
	.ops = &mc146818_ops,
	.alarm = &mc146818_alarm,
	.reset = mc146818_reset,
	.loaded = mc146818_loaded,
	.destroy = device_destroy_plain,
};

int mc146818_new(struct device **out, const char *name, gpa_t base, struct irq_line irq, struct error *e)
{
	struct mc146818 *rtc = calloc(1, sizeof *rtc);

	if (!rtc)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&rtc->device, &mc146818_type, name, base, MC146818_PORTS);
	rtc->irq = irq;
	*out = &rtc->device;
	return 0;
}
