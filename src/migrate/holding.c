/* What the source does with its machine: on the owner's thread. */
#include <errno.h>

#include "base/clock.h"
#include "migrate/source_private.h"

int source_track(void *arg, struct error *e)
{
	struct source *source = arg;
	int r = machine_track_begin(source->machine, e);

	source->tracking = r == 0;
	return r < 0 ? r : disks_track(&source->disks, e);
}

/* How much of a processor its busiest vCPU has used since the last time. */
static void look_at_use(struct source *source)
{
	struct machine_use use;
	uint64_t now = clock_host_ns(), most = 0, elapsed = now - source->used_at_ns;

	machine_use(source->machine, &use);
	for (unsigned i = 0; i < CPUS_MAX; i++)
		if (use.vcpu_ns[i] - source->used.vcpu_ns[i] > most)
			most = use.vcpu_ns[i] - source->used.vcpu_ns[i];
	source->used_percent = elapsed && most < elapsed ? (unsigned)(most * 100 / elapsed) : 100;
	source->used_at_ns = now;
	source->used = use;
}

int source_collect(void *arg, struct error *e)
{
	struct source *source = arg;

	(void)e;
	look_at_use(source);
	(void)machine_track_collect(source->machine, source->fresh.bits);
	disks_collect(&source->disks);
	return 0;
}

static int pause_it(struct source *source, struct error *e)
{
	if (machine_state(source->machine) != MACHINE_RUNNING)
		return 0;
	source->was_running = true;
	return machine_pause(source->machine, e);
}

/* It stands still from now on, and all of it that is not memory is in `state`. */
int source_hold(void *arg, struct error *e)
{
	struct source *source = arg;
	int r;

	source->stopped_ns = clock_host_ns();
	source->held = true;
	r = pause_it(source, e);
	if (r == 0 && machine_state(source->machine) != MACHINE_PAUSED)
		r = error_set(e, ERROR_STATE, -EBUSY, "%s is %s and can not be moved", machine_name(source->machine),
			      machine_state_name(machine_state(source->machine)));
	if (r < 0)
		return r;
	if (source->tracking) {
		(void)machine_track_collect(source->machine, source->fresh.bits);
		pages_set_add(&source->due, &source->fresh);
		disks_collect(&source->disks);
	} else {
		pages_set_fill(&source->due);
		disks_fill(&source->disks);
	}
	r = disks_settle(source->machine, e);
	if (r == 0 && source->takes_flows)
		r = flow_list_collect(&source->flows, source->machine, e);
	return r < 0 ? r : machine_save_state(source->machine, &source->state, e);
}

/* A guest that changes its memory faster than the link takes it gets less processor time. */
int source_throttle(void *arg, struct error *e)
{
	struct source *source = arg;
	struct machine_quota less;

	if (!source->throttled)
		machine_get_quota(source->machine, &source->quota);
	source->throttled = true;
	less = source->quota;
	if (!less.vcpu_percent || less.vcpu_percent > source->progress.throttle)
		less.vcpu_percent = source->progress.throttle;
	return machine_set_quota(source->machine, &less, e);
}

/* What the copy needed of it. */
int source_let_go(void *arg, struct error *e)
{
	struct source *source = arg;
	int r = 0;

	if (source->tracking)
		machine_track_end(source->machine);
	disks_untrack(&source->disks);
	disks_own(source->machine, true);
	disks_mark(source->machine, source->options.token, false);
	if (source->throttled)
		r = machine_set_quota(source->machine, &source->quota, e);
	source->tracking = source->throttled = false;
	return r;
}

/* The machine is as it was before the move. */
int source_give_back(void *arg, struct error *e)
{
	struct source *source = arg;
	bool stands = source->held && source->was_running && machine_state(source->machine) == MACHINE_PAUSED;
	int r = source_let_go(source, e);

	if (source->fenced && source->options.hooks.fence(source->options.hooks.opaque, SOURCE_FENCE_NONE, e) < 0)
		r = -EIO;
	source->fenced = source->held = false;
	return stands ? machine_resume(source->machine, e) : r;
}
