/*
 * A ceiling for the memory of a monitor and its guest together, which no privilege is needed for.
 *
 * What the machine may come to use is reckoned at its making, as if all of it were touched: the guest's RAM, the engine's
 * caches, and a sum for the rest. What then is left for growth the kernel enforces (RLIMIT_DATA): beyond it, memory is
 * refused to whoever asks, who says so. Counted is private memory and translated code. Not counted: the program itself,
 * which the host's page cache holds once for all machines, what the kernel keeps for sockets and files, and the
 * processes of back ends, which have limits of their own.
 */
#ifndef DOPPEL_MACHINE_CEILING_H
#define DOPPEL_MACHINE_CEILING_H

#include "engine/engine.h"

/* For what a monitor allocates before it starts and while it runs. */
#define CEILING_BASE   (8 * MIB)
#define CEILING_GROWTH (16 * MIB)
/* The least and the most room for translated code that is chosen. */
#define CEILING_CACHE_MIN MIB
#define CEILING_CACHE_MAX (64 * MIB)

struct ceiling {
	uint64_t most;   /* 0: none */
	uint64_t growth; /* what is left of it for growth */
};

/* Finds room for everything under `most` bytes. *code_cache is what was asked for, or 0: as much as fits is chosen.
 * ERROR_USAGE, -EINVAL with what would be needed. The threads that are started from now on have small stacks. */
MUST_USE int ceiling_plan(struct ceiling *ceiling, uint64_t most, uint64_t memory, unsigned cpus,
			  const struct engine *engine, uint64_t *code_cache, struct error *e);
/* When everything is made: the process may grow by what is left, and no more, for the rest of its life; a second time
 * the limit does not rise. */
MUST_USE int ceiling_impose(const struct ceiling *ceiling, struct error *e);

#endif
