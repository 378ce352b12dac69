#include "base/acceptor.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"

#define REST_NS UINT64_C(1000000000)

static void look(struct acceptor *acceptor)
{
	bool now = acceptor->wanted && !acceptor->rest.armed;

	loop_watch_events(acceptor->loop, acceptor->watch, now ? EPOLLIN : 0);
}

static void rested(void *arg)
{
	look(arg);
}

static bool is_out_of_means(int code)
{
	return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
}

static void ready(void *arg, uint32_t events)
{
	struct acceptor *acceptor = arg;
	int fd = accept4(acceptor->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0) {
		acceptor->came(acceptor->arg, fd);
	} else if (is_out_of_means(errno)) {
		loop_timer_set(acceptor->loop, &acceptor->rest, clock_host_ns() + REST_NS);
		look(acceptor);
	}
}

int acceptor_start(struct acceptor *acceptor, int listener, struct error *e)
{
	acceptor->listener = listener;
	acceptor->rest = (struct loop_timer){.fn = rested, .arg = acceptor};
	acceptor->wanted = true;
	return loop_watch(acceptor->loop, listener, EPOLLIN, ready, acceptor, &acceptor->watch, e);
}

void acceptor_stop(struct acceptor *acceptor)
{
	if (!acceptor->watch)
		return;
	loop_timer_cancel(acceptor->loop, &acceptor->rest);
	loop_unwatch(acceptor->loop, acceptor->watch);
	acceptor->watch = NULL;
}

void acceptor_want(struct acceptor *acceptor, bool wanted)
{
	acceptor->wanted = wanted;
	if (acceptor->watch)
		look(acceptor);
}
