/* What a machine may use as it was, so that a `set` that fails in its midst leaves nothing changed. */
#ifndef DOPPEL_MONITOR_UNDO_H
#define DOPPEL_MONITOR_UNDO_H

#include "machine/machine.h"

struct undo {
	uint64_t memory_left;
	struct machine_quota quota;
	struct block_limits disks[MACHINE_DISKS_MAX];
	struct net_limits cards[MACHINE_NICS_MAX];
	struct net_forward ports[NET_FORWARDS_MAX];
	unsigned disk_count, card_count, port_count;
};

/* On the machine's thread, both. */
void undo_remember(const struct machine *machine, struct undo *undo);
/* All is again as it was then; what can not be (a port of the host that somebody took meanwhile) is logged. */
void undo_restore(struct machine *machine, const struct undo *undo);

#endif
