/* A machine that goes on from what is being written still: whoever started it hears when all of its memory is there. */
#include <errno.h>
#include <sys/epoll.h>

#include "base/log.h"
#include "monitor/private.h"

static void over(void *arg, uint32_t events)
{
	struct monitor *monitor = arg;
	struct error e;

	(void)events;
	if (filling_result(monitor->filling, &e) < 0) {
		monitor_tell_starter(monitor, &e);
		monitor_abandon(monitor, e.message);
	}
	monitor_end_filling(monitor);
	monitor_tell_starter(monitor, NULL);
}

void monitor_begin_filling(struct monitor *monitor)
{
	const struct monitor_hooks *hooks = &monitor->options->hooks;

	monitor->filling = hooks->filling ? hooks->filling(hooks->context) : NULL;
}

int monitor_watch_filling(struct monitor *monitor, struct error *e)
{
	return loop_watch(monitor->loop, filling_descriptor(monitor->filling), EPOLLIN, over, monitor, &monitor->filling_watch, e);
}

void monitor_end_filling(struct monitor *monitor)
{
	loop_unwatch(monitor->loop, monitor->filling_watch);
	monitor->filling_watch = NULL;
	filling_end(monitor->filling);
	monitor->filling = NULL;
}

int monitor_refuse_incomplete(const struct monitor *monitor, const char *what, struct error *e)
{
	if (!monitor->filling)
		return monitor_refuse_while_late(monitor, what, e);
	return error_set(e, ERROR_STATE, -EBUSY, "%s is just being cloned, and can not be %s before all of its memory is there; wait a moment",
			 monitor->options->name, what);
}
