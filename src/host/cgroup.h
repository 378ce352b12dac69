/*
 * Control groups, version 2: shares that the kernel keeps, for those who may make groups (root, or a user to whom a part of
 * the tree was delegated).
 *
 *   PARENT/doppel/NAME    a machine's own group; PARENT is $DOPPEL_CGROUP, or for root the tree's root, or for a user the
 *                         group above his own
 *   ROOT/doppel-NAME      of a dedicated machine: only below the root can a group have processors of its own
 *
 * What is asked for and can not be had is refused, with the remedy; nothing is left out silently.
 * Thread: the only one; the process that is to live in the group.
 */
#ifndef DOPPEL_HOST_CGROUP_H
#define DOPPEL_HOST_CGROUP_H

#include "base/error.h"
#include "base/types.h"

#define CGROUP_WEIGHT_MIN 1
#define CGROUP_WEIGHT_MAX 10000

/* 0 and NULL: not asked for. */
struct cgroup_wish {
	unsigned cpu_weight, io_weight; /* against other groups beside it; others have 100 */
	unsigned cpu_max_percent;       /* of one processor */
	uint64_t memory_max;            /* bytes: of all its processes, with what the kernel keeps for them */
	const char *cpus;               /* "0-3": on these only */
	bool partition;                 /* `cpus` are taken from all others, and from the scheduler's balancing */
};

/* Whether anything is wished for. */
bool cgroup_wanted(const struct cgroup_wish *wish);

/* Where the tree is. For tests: all NULL but those. */
struct cgroup_place {
	char root[256];   /* mount point of the tree */
	char parent[512]; /* where doppel/ is to be */
};
/* -EOPNOTSUPP: this host has no cgroups of version 2. `mounts` and `own`: as /proc/self/mountinfo and /proc/self/cgroup. */
MUST_USE int cgroup_find(struct cgroup_place *place, const char *mounts, const char *own, struct error *e);

/* Makes the group, or takes the one that is left of a machine of that name, gives it what is wished, and moves this process
 * into it; path (at least CGROUP_PATH bytes) is where it is. -EOPNOTSUPP: a controller is missing; -EACCES; -EBUSY: live
 * processes are in it; -EINVAL: the kernel does not make the partition, with its reason. On failure no group is
 * left. */
#define CGROUP_PATH 800
MUST_USE int cgroup_enter(const struct cgroup_place *place, const char *name, const struct cgroup_wish *wish, char *path,
			  struct error *e);

/* The group that the machine of that name has, whose monitor's /proc/PID/cgroup is `process`. -ENOENT: it lives in one that
 * is not its own. Any process that may read the tree. */
MUST_USE int cgroup_of(const char *name, const char *mounts, const char *process, char path[CGROUP_PATH], struct error *e);

/* What a group's files held before cgroup_change. */
#define CGROUP_SETTINGS 7
struct cgroup_before {
	char values[CGROUP_SETTINGS][64]; /* empty: not changed */
};
/* Changes weights and maxima of a group that is in use: all that is wished, or nothing. `cpus` and `partition` are not looked
 * at. For who may change the tree, which a monitor behind its walls may not. -EACCES, -EOPNOTSUPP: a controller was not
 * given to it at its start. */
MUST_USE int cgroup_change(const char *group, const struct cgroup_wish *wish, struct cgroup_before *before, struct error *e);
/* As it was before; as far as that can be. */
void cgroup_restore(const char *group, const struct cgroup_before *before);

#endif
