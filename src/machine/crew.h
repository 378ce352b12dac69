/*
 * The crew: one thread a vCPU, which all run guest code or are all parked.
 *
 *   parked --release--> running --ask, all noticed--> parked
 *
 * Parked means: outside the engine, in no device, holding no lock. A crew is made parked.
 * Thread: the owner, unless said otherwise.
 */
#ifndef DOPPEL_MACHINE_CREW_H
#define DOPPEL_MACHINE_CREW_H

#include "board/board.h"
#include "engine/engine.h"
#include "host/cpus.h"
#include "machine/quota.h"
#include "bus/cpu.h"

struct crew;

/* Both are called on vCPU threads. */
struct crew_hooks {
	/* The engine can not go on with this vCPU. */
	void (*failed)(void *opaque, unsigned cpu, const char *message);
	/* Whether a vCPU that was throttled must wait still. */
	bool (*crowded)(void *opaque);
	void *opaque;
};

/* Makes a vCPU of `engine` and a thread for each of the board's. Board and quota must outlive the crew. */
MUST_USE int crew_new(struct crew **out, const struct engine *engine, struct board *board, struct quota *quota,
		      const struct crew_hooks *hooks, struct error *e);
/* Returns when the threads of a new crew are there, and have opened what they need. */
void crew_settle(struct crew *crew);
/* Parks, ends and joins the threads; accepts NULL. */
void crew_free(struct crew *crew);

/* Lets parked vCPUs run. */
void crew_release(struct crew *crew);
/* Any thread, also a vCPU's own amid a run: all vCPUs leave guest code and park soon. */
void crew_ask(struct crew *crew);
/* Asks, and returns when all are parked. */
void crew_park(struct crew *crew);

/* On a vCPU's thread, amid a run (elsewhere without effect): it leaves guest code soon and waits while the hook
 * says crowded, until crew_nudge. */
void crew_throttle(struct crew *crew);
/* Any thread: it is crowded no longer. */
void crew_nudge(struct crew *crew);

/* Any thread, from time to time: a vCPU that keeps running leaves guest code for a moment, for what is only done
 * outside (machine/steal.h). Sleepers sleep on; returns whether there was any other. */
bool crew_tick(struct crew *crew);

/* Any thread, when there has been little to do for long: what the engine can make again leaves memory. */
void crew_rest(struct crew *crew);

/* For the quota's hooks; any thread. */
bool crew_is_awake(const struct crew *crew, unsigned vcpu);
void crew_stop_one(struct crew *crew, unsigned vcpu);

/* Each vCPU's thread runs on one processor of its own, of a set that has as many. */
MUST_USE int crew_pin(struct crew *crew, const cpu_set_t *cpus, struct error *e);

/* While parked: brings the board's cpus up to date, before they are saved or looked at. */
MUST_USE int crew_store_state(struct crew *crew, struct error *e);
/* While parked: cpus or memory were changed from outside. */
MUST_USE int crew_state_loaded(struct crew *crew, struct error *e);
/* While parked: whatever lets vCPUs write without marking what they change is gone (engine.h). */
void crew_drop_write_access(struct crew *crew);
const struct engine *crew_engine(const struct crew *crew);
/* Sums over all vCPUs. */
void crew_statistics(const struct crew *crew, struct engine_statistics *out);

#endif
