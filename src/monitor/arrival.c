/* A machine that arrives: its monitor was started with a connection to where it comes from. docs/internals/migrate.md. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "migrate/destination.h"
#include "monitor/private.h"

struct arrival {
	struct monitor *monitor;
	bool taken, over, run;
	int result;
	struct error why;
};

static int take(void *opaque, struct error *e)
{
	struct arrival *arrival = opaque;
	struct error own;
	int r = registry_ballot_cast(arrival->monitor->options->arrival->ballot, true, e);

	if (r == 0)
		return error_set(e, ERROR_STATE, -ECANCELED, "the machine was given up here before it was given");
	arrival->taken = r > 0;
	/* The ballot says so as well, for whom this fails or comes too late. */
	if (r > 0 && registry_mark_arriving(arrival->monitor->folder, NULL, &own) < 0)
		log_line(LOG_WARNING, "monitor", "%s", own.message);
	return r < 0 ? r : 0;
}

static void over(void *opaque, int result, bool run, const struct error *why)
{
	struct arrival *arrival = opaque;

	arrival->over = true;
	arrival->result = result;
	arrival->run = run;
	if (result < 0)
		arrival->why = *why;
	loop_quit(arrival->monitor->loop);
}

static int outcome(const struct arrival *arrival, struct error *e)
{
	if (!arrival->over)
		return error_set(e, ERROR_STATE, -ECANCELED, "%s was stopped before it had arrived",
				 arrival->monitor->options->name);
	if (arrival->result < 0)
		return error_set(e, arrival->why.kind, arrival->result, "%s", arrival->why.message);
	return 0;
}

int monitor_let_arrive(struct monitor *monitor, struct machine *machine, struct error *e)
{
	const struct monitor_arrival *given = monitor->options->arrival;
	struct arrival arrival = {.monitor = monitor};
	struct destination_options options = {.hooks = {take, over, &arrival}};
	struct destination *destination;
	int r;

	memcpy(options.token, given->token, sizeof options.token);
	r = destination_new(&destination, machine, given->link, &options, e);
	if (r < 0)
		return r;
	monitor->arriving = true;
	while (r == 0 && !arrival.over && (arrival.taken || !monitor->stopping))
		r = loop_run(monitor->loop, -1);
	monitor->arriving = false;
	r = r < 0 ? error_errno(e, r, "the event loop") : outcome(&arrival, e);
	/* Before the last word to the source: the guest has stood still for long enough. */
	if (r == 0) {
		machine_on_change(machine, monitor_changed, monitor);
		monitor->machine = machine;
		monitor_note(monitor, "arrived", NULL);
		r = arrival.run ? machine_resume(machine, e) : (monitor_changed(monitor, MACHINE_CHANGED_STATE), 0);
		machine_announce(machine);
	}
	destination_free(destination);
	return r;
}
