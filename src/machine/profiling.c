/* A profile of a machine that runs already: its vCPUs come out of guest code for an instant when it begins and ends. */
#include <errno.h>

#include "machine/private.h"

/* Whether the vCPUs were let go when they were parked now, and may be let go again. */
static bool hold(struct machine *machine)
{
	bool running = machine->state == MACHINE_RUNNING && !machine->stalled;

	if (running)
		crew_park(machine->crew);
	return running;
}

/* What the guest asked for on its way keeps it parked: the owner acts on that next. */
static void let_go(struct machine *machine, bool running)
{
	if (running && !machine_has_event(machine))
		crew_release(machine->crew);
}

int machine_open_profile(struct machine *machine, struct error *e)
{
	if (!machine->board->harts)
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "%s can not be profiled: its engine, %s, does not tell where its guest is", machine->name,
				 machine->engine->name);
	return profile_new(&machine->profile, machine->board->harts, e);
}

int machine_profile_begin(struct machine *machine, struct error *e)
{
	int r = machine_check_state(machine, "profiled", IN(MACHINE_RUNNING) | IN(MACHINE_PAUSED), e);
	bool running;

	if (r < 0)
		return r;
	if (machine->profile)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is being profiled already; wait for its end",
				 machine->name);
	running = hold(machine);
	r = machine_open_profile(machine, e);
	let_go(machine, running);
	return r;
}

struct profile_spot *machine_profile_end(struct machine *machine, size_t *count, uint64_t *elsewhere)
{
	bool running = hold(machine);
	struct profile_spot *spots = profile_spots(machine->profile, count, elsewhere);

	profile_free(machine->profile);
	machine->profile = NULL;
	let_go(machine, running);
	return spots;
}
