/*
 * An event loop: descriptors, timers and calls posted by other threads, one callback at a time.
 *
 * Thread: the owner calls everything here; callbacks run on it, inside loop_run. loop_post and loop_quit may come
 * from any thread (loop_quit from a signal handler too), as long as the loop is not being freed.
 * A callback may call any function here except loop_run and loop_free: it may remove its own watch or any other,
 * and a watch that was removed is not called again, even for an event that had come already.
 */
#ifndef DOPPEL_BASE_LOOP_H
#define DOPPEL_BASE_LOOP_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/types.h"

struct loop;
struct loop_watch;

/* A bit set of EPOLLIN, EPOLLOUT, ... from <sys/epoll.h>; level-triggered. */
typedef void loop_watch_fn(void *arg, uint32_t events);
typedef void loop_fn(void *arg);

/* One-shot timer, memory of the caller: zero it, set fn and arg, never touch the rest. It must stay where it is
 * while it is armed. */
struct loop_timer {
	loop_fn *fn;
	void *arg;
	uint64_t deadline_ns;
	struct loop_timer *next;
	bool armed;
};

MUST_USE int loop_new(struct loop **out, struct error *e);
/* Frees what is still watched (descriptors stay open) and forgets timers and posted calls that have not run; accepts
 * NULL. No other thread may use the loop any more. */
void loop_free(struct loop *loop);

/* Calls fn(arg, events) whenever `fd` has one of `events` (EPOLLERR and EPOLLHUP always count). The descriptor stays the
 * caller's and is unwatched before it is closed. -EPERM: this kind of file (a regular file) is always
 * ready and cannot be watched; -EEXIST: watched already. *out is released by loop_unwatch. */
MUST_USE int loop_watch(struct loop *loop, int fd, uint32_t events, loop_watch_fn *fn, void *arg,
			struct loop_watch **out, struct error *e);
/* Other events from now on; 0 silences all but EPOLLERR and EPOLLHUP. Never fails. */
void loop_watch_events(struct loop *loop, struct loop_watch *watch, uint32_t events);
/* Accepts NULL. */
void loop_unwatch(struct loop *loop, struct loop_watch *watch);

/* Arms the timer, or moves it: fn(arg) is called once, at or soon after `deadline_ns` of CLOCK_MONOTONIC
 * (clock_host_ns). Timers of one deadline fire in the order they were set. */
void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns);
/* It does not fire any more; harmless when it is not armed. */
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/* Any thread: fn(arg) is called on the loop's thread, in the order of posting. -ENOMEM. */
MUST_USE int loop_post(struct loop *loop, loop_fn *fn, void *arg);

/* A call that can be rung any number of times, from any thread: fn(arg) runs on the loop once for all rings since it
 * last began, in order with posted calls. Memory of the caller, constant but for what is the loop's, so what a guest can
 * cause at will costs no memory; it outlives the loop, or is silenced before it goes. */
struct bell {
	struct loop *loop;
	loop_fn *fn;
	void *arg;
	/* The loop's own. */
	atomic_bool rung;
	struct bell *next;
};

void bell_ring(struct bell *bell);
/* The loop's owner: it does not run any more, unless it is rung again. Harmless when it was not rung. */
void bell_silence(struct bell *bell);

/* Runs callbacks until loop_quit (0), until `timeout_ms` passed (-ETIMEDOUT; -1: no limit; 0: only what is due now),
 * or until the kernel fails (another negative errno). */
MUST_USE int loop_run(struct loop *loop, int timeout_ms);
/* Any thread, also from a signal handler: the loop_run under way, or else the next, returns 0 after the callback that
 * is running. */
void loop_quit(struct loop *loop);

#endif
