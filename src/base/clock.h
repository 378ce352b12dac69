/*
 * The guest's clock: monotonic host time that stops while the machine is paused, saved or moved.
 *
 * Ticks run at CLOCK_HZ (10 MHz, the `timebase-frequency` told to RISC-V guests). Reading is lock-free and may
 * be done by any thread; stop, start and set belong to the machine's owner thread, while no vCPU runs.
 */
#ifndef DOPPEL_BASE_CLOCK_H
#define DOPPEL_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_HZ UINT64_C(10000000)
#define CLOCK_NS_PER_TICK (UINT64_C(1000000000) / CLOCK_HZ)

/* Who keeps time besides: told by clock_start and clock_stop, when the clock has begun to run or stand. */
struct clock_listener {
	void (*changed)(void *opaque, bool runs);
	void *opaque;
};

struct clock {
	uint64_t offset_ns;  /* guest ns = host monotonic ns - offset_ns, modulo 2^64, while running */
	uint64_t stopped_ns; /* guest ns while stopped */
	bool stopped;
	const struct clock_listener *listener; /* or NULL */
};

/* Starts at tick 0, stopped. */
void clock_init(struct clock *clock);
void clock_start(struct clock *clock);
void clock_stop(struct clock *clock);
/* Sets the present tick; running or stopped stays as it is. */
void clock_set(struct clock *clock, uint64_t ticks);
/* Present guest time in ticks. */
uint64_t clock_ticks(const struct clock *clock);
/* Nanoseconds of host time from now until the guest's clock reads `ticks`; 0 when that is past;
 * UINT64_MAX when stopped or farther than 2^63 ns. */
uint64_t clock_ns_until(const struct clock *clock, uint64_t ticks);
/* Host CLOCK_MONOTONIC in nanoseconds. */
uint64_t clock_host_ns(void);
/* A moment of CLOCK_REALTIME in UTC, to the millisecond, as RFC 3339 has it: "2026-11-22T07:15:50.123Z". */
#define CLOCK_TEXT 80
void clock_text(const struct timespec *when, char out[CLOCK_TEXT]);
/* Seconds since 1970 likewise, without parts of one; "" for none (0 and less) and for years that no calendar has. */
void clock_seconds_text(int64_t seconds, char out[CLOCK_TEXT]);

#endif
