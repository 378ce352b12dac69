#include "machine/alarm.h"

#include <time.h>

#include "base/clock.h"

/* The host's wall clock may be set meanwhile: look again at least this often. */
#define LOOK_NS (60 * NS_PER_SECOND)

static uint64_t ns_until(uint64_t wall_ns)
{
	struct timespec now;
	uint64_t now_ns, left;

	clock_gettime(CLOCK_REALTIME, &now);
	now_ns = (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
	left = wall_ns > now_ns ? wall_ns - now_ns : 0;
	return left < LOOK_NS ? left : LOOK_NS;
}

static void look(void *arg)
{
	struct alarm *alarm = arg;
	uint64_t next;

	if (!alarm->running)
		return;
	alarm->rtc->type->alarm->poll(alarm->rtc);
	next = alarm->rtc->type->alarm->next(alarm->rtc);
	if (next == UINT64_MAX)
		loop_timer_cancel(alarm->loop, &alarm->timer);
	else
		loop_timer_set(alarm->loop, &alarm->timer, clock_host_ns() + ns_until(next));
}

static void on_change(void *opaque)
{
	struct alarm *alarm = opaque;

	bell_ring(&alarm->changed);
}

void alarm_init(struct alarm *alarm, struct loop *loop, struct device *rtc)
{
	*alarm = (struct alarm){
		.loop = loop,
		.rtc = rtc,
		.timer = {.fn = look, .arg = alarm},
		.changed = {.loop = loop, .fn = look, .arg = alarm},
	};
	if (rtc)
		rtc->type->alarm->on_change(rtc, on_change, alarm);
}

void alarm_run(struct alarm *alarm, bool running)
{
	alarm->running = running && alarm->rtc;
	if (alarm->running)
		look(alarm);
	else
		loop_timer_cancel(alarm->loop, &alarm->timer);
}

void alarm_finish(struct alarm *alarm)
{
	if (!alarm->rtc)
		return;
	alarm->rtc->type->alarm->on_change(alarm->rtc, NULL, NULL);
	bell_silence(&alarm->changed);
	alarm_run(alarm, false);
}
