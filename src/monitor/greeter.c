#include <errno.h>

#include "base/threads.h"
#include "monitor/private.h"

static void *greet(void *arg)
{
	/* Ends by loop_quit. If the kernel fails it, calls wait until the machine runs. */
	int ignored = loop_run(((struct monitor *)arg)->loop, -1);

	(void)ignored;
	return NULL;
}

int monitor_greet(struct monitor *monitor, struct error *e)
{
	int r = thread_start(&monitor->greeter, THREAD_MAIN, "greeter", greet, monitor);

	if (r < 0)
		return error_errno(e, r, "a thread that answers while %s is made", monitor->options->name);
	monitor->greeting = true;
	return 0;
}

void monitor_greet_end(struct monitor *monitor)
{
	if (!monitor->greeting)
		return;
	loop_quit(monitor->loop);
	pthread_join(monitor->greeter, NULL);
	monitor->greeting = false;
}
