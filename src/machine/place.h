/*
 * Where on its host a machine lives: its control group, the processors that it stays on, and whether they and its memory
 * are its own.
 *
 * A dedicated machine has processors that nobody else uses (a partition), one for each vCPU, which is pinned to it; RAM that
 * is there from the start, in huge pages, and locked. Where the host can not keep that, the machine is not made.
 */
#ifndef DOPPEL_MACHINE_PLACE_H
#define DOPPEL_MACHINE_PLACE_H

#include "host/cgroup.h"
#include "host/cpus.h"
#include "machine/crew.h"
#include "memory/memory.h"

struct place_wish {
	struct cgroup_wish group; /* `partition` is not looked at; without `dedicated`, `cpus` need no group */
	bool dedicated;
};

/* First of all, while the process has one thread and no children, so that all follow. Errors as cgroup_enter and
 * cpus_stay_on, and for a promise that can not be kept. */
MUST_USE int place_enter(const struct place_wish *wish, const char *name, unsigned vcpus, uint64_t memory,
			 struct error *e);
/* When vCPUs and memory are there: pins the ones and locks the other, if it is dedicated. */
MUST_USE int place_keep(const struct place_wish *wish, struct crew *crew, struct memory *memory, struct error *e);

#endif
