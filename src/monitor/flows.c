#include <stdlib.h>

#include "base/log.h"
#include "migrate/flows.h"
#include "monitor/private.h"

void monitor_note_dropped(struct monitor *monitor, unsigned count)
{
	monitor->dropped_flows = count;
	if (!count)
		return;
	log_line(LOG_INFO, "monitor", "%u connections of %s ended where it comes from, and were reset", count,
		 monitor->options->name);
	monitor_note(monitor, "connections dropped", json_pack("{s:i}", "connections", (int)count));
}

void monitor_drop_lost(struct monitor *monitor)
{
	const struct monitor_hooks *hooks = &monitor->options->hooks;
	const char *text = hooks->lost ? hooks->lost(hooks->context) : NULL;
	struct flow_list list = {.bytes = NULL};
	struct error e;

	if (!text)
		return;
	/* A new network does not know where the guest is. */
	machine_announce(monitor->machine);
	if (flow_list_parse(&list, text, &e) < 0)
		log_line(LOG_WARNING, "monitor", "its snapshot: %s", e.message);
	else
		monitor_note_dropped(monitor, flow_list_reset(&list, monitor->machine));
	flow_list_finish(&list);
}

char *monitor_list_flows(struct monitor *monitor)
{
	struct flow_list list = {.bytes = NULL};
	char *text = NULL;

	if (flow_list_collect(&list, monitor->machine, NULL) == 0 && list.count)
		text = flow_list_text(&list);
	flow_list_finish(&list);
	return text;
}
