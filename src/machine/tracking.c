/* Which pages of its memory the guest changes. vCPUs stand still for the microseconds in which their leave to write
 * unnoticed is taken from them; the guest's clock runs on. */
#include "device/virtio/blk.h"
#include "device/virtio/net.h"
#include "machine/private.h"

static bool runs(const struct machine *machine)
{
	return machine->state == MACHINE_RUNNING && !machine->stalled;
}

static void hold(struct machine *machine)
{
	if (runs(machine))
		crew_park(machine->crew);
}

/* Not when a vCPU has asked for something that the loop has to act on first; under the lock, so that it does not ask just
 * now and is let go all the same. */
static void let_go(struct machine *machine)
{
	crew_drop_write_access(machine->crew);
	if (!runs(machine))
		return;
	pthread_mutex_lock(&machine->lock);
	if (machine->event.kind == EVENT_NONE)
		crew_release(machine->crew);
	pthread_mutex_unlock(&machine->lock);
}

int machine_track_begin(struct machine *machine, struct error *e)
{
	int r;

	hold(machine);
	r = memory_dirty_start(&machine->board->memory, e);
	let_go(machine);
	return r;
}

uint64_t machine_track_collect(struct machine *machine, uint64_t *const bitmaps[])
{
	struct memory *memory = &machine->board->memory;
	uint64_t pages = 0;

	hold(machine);
	for (unsigned i = 0; i < memory->count; i++)
		pages += memory_dirty_collect(memory, i, bitmaps[i]);
	let_go(machine);
	return pages;
}

void machine_track_end(struct machine *machine)
{
	memory_dirty_stop(&machine->board->memory);
}

struct block *machine_disk(struct machine *machine, unsigned index)
{
	return index < machine->disk_count ? virtio_blk_block(machine->disks[index]) : NULL;
}

void machine_announce(struct machine *machine)
{
	for (unsigned i = 0; i < machine->nic_count; i++)
		virtio_net_announce(machine->nics[i]);
}
