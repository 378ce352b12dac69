/* What the files of memory/ share; nobody else includes this. */
#ifndef DOPPEL_MEMORY_PRIVATE_H
#define DOPPEL_MEMORY_PRIVATE_H

#include "memory/memory.h"

/* What the host shall know of a mapping of RAM. None of it matters to correctness, so a kernel without is no error. */
void memory_advise(uint8_t *host, uint64_t size);

#endif
