/*
 * Stolen time: how long the host let a vCPU's thread wait for a processor, and its quota held it, told to a guest that
 * asks for it (bus/cpu.h: stolen).
 *
 * Thread: the vCPU's own, outside of a run.
 */
#ifndef DOPPEL_MACHINE_STEAL_H
#define DOPPEL_MACHINE_STEAL_H

#include "bus/cpu.h"

#define STEAL_EVERY_NS UINT64_C(100000000)

struct steal {
	int fd; /* of the thread's statistics; -1: this host keeps none */
	uint64_t held_ns;   /* by its quota, so far: added to by the thread */
	uint64_t waited_ns; /* with what it was held, at the last look */
	uint64_t next_ns;   /* of CLOCK_MONOTONIC: when to look again */
};

/* On the vCPU's thread. */
void steal_begin(struct steal *steal);
/* Tells the guest at most once in STEAL_EVERY_NS. */
void steal_tell(struct steal *steal, struct cpu *cpu);
void steal_end(struct steal *steal);

#endif
