/*
 * Where a guest spends its instructions: a sample of each hart's pc every few thousand of them.
 *
 * Engines say where a hart is when they look around, and how many instructions ran since; nothing is interrupted for
 * it. A spot is 16 bytes of code in one mode.
 *
 * Thread: profile_sample is called on hart threads, each with its own hart; the rest by the owner while none runs.
 */
#ifndef DOPPEL_MACHINE_PROFILE_H
#define DOPPEL_MACHINE_PROFILE_H

#include "riscv/hart.h"

#define PROFILE_SPOT_BYTES 16

struct profile_spot {
	uint64_t pc;           /* a multiple of PROFILE_SPOT_BYTES */
	uint64_t instructions; /* 0 in an empty one */
	uint8_t priv;          /* enum riscv_privilege */
};

struct profile;

/* Samples the harts of the cluster from now on. */
MUST_USE int profile_new(struct profile **out, struct hart_cluster *cluster, struct error *e);
/* Samples no more; accepts NULL. */
void profile_free(struct profile *profile);
/* All spots of all harts by address and mode, on the heap, *count of them; NULL without memory. *elsewhere: instructions
 * of spots that there was no room for. */
struct profile_spot *profile_spots(const struct profile *profile, size_t *count, uint64_t *elsewhere);

#endif
