/*
 * Goldfish RTC: 64-bit nanoseconds through two 32-bit registers, and an alarm.
 *
 * Reading TIME_LOW latches the whole time and TIME_HIGH returns the rest of it. An alarm is armed by writing
 * ALARM_LOW, after ALARM_HIGH. The machine's timer calls goldfish_rtc_poll; register accesses look at the
 * alarm, too, so a guest that polls its status never sees it late.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "device/describe.h"
#include "device/devices.h"

#define WINDOW_SIZE 0x1000

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

struct goldfish_rtc {
	struct device device;
	struct irq_line irq;
	void (*changed)(void *opaque);
	void *opaque;
	uint64_t offset; /* guest time - host CLOCK_REALTIME, ns, modulo 2^64 */
	uint64_t alarm;  /* in guest time */
	uint32_t latched_high;
	bool armed;
	bool irq_enabled;
	bool irq_pending;
};

static uint64_t host_time(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t guest_time(const struct goldfish_rtc *rtc)
{
	return host_time() + rtc->offset;
}

static void drive(struct goldfish_rtc *rtc)
{
	irq_set(&rtc->irq, rtc->irq_pending && rtc->irq_enabled);
}

static void tell_changed(struct goldfish_rtc *rtc)
{
	if (rtc->changed)
		rtc->changed(rtc->opaque);
}

static void check_alarm(struct goldfish_rtc *rtc)
{
	if (!rtc->armed || guest_time(rtc) < rtc->alarm)
		return;
	rtc->armed = false;
	rtc->irq_pending = true;
	drive(rtc);
	tell_changed(rtc);
}

static void arm(struct goldfish_rtc *rtc, bool armed)
{
	bool told = rtc->armed || armed;

	rtc->armed = armed;
	if (told)
		tell_changed(rtc);
	check_alarm(rtc);
}

static uint64_t goldfish_rtc_read(void *device, uint64_t offset, unsigned size)
{
	struct goldfish_rtc *rtc = device;
	uint64_t now;

	(void)size;
	check_alarm(rtc);
	switch (offset) {
	case TIME_LOW:
		now = guest_time(rtc);
		rtc->latched_high = (uint32_t)(now >> 32);
		return (uint32_t)now;
	case TIME_HIGH:
		return rtc->latched_high;
	case ALARM_LOW:
		return (uint32_t)rtc->alarm;
	case ALARM_HIGH:
		return rtc->alarm >> 32;
	case IRQ_ENABLED:
		return rtc->irq_enabled;
	case ALARM_STATUS:
		return rtc->armed;
	default:
		return 0;
	}
}

static uint64_t with_low(uint64_t whole, uint64_t low)
{
	return (whole & ~UINT64_C(0xffffffff)) | (uint32_t)low;
}

static uint64_t with_high(uint64_t whole, uint64_t high)
{
	return (uint32_t)whole | high << 32;
}

/* The guest's clock jumps to what one half of it was replaced by: `high` or the low one. */
static void set_time(struct goldfish_rtc *rtc, bool high, uint64_t value)
{
	uint64_t now = guest_time(rtc);

	rtc->offset += (high ? with_high(now, value) : with_low(now, value)) - now;
	arm(rtc, rtc->armed);
}

static void goldfish_rtc_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct goldfish_rtc *rtc = device;

	(void)size;
	check_alarm(rtc);
	switch (offset) {
	case TIME_LOW:
	case TIME_HIGH:
		set_time(rtc, offset == TIME_HIGH, value);
		break;
	case ALARM_LOW:
		rtc->alarm = with_low(rtc->alarm, value);
		arm(rtc, true);
		break;
	case ALARM_HIGH:
		rtc->alarm = with_high(rtc->alarm, value);
		arm(rtc, rtc->armed);
		break;
	case IRQ_ENABLED:
		rtc->irq_enabled = value & 1;
		drive(rtc);
		break;
	case CLEAR_ALARM:
		arm(rtc, false);
		break;
	case CLEAR_INTERRUPT:
		rtc->irq_pending = false;
		drive(rtc);
		break;
	default:
		break;
	}
}

uint64_t goldfish_rtc_next_alarm(struct device *device)
{
	struct goldfish_rtc *rtc = (struct goldfish_rtc *)device;
	uint64_t next = UINT64_MAX, now, host;

	pthread_mutex_lock(&device->lock);
	if (rtc->armed) {
		host = host_time();
		now = host + rtc->offset;
		if (rtc->alarm <= now)
			next = host;
		else if (__builtin_add_overflow(host, rtc->alarm - now, &next))
			next = UINT64_MAX;
	}
	pthread_mutex_unlock(&device->lock);
	return next;
}

void goldfish_rtc_poll(struct device *device)
{
	pthread_mutex_lock(&device->lock);
	check_alarm((struct goldfish_rtc *)device);
	pthread_mutex_unlock(&device->lock);
}

void goldfish_rtc_on_alarm(struct device *device, void (*changed)(void *opaque), void *opaque)
{
	struct goldfish_rtc *rtc = (struct goldfish_rtc *)device;

	pthread_mutex_lock(&device->lock);
	rtc->changed = changed;
	rtc->opaque = opaque;
	pthread_mutex_unlock(&device->lock);
}

static void goldfish_rtc_loaded(struct device *device)
{
	struct goldfish_rtc *rtc = (struct goldfish_rtc *)device;

	drive(rtc);
	tell_changed(rtc);
	check_alarm(rtc);
}

static void goldfish_rtc_reset(struct device *device)
{
	struct goldfish_rtc *rtc = (struct goldfish_rtc *)device;

	rtc->offset = 0;
	rtc->alarm = 0;
	rtc->latched_high = 0;
	rtc->armed = rtc->irq_enabled = rtc->irq_pending = false;
	goldfish_rtc_loaded(device);
}

static const struct state_field goldfish_rtc_fields[] = {
	STATE_FIELD(struct goldfish_rtc, offset, STATE_U64),
	STATE_FIELD(struct goldfish_rtc, alarm, STATE_U64),
	STATE_FIELD(struct goldfish_rtc, latched_high, STATE_U32),
	STATE_FIELD(struct goldfish_rtc, armed, STATE_BOOL),
	STATE_FIELD(struct goldfish_rtc, irq_enabled, STATE_BOOL),
	STATE_FIELD(struct goldfish_rtc, irq_pending, STATE_BOOL),
};

static const struct state_descriptor goldfish_rtc_state = {
	.kind = "goldfish-rtc",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct goldfish_rtc),
	.fields = goldfish_rtc_fields,
	.field_count = ARRAY_SIZE(goldfish_rtc_fields),
};

static void goldfish_rtc_describe(struct device *device, struct fdt_writer *fdt)
{
	fdt_node(fdt, "rtc@%llx", (unsigned long long)device->base.value);
	fdt_text(fdt, "compatible", "google,goldfish-rtc");
	fdt_reg(fdt, device->base, device->size);
	fdt_interrupt(fdt, ((struct goldfish_rtc *)device)->irq.number);
	fdt_end(fdt);
}

static const struct bus_ops goldfish_rtc_ops = {
	.read = goldfish_rtc_read,
	.write = goldfish_rtc_write,
	.sizes = 4,
};

static const struct device_alarm goldfish_rtc_alarm = {
	.next = goldfish_rtc_next_alarm,
	.poll = goldfish_rtc_poll,
	.on_change = goldfish_rtc_on_alarm,
};

const struct device_type goldfish_rtc_type = {
	.name = "goldfish-rtc",
	.help = "real-time clock: the host's wall-clock time, with an alarm",
	.state = &goldfish_rtc_state,
	.ops = &goldfish_rtc_ops,
	.alarm = &goldfish_rtc_alarm,
	.reset = goldfish_rtc_reset,
	.loaded = goldfish_rtc_loaded,
	.describe = goldfish_rtc_describe,
	.destroy = device_destroy_plain,
};

int goldfish_rtc_new(struct device **out, const char *name, gpa_t base, struct irq_line irq, struct error *e)
{
	struct goldfish_rtc *rtc = calloc(1, sizeof *rtc);

	if (!rtc)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&rtc->device, &goldfish_rtc_type, name, base, WINDOW_SIZE);
	rtc->irq = irq;
	*out = &rtc->device;
	return 0;
}
