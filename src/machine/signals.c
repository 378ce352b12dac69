#include "machine/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define COUNT 3
static const int numbers[COUNT] = {SIGINT, SIGTERM, SIGHUP};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards watchers and before */
static unsigned watchers;
static struct sigaction before[COUNT];
/* Made once and kept: a handler may run on any thread at any time. Readable from a signal until the last watch
 * ends, so that every loop sees it. */
static atomic_int event = -1;
static atomic_int caught;

static void on_signal(int number)
{
	const uint64_t one = 1;
	int saved = errno;
	ssize_t ignored;

	atomic_store(&caught, number);
	ignored = write(atomic_load(&event), &one, sizeof one); /* a full counter is readable, too */
	(void)ignored;
	errno = saved;
}

static void answer(void *arg, uint32_t events)
{
	struct signals_watch *watch = arg;

	(void)events;
	loop_watch_events(watch->loop, watch->watch, 0);
	watch->fn(watch->opaque, atomic_load(&caught));
}

static void take_over(void)
{
	const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	for (unsigned i = 0; i < COUNT; i++) {
		sigaction(numbers[i], NULL, &before[i]);
		if (before[i].sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
	}
}

void signals_forget(void)
{
	uint64_t count;
	ssize_t ignored = read(atomic_load(&event), &count, sizeof count);

	(void)ignored;
}

static void give_back(void)
{
	for (unsigned i = 0; i < COUNT; i++)
		sigaction(numbers[i], &before[i], NULL);
	signals_forget(); /* what came while the last watch ended */
}

static int open_event(void)
{
	int fd = atomic_load(&event);

	if (fd < 0) {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		atomic_store(&event, fd);
	}
	return fd < 0 ? -errno : fd;
}

int signals_begin(struct signals_watch *watch, struct loop *loop, void (*fn)(void *opaque, int number),
		  void *opaque, struct error *e)
{
	int fd, r;

	pthread_mutex_lock(&lock);
	fd = open_event();
	r = fd < 0 ? error_errno(e, fd, "watching for signals") : 0;
	*watch = (struct signals_watch){.loop = loop, .fn = fn, .opaque = opaque};
	if (r == 0)
		r = loop_watch(loop, fd, EPOLLIN, answer, watch, &watch->watch, e);
	if (r == 0 && watchers++ == 0)
		take_over();
	pthread_mutex_unlock(&lock);
	return r;
}

void signals_end(struct signals_watch *watch)
{
	pthread_mutex_lock(&lock);
	loop_unwatch(watch->loop, watch->watch);
	if (--watchers == 0)
		give_back();
	pthread_mutex_unlock(&lock);
}
