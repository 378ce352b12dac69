#include <errno.h>
#include <stdlib.h>

#include "monitor/private.h"

static void forget(struct waiter *waiter)
{
	struct waiter **link = &waiter->monitor->waiters;

	while (*link != waiter)
		link = &(*link)->next;
	*link = waiter->next;
	free(waiter);
}

static void gone(struct control_call *call, void *arg)
{
	(void)call;
	forget(arg);
}

static void answer(struct waiter *waiter)
{
	struct monitor *monitor = waiter->monitor;
	struct control_call *call = waiter->call;
	json_t *result = monitor_describe(&monitor->record);

	if (result && monitor->forced)
		json_object_set_new(result, "forced", json_true());
	forget(waiter);
	control_answer(call, result, -1);
}

/* That it has ended is said last of all, by monitor_answer_waiters. */
static bool is_there(const struct monitor *monitor, unsigned states)
{
	return monitor->machine && states & (1u << monitor->record.state);
}

int monitor_await(struct monitor *monitor, struct control_call *call, unsigned states, struct error *e)
{
	struct waiter *waiter = malloc(sizeof *waiter);

	if (!waiter)
		return error_errno(e, -ENOMEM, "waiting for %s", monitor->options->name);
	*waiter = (struct waiter){call, monitor, states, monitor->waiters};
	monitor->waiters = waiter;
	control_keep(call, gone, waiter);
	if (is_there(monitor, states))
		answer(waiter);
	return 0;
}

void monitor_answer_waiters(struct monitor *monitor, bool last)
{
	for (struct waiter *waiter = monitor->waiters, *next; waiter; waiter = next) {
		next = waiter->next;
		if (last || is_there(monitor, waiter->states))
			answer(waiter);
	}
}
