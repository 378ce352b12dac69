/*
 * All of guest RAM at once: cleared, saved, loaded.
 *
 * Saved RAM is a sequence of sections of kind "ram", version 1, each one run of whole pages; the instance is the
 * run's guest-physical address in hexadecimal, the payload its bytes. Runs ascend and pages of zeros are left out.
 * Thread: the owner, while no vCPU runs.
 */
#ifndef DOPPEL_BOARD_RAM_H
#define DOPPEL_BOARD_RAM_H

#include "memory/memory.h"
#include "state/state.h"

#define RAM_KIND "ram"

/* All zeros, and given back to the host. */
void ram_clear(struct memory *memory);
/* Returns the pages written. */
uint64_t ram_save(const struct memory *memory, struct state_writer *w);
/* Loads one section into RAM that was cleared before the first. *next is the lowest address that may come, 0 at the
 * start; *pages counts. -EBADMSG for a run that is out of order, misaligned or outside RAM. */
MUST_USE int ram_load(struct memory *memory, const struct state_section *section, uint64_t *next, uint64_t *pages,
		      struct error *e);

#endif
