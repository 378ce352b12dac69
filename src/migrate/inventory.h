/*
 * What a machine consists of, as far as another has to be the same to take its state: architecture, processors, regions of
 * memory, and the kind, name and version of each section of its state.
 *
 * Thread: the owner, in any state of the machine.
 */
#ifndef DOPPEL_MIGRATE_INVENTORY_H
#define DOPPEL_MIGRATE_INVENTORY_H

#include <jansson.h>

#include "machine/machine.h"

/* A new reference; NULL without memory. `disks`: they are copied along, so the other side's have to be others of the same sizes;
 * else its disks have to be the same files (migrate/disks.h). */
json_t *inventory_of(struct machine *machine, bool disks);
/* Whether this machine can take the state of the one with that inventory, which is hostile: -EINVAL (ERROR_STATE) with all
 * that does not fit. */
MUST_USE int inventory_check(struct machine *machine, const json_t *theirs, const char *token, struct error *e);

#endif
