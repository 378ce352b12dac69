#include "base/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t clock_host_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static uint64_t guest_ns(const struct clock *clock)
{
	return clock->stopped ? clock->stopped_ns : clock_host_ns() - clock->offset_ns;
}

void clock_init(struct clock *clock)
{
	*clock = (struct clock){.stopped = true};
}

static void tell(const struct clock *clock)
{
	if (clock->listener)
		clock->listener->changed(clock->listener->opaque, !clock->stopped);
}

void clock_start(struct clock *clock)
{
	if (!clock->stopped)
		return;
	clock->offset_ns = clock_host_ns() - clock->stopped_ns;
	clock->stopped = false;
	tell(clock);
}

void clock_stop(struct clock *clock)
{
	if (clock->stopped)
		return;
	clock->stopped_ns = guest_ns(clock);
	clock->stopped = true;
	tell(clock);
}

void clock_set(struct clock *clock, uint64_t ticks)
{
	clock->stopped_ns = ticks * CLOCK_NS_PER_TICK;
	clock->offset_ns = clock_host_ns() - clock->stopped_ns;
}

uint64_t clock_ticks(const struct clock *clock)
{
	return guest_ns(clock) / CLOCK_NS_PER_TICK;
}

uint64_t clock_ns_until(const struct clock *clock, uint64_t ticks)
{
	uint64_t now = guest_ns(clock), then;

	if (ticks <= now / CLOCK_NS_PER_TICK)
		return 0;
	if (clock->stopped || __builtin_mul_overflow(ticks, CLOCK_NS_PER_TICK, &then))
		return UINT64_MAX;
	return then - now > INT64_MAX ? UINT64_MAX : then - now;
}

void clock_text(const struct timespec *when, char out[CLOCK_TEXT])
{
	struct tm utc = {.tm_year = 0};

	gmtime_r(&when->tv_sec, &utc);
	snprintf(out, CLOCK_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
		 utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(when->tv_nsec / 1000000));
}

void clock_seconds_text(int64_t seconds, char out[CLOCK_TEXT])
{
	time_t when = (time_t)seconds;
	struct tm utc;

	if (seconds <= 0 || !gmtime_r(&when, &utc) || !strftime(out, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%SZ", &utc))
		out[0] = '\0';
}
