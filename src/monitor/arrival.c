/* A machine that arrives: its monitor was started with a connection to where it comes from. docs/internals/migrate.md. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/socket.h"
#include "memory/absent.h"
#include "migrate/destination.h"
#include "migrate/link.h"
#include "monitor/private.h"

struct arrival {
	struct monitor *monitor;
	struct destination *destination;
	bool taken, over, run;
	int result;
	struct error why;
	enum destination_phase phase; /* as it was told last */
};

/* ---- Before walls: what post-copy needs ---- */

int monitor_prepare_arrival(struct monitor *monitor, struct error *e)
{
	struct error own;
	int r = socket_listen_at(monitor->folder, LINK_DOOR, &monitor->door, e);

	if (r < 0)
		return r;
	if (absent_open(&monitor->absent, &own) < 0)
		log_line(LOG_INFO, "monitor", "no post-copy: %s", own.message);
	return 0;
}

/* ---- Hooks of the destination ---- */

static int take(void *opaque, struct error *e)
{
	struct arrival *arrival = opaque;
	struct error own;
	int r = registry_ballot_cast(arrival->monitor->options->arrival->ballot, true, e);

	if (r == 0)
		return error_set(e, ERROR_STATE, -ECANCELED, "the machine was given up here before it was given");
	arrival->taken = r > 0;
	/* The ballot says so as well, for whom this fails or comes too late. */
	if (r > 0 && registry_mark_arrived(arrival->monitor->folder, &own) < 0)
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

static void cut_off(struct monitor *monitor, uint64_t left)
{
	log_line(LOG_ERROR, "monitor",
		 "the link to where %s came from broke: %llu K of its memory are there still, and it stands still until doppel "
		 "migrate --recover goes on there",
		 monitor->options->name, (unsigned long long)(left / KIB));
	machine_strand(monitor->machine, true);
	monitor_note(monitor, "cut off", json_pack("{s:I}", "left", (json_int_t)left));
	monitor->record.state = MACHINE_PAUSED;
	monitor_save_record(monitor);
}

static void mend(struct monitor *monitor)
{
	monitor_note(monitor, "recovered", NULL);
	machine_strand(monitor->machine, false);
	monitor->record.state = machine_state(monitor->machine);
	monitor_save_record(monitor);
}

/* Only what it is now counts. */
static void news(void *opaque)
{
	struct arrival *arrival = opaque;
	struct monitor *monitor = arrival->monitor;
	enum destination_phase before = arrival->phase;
	uint64_t left;

	arrival->phase = destination_phase(arrival->destination, &left);
	/* The machine is not let go yet: monitor_let_arrive looks again. */
	if (!monitor->machine || arrival->phase == before) {
		if (!monitor->machine)
			arrival->phase = before;
		return;
	}
	if (arrival->phase == DESTINATION_CUT)
		cut_off(monitor, left);
	else if (before == DESTINATION_CUT)
		mend(monitor);
	if (arrival->phase == DESTINATION_COMPLETE) {
		monitor_note(monitor, "complete", NULL);
		monitor_end_arrival(monitor);
	}
}

/* ---- Until it is here ---- */

static int outcome(const struct arrival *arrival, struct error *e)
{
	if (!arrival->over)
		return error_set(e, ERROR_STATE, -ECANCELED, "%s was stopped before it had arrived",
				 arrival->monitor->options->name);
	if (arrival->result < 0)
		return error_set(e, arrival->why.kind, arrival->result, "%s", arrival->why.message);
	return 0;
}

/* Both descriptors are the destination's now. */
static int begin(struct arrival *arrival, struct machine *machine, struct error *e)
{
	struct monitor *monitor = arrival->monitor;
	const struct monitor_arrival *given = monitor->options->arrival;
	struct destination_options options = {
		.absent = monitor->absent, .door = monitor->door, .hooks = {take, over, news, arrival}};

	monitor->absent = monitor->door = -1;
	memcpy(options.token, given->token, sizeof options.token);
	return destination_new(&arrival->destination, machine, given->link, &options, e);
}

/* Before the last word to the source: the guest has stood still for long enough. */
static int let_go(struct arrival *arrival, struct machine *machine, struct error *e)
{
	struct monitor *monitor = arrival->monitor;
	int r;

	machine_on_change(machine, monitor_changed, monitor);
	monitor->machine = machine;
	monitor_note(monitor, "arrived", NULL);
	r = arrival->run ? machine_resume(machine, e) : (monitor_changed(monitor, MACHINE_CHANGED_STATE), 0);
	machine_announce(machine);
	monitor_note_dropped(monitor, destination_drop_flows(arrival->destination));
	return r;
}

int monitor_let_arrive(struct monitor *monitor, struct machine *machine, struct error *e)
{
	struct arrival *arrival = calloc(1, sizeof *arrival);
	int r;

	if (!arrival)
		return error_errno(e, -ENOMEM, "receiving a machine");
	arrival->monitor = monitor;
	r = begin(arrival, machine, e);
	if (r < 0) {
		free(arrival);
		return r;
	}
	monitor->arrival = arrival;
	monitor->arriving = true;
	while (r == 0 && !arrival->over && (arrival->taken || !monitor->stopping))
		r = loop_run(monitor->loop, -1);
	monitor->arriving = false;
	r = r < 0 ? error_errno(e, r, "the event loop") : outcome(arrival, e);
	if (r == 0)
		r = let_go(arrival, machine, e);
	if (r < 0 || !destination_is_late(arrival->destination))
		monitor_end_arrival(monitor);
	else
		news(arrival);
	return r;
}

/* ---- While memory of it is elsewhere ---- */

/* Should the last word to the source be lost, it asks. */
void monitor_note_arrival_done(const struct monitor *monitor)
{
	const struct arrival *arrival = monitor->arrival;

	if (!arrival || !arrival->taken || !destination_is_late(arrival->destination))
		return;
	if (registry_ballot_note_done(arrival->monitor->options->arrival->ballot) < 0)
		log_line(LOG_WARNING, "monitor", "where %s came from is not told that it needs nothing more",
			 monitor->options->name);
}

void monitor_end_arrival(struct monitor *monitor)
{
	struct arrival *arrival = monitor->arrival;

	if (!arrival)
		return;
	monitor_note_arrival_done(monitor);
	monitor->arrival = NULL;
	destination_free(arrival->destination);
	free(arrival);
	(void)unlinkat(monitor->folder, LINK_DOOR, 0);
}

json_t *monitor_describe_arrival(const struct monitor *monitor)
{
	enum destination_phase phase;
	uint64_t left;

	if (!monitor->arrival || monitor->arriving)
		return NULL;
	phase = destination_phase(monitor->arrival->destination, &left);
	return json_pack("{s:s, s:I}", "state", phase == DESTINATION_CUT ? "cut off" : "post-copy", "memory_left",
			 (json_int_t)left);
}

bool monitor_is_cut_off(const struct monitor *monitor)
{
	return monitor->arrival && !monitor->arriving &&
	       destination_phase(monitor->arrival->destination, NULL) == DESTINATION_CUT;
}

int monitor_refuse_while_late(const struct monitor *monitor, const char *what, struct error *e)
{
	const char *name = monitor->options->name;

	if (monitor_is_cut_off(monitor))
		return error_set(e, ERROR_STATE, -EBUSY,
				 "%s lacks memory that is where it came from, and can not be %s; doppel migrate --recover goes on there, "
				 "doppel rm --force %s gives it up",
				 name, what, name);
	if (monitor->arrival && !monitor->arriving)
		return error_set(e, ERROR_STATE, -EBUSY, "memory of %s is still on its way, and it can not be %s; wait a moment",
				 name, what);
	return 0;
}
