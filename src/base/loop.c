#include "base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"

#define EVENTS_AT_ONCE 16

struct loop_watch {
	loop_watch_fn *fn;
	void *arg;
	int fd;
	bool removed; /* freed only between two rounds: an event already fetched may point here */
	struct loop_watch *next;
};

/* A posted call is a bell of its own memory, which rings once. */
struct post {
	struct bell bell;
	loop_fn *fn;
	void *arg;
};

struct loop {
	int epoll, wake, alarm; /* epoll, eventfd, timerfd; -1 while not open */
	struct loop_watch *watches;
	struct loop_timer *timers; /* by deadline */
	struct bell *answering; /* taken, and not begun yet */
	bool has_removed;
	atomic_bool quit;
	pthread_mutex_t lock; /* guards the two below */
	struct bell *first_bell, **last_bell;
};

static void drain(int fd)
{
	uint64_t count;

	/* Empty already is fine: both descriptors are only wake-up calls. */
	while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
		;
}

static void wake(struct loop *loop)
{
	const uint64_t one = 1;
	int saved = errno;

	/* The only failure left is a full counter, and then the loop wakes up anyway. */
	while (write(loop->wake, &one, sizeof one) < 0 && errno == EINTR)
		;
	errno = saved;
}

/* The loop's own descriptors carry no watch: data.ptr is the loop for `wake`, NULL for `alarm`. */
static int add_own(struct loop *loop, int fd, void *mark)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = mark};

	return fd < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int loop_new(struct loop **out, struct error *e)
{
	struct loop *loop = calloc(1, sizeof *loop);
	int code;

	if (!loop)
		return error_errno(e, -ENOMEM, "cannot make an event loop");
	pthread_mutex_init(&loop->lock, NULL);
	loop->last_bell = &loop->first_bell;
	loop->wake = loop->alarm = -1;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	code = loop->epoll < 0 ? -errno : 0;
	if (!code) {
		loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		code = add_own(loop, loop->wake, loop);
	}
	if (!code) {
		loop->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		code = add_own(loop, loop->alarm, NULL);
	}
	if (code) {
		loop_free(loop);
		return error_errno(e, code, "cannot make an event loop");
	}
	*out = loop;
	return 0;
}

static void run_post(void *arg)
{
	struct post *post = arg;

	post->fn(post->arg);
	free(post);
}

static void close_own(int fd)
{
	if (fd >= 0)
		close(fd);
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	for (struct loop_watch *watch = loop->watches, *next; watch; watch = next) {
		next = watch->next;
		free(watch);
	}
	for (struct bell *bell = loop->first_bell, *next; bell; bell = next) {
		next = bell->next;
		if (bell->fn == run_post)
			free(bell->arg);
	}
	for (struct loop_timer *timer = loop->timers; timer; timer = timer->next)
		timer->armed = false;
	close_own(loop->epoll);
	close_own(loop->wake);
	close_own(loop->alarm);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

int loop_watch(struct loop *loop, int fd, uint32_t events, loop_watch_fn *fn, void *arg, struct loop_watch **out,
	       struct error *e)
{
	struct loop_watch *watch = malloc(sizeof *watch);
	struct epoll_event event = {.events = events, .data.ptr = watch};
	int code;

	if (!watch)
		return error_errno(e, -ENOMEM, "cannot watch descriptor %d", fd);
	*watch = (struct loop_watch){.fn = fn, .arg = arg, .fd = fd, .next = loop->watches};
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		code = -errno;
		free(watch);
		return error_errno(e, code, "cannot watch descriptor %d", fd);
	}
	loop->watches = watch;
	*out = watch;
	return 0;
}

void loop_watch_events(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	(void)epoll_ctl(loop->epoll, EPOLL_CTL_MOD, watch->fd, &event);
}

void loop_unwatch(struct loop *loop, struct loop_watch *watch)
{
	if (!watch || watch->removed)
		return;
	(void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->removed = true;
	loop->has_removed = true;
}

static void free_removed(struct loop *loop)
{
	if (!loop->has_removed)
		return;
	loop->has_removed = false;
	for (struct loop_watch **link = &loop->watches; *link;) {
		struct loop_watch *watch = *link;

		if (!watch->removed) {
			link = &watch->next;
			continue;
		}
		*link = watch->next;
		free(watch);
	}
}

/* Sets the timerfd to the first deadline; a deadline of 0 would switch it off, so it becomes 1. */
static void set_alarm(struct loop *loop)
{
	struct itimerspec when = {0};

	if (loop->timers) {
		uint64_t deadline = loop->timers->deadline_ns ? loop->timers->deadline_ns : 1;

		if (deadline > INT64_MAX)
			deadline = INT64_MAX;
		when.it_value.tv_sec = (time_t)(deadline / NS_PER_SECOND);
		when.it_value.tv_nsec = (long)(deadline % NS_PER_SECOND);
	}
	(void)timerfd_settime(loop->alarm, TFD_TIMER_ABSTIME, &when, NULL);
}

static void remove_timer(struct loop *loop, struct loop_timer *timer)
{
	struct loop_timer **link = &loop->timers;

	while (*link != timer)
		link = &(*link)->next;
	*link = timer->next;
	timer->armed = false;
}

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns)
{
	struct loop_timer **link = &loop->timers, *first = loop->timers;

	if (timer->armed)
		remove_timer(loop, timer);
	while (*link && (*link)->deadline_ns <= deadline_ns)
		link = &(*link)->next;
	timer->deadline_ns = deadline_ns;
	timer->armed = true;
	timer->next = *link;
	*link = timer;
	if (loop->timers == timer || loop->timers != first)
		set_alarm(loop);
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
	bool was_first = loop->timers == timer;

	if (!timer->armed)
		return;
	remove_timer(loop, timer);
	if (was_first)
		set_alarm(loop);
}

static bool quitting(const struct loop *loop)
{
	return atomic_load_explicit(&loop->quit, memory_order_acquire);
}

/* Fires what is due, at most as many as were armed when it began: a timer that always sets itself into the past
 * cannot hold the loop. */
static void run_timers(struct loop *loop)
{
	uint64_t now = clock_host_ns();
	unsigned left = 0;
	struct loop_timer *timer;

	for (timer = loop->timers; timer; timer = timer->next)
		left++;
	while (left-- && (timer = loop->timers) && timer->deadline_ns <= now && !quitting(loop)) {
		remove_timer(loop, timer);
		timer->fn(timer->arg);
	}
	set_alarm(loop);
}

static struct bell *take_bells(struct loop *loop)
{
	struct bell *bells;

	pthread_mutex_lock(&loop->lock);
	bells = loop->first_bell;
	loop->first_bell = NULL;
	loop->last_bell = &loop->first_bell;
	pthread_mutex_unlock(&loop->lock);
	return bells;
}

/* Puts back, in front, what a quit kept from running. */
static void return_bells(struct loop *loop, struct bell *bells)
{
	struct bell **last = &bells->next;

	while (*last)
		last = &(*last)->next;
	pthread_mutex_lock(&loop->lock);
	*last = loop->first_bell;
	if (!loop->first_bell)
		loop->last_bell = last;
	loop->first_bell = bells;
	pthread_mutex_unlock(&loop->lock);
	wake(loop);
}

static void answer_bells(struct loop *loop)
{
	struct bell *bell;

	loop->answering = take_bells(loop);
	while ((bell = loop->answering) && !quitting(loop)) {
		loop->answering = bell->next;
		/* Before the call: what happens during it rings again. */
		atomic_store(&bell->rung, false);
		bell->fn(bell->arg);
	}
	if (bell)
		return_bells(loop, bell);
	loop->answering = NULL;
}

/* Whether it was in the list that begins at `link`. */
static bool unlink_bell(struct bell **link, const struct bell *bell)
{
	while (*link && *link != bell)
		link = &(*link)->next;
	if (!*link)
		return false;
	*link = bell->next;
	return true;
}

void bell_silence(struct bell *bell)
{
	struct loop *loop = bell->loop;

	pthread_mutex_lock(&loop->lock);
	if (!unlink_bell(&loop->answering, bell) && unlink_bell(&loop->first_bell, bell)) {
		loop->last_bell = &loop->first_bell;
		while (*loop->last_bell)
			loop->last_bell = &(*loop->last_bell)->next;
	}
	pthread_mutex_unlock(&loop->lock);
	atomic_store(&bell->rung, false);
}

/* Who finds bells waiting knows that the loop was woken for them. */
void bell_ring(struct bell *bell)
{
	struct loop *loop = bell->loop;
	bool first;

	if (atomic_exchange(&bell->rung, true))
		return;
	bell->next = NULL;
	pthread_mutex_lock(&loop->lock);
	first = loop->first_bell == NULL;
	*loop->last_bell = bell;
	loop->last_bell = &bell->next;
	pthread_mutex_unlock(&loop->lock);
	if (first)
		wake(loop);
}

int loop_post(struct loop *loop, loop_fn *fn, void *arg)
{
	struct post *post = malloc(sizeof *post);

	if (!post)
		return -ENOMEM;
	*post = (struct post){.bell = {.loop = loop, .fn = run_post, .arg = post}, .fn = fn, .arg = arg};
	bell_ring(&post->bell);
	return 0;
}

static void dispatch(struct loop *loop, const struct epoll_event *event)
{
	struct loop_watch *watch = event->data.ptr;

	if (!watch) {
		drain(loop->alarm);
		run_timers(loop);
	} else if (event->data.ptr == loop) {
		drain(loop->wake);
		answer_bells(loop);
	} else if (!watch->removed) {
		watch->fn(watch->arg, event->events);
	}
}

/* Milliseconds until `end`, rounded up, or -1 for no end. */
static int wait_ms(uint64_t end)
{
	uint64_t now = clock_host_ns(), ms;

	if (end == UINT64_MAX)
		return -1;
	ms = end > now ? (end - now + NS_PER_MS - 1) / NS_PER_MS : 0;
	return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

int loop_run(struct loop *loop, int timeout_ms)
{
	uint64_t end = timeout_ms < 0 ? UINT64_MAX : clock_host_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	struct epoll_event events[EVENTS_AT_ONCE];

	while (!atomic_exchange_explicit(&loop->quit, false, memory_order_acq_rel)) {
		int wait = wait_ms(end);
		int count = epoll_wait(loop->epoll, events, EVENTS_AT_ONCE, wait);

		if (count < 0 && errno != EINTR)
			return -errno;
		if (count == 0 && wait == 0)
			return -ETIMEDOUT;
		for (int i = 0; i < count && !quitting(loop); i++)
			dispatch(loop, &events[i]);
		free_removed(loop);
		if (wait == 0 && !quitting(loop))
			return -ETIMEDOUT;
	}
	return 0;
}

void loop_quit(struct loop *loop)
{
	atomic_store_explicit(&loop->quit, true, memory_order_release);
	wake(loop);
}
