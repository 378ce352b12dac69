/*
 * The quota: how much of the host's processors a machine may use, and each of its vCPUs. Without privilege, and against
 * any guest.
 *
 * For the machine counts what its whole process used (vCPUs, the worker, I/O threads, the owner, the quota's own thread)
 * and the back ends' processes that it was told of. For a vCPU counts its thread. A thread of its own, the governor,
 * looks at these clocks just often enough (budget.h); when it is late, for a host that is busy gives it no processor, a vCPU
 * that runs notices and looks in its place, so whoever uses time is also there to see it. When a budget is spent it makes vCPUs leave guest code and
 * wait outside, and the worker wait between two callbacks; when it is worthwhile again they go on.
 *
 *   open --spent: stop--> closed, vCPUs wait in quota_wait --worthwhile--> open
 *
 * While no quota is set the governor sleeps, and a vCPU's turn costs one load. One machine a process is assumed.
 */
#ifndef DOPPEL_MACHINE_QUOTA_H
#define DOPPEL_MACHINE_QUOTA_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/loop.h"

#define QUOTA_PROCESSES_MAX 32

/* Called on the governor's thread. */
struct quota_hooks {
	/* This vCPU's thread does not sleep for want of work. */
	bool (*awake)(void *opaque, unsigned vcpu);
	/* It leaves guest code soon. */
	void (*stop)(void *opaque, unsigned vcpu);
	void *opaque;
};

/* Shares of one processor: 0.4, or 2.5 for the machine; 0: no limit. */
struct quota_shares {
	double machine, vcpu;
};

struct quota;

/* Starts the governor. */
MUST_USE int quota_new(struct quota **out, unsigned vcpus, const struct quota_hooks *hooks, struct error *e);
/* Returns when the governor is there, and has what it asks of the host. */
void quota_settle(struct quota *quota);
/* When no vCPU and no worker uses it any more; accepts NULL. */
void quota_free(struct quota *quota);

/* Once, before a share is set: the worker whose loop this is waits while the machine's budget is spent. */
void quota_add_worker(struct quota *quota, struct loop *loop);
/* Before a share is set: this child counts as part of the machine. It is single-threaded. Beyond QUOTA_PROCESSES_MAX:
 * not counted, false. */
bool quota_add_process(struct quota *quota, pid_t pid);

/* Any thread; in force at once, with full budgets. */
void quota_set(struct quota *quota, const struct quota_shares *shares);
/* Any thread. Nobody waits, whatever was spent; counts nest. What is used meanwhile is owed afterwards. */
void quota_suspend(struct quota *quota, bool suspend);

/* On the vCPU's thread: before its first turn and after its last. */
void quota_join(struct quota *quota, unsigned vcpu);
void quota_leave(struct quota *quota, unsigned vcpu);
/* Any thread, also amid a run: the governor is late; a vCPU shall leave guest code and ask quota_open, which looks. */
bool quota_is_late(const struct quota *quota);
/* On the vCPU's thread, before each run. False: it shall wait. */
bool quota_open(struct quota *quota, unsigned vcpu);
/* On the vCPU's thread: waits until it may run, or `*leave` becomes true and quota_wake was called since. Returns the
 * nanoseconds. */
uint64_t quota_wait(struct quota *quota, unsigned vcpu, const atomic_bool *leave);
/* Any thread: whoever waits looks at *leave. */
void quota_wake(struct quota *quota);

struct quota_use {
	uint64_t machine_ns; /* processor time that counts for the machine */
	uint64_t held_ns;    /* time on the clock in which the machine's budget was spent */
};
/* Any thread. */
void quota_use(struct quota *quota, struct quota_use *out);
/* Any thread: processor time of a vCPU's thread; 0 before it joined and after it left. */
uint64_t quota_vcpu_ns(struct quota *quota, unsigned vcpu);

#endif
