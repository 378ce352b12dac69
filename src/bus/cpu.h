/*
 * What a machine knows of a vCPU, whatever its architecture: its number, how it sleeps and is woken, and which table of
 * state it is. A `struct hart` (riscv/) or a `struct x86_cpu` (x86/) holds one.
 *
 * Thread: sleeping is done by the vCPU's own thread; kicks come from any.
 */
#ifndef DOPPEL_BUS_CPU_H
#define DOPPEL_BUS_CPU_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/types.h"

#define CPUS_MAX 64 /* of a machine, of any architecture */

struct cpu;
struct state_descriptor;

/* One constant for each architecture. */
struct cpu_type {
	const struct state_descriptor *state; /* of the struct that holds the cpu, `offset` bytes in */
	size_t offset;
	/* Any thread: a cpu that runs guest code looks at interrupts, requests and its engine's stop flag soon. */
	void (*kick)(struct cpu *cpu);
	/* Any thread: it sleeps in the engine, amid a run. NULL: it never does. */
	bool (*asleep)(struct cpu *cpu);
	/* The owner, while nothing runs: state was loaded from outside. NULL: nothing is derived from it. */
	void (*loaded)(struct cpu *cpu);
	/* The cpu's thread, outside of a run: the host kept `ns` more of time from it, which the guest may want to know.
	 * False: it does not, `ns` is told again with the next. NULL: nobody tells it here. */
	bool (*stolen)(struct cpu *cpu, uint64_t ns);
	/* What its thread waited for a processor the host's kernel tells the guest by itself. */
	bool waits_are_told;
};

struct cpu {
	const struct cpu_type *type;
	const struct clock *clock; /* the guest's */
	uint32_t id;               /* 0, 1, ... in the machine */
	_Atomic uint32_t wakeups;  /* kicks so far */
	_Atomic uint32_t sleeping; /* in cpu_idle */
};

/* Any thread: it looks around soon, asleep or running. */
void cpu_kick(struct cpu *cpu);
/* Taken before the engine runs, handed to cpu_idle after: a kick in between is never lost. */
static inline uint32_t cpu_idle_ticket(const struct cpu *cpu)
{
	return atomic_load(&cpu->wakeups);
}
/* Its own thread, outside of a run: sleeps until any cpu_kick since `ticket`, or until the guest's clock reads `deadline`
 * ticks (UINT64_MAX: no limit). May return early. */
void cpu_idle(struct cpu *cpu, uint32_t ticket, uint64_t deadline);

/* Any thread: it has nothing to do, in cpu_idle or in its engine. */
static inline bool cpu_is_asleep(struct cpu *cpu)
{
	return atomic_load(&cpu->sleeping) || (cpu->type->asleep && cpu->type->asleep(cpu));
}

/* The struct that holds it, for its state table. */
static inline void *cpu_holder(struct cpu *cpu)
{
	return (char *)cpu - cpu->type->offset;
}

#endif
