/* What the files of memory/ share; nobody else includes this. */
#ifndef DOPPEL_MEMORY_PRIVATE_H
#define DOPPEL_MEMORY_PRIVATE_H

#include "memory/memory.h"

/* What the host shall know of a mapping of RAM. None of it matters to correctness, so a kernel without is no error. */
void memory_advise(uint8_t *host, uint64_t size);

/* huge.c: a mapping of the host's reserved huge pages. */
MUST_USE int memory_map_huge(uint64_t size, uint8_t **host, struct error *e);
void memory_clear_huge(uint8_t *host, uint64_t length);

/* touched.c: where the host tells of this process's pages. Walls forbid to open it, so it is opened with the first region; a
 * host that has none is no failure. */
void memory_open_map(struct memory *memory);
void memory_close_map(struct memory *memory);

#endif
