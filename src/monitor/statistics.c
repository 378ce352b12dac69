/* {"call": "statistics"}: what the machine does and uses, as docs/internals/machine.md lists it. */
#include <errno.h>

#include "machine/load.h"
#include "monitor/private.h"

int monitor_statistics(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	struct machine_load load;
	json_t *tree;

	(void)with;
	if (!monitor->machine)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is just being started or has just ended",
				 monitor->options->name);
	machine_measure(monitor->machine, &load);
	tree = machine_load_json(&load);
	if (!tree)
		return error_errno(e, -ENOMEM, "statistics");
	json_object_set_new(tree, "name", json_string(monitor->options->name));
	control_answer(call, tree, -1);
	return 0;
}
