#include <errno.h>

#include "device/virtio/blk.h"
#include "machine/private.h"

struct freezing {
	struct block *block;
	int fd;
	const char *path;
};

static int freeze(void *arg, struct error *e)
{
	const struct freezing *freezing = arg;

	return block_freeze(freezing->block, freezing->fd, freezing->path, e);
}

int machine_freeze_disk(struct machine *machine, unsigned index, int fd, const char *path, struct error *e)
{
	int r = machine_check_state(machine, "given an overlay", IN(MACHINE_PAUSED), e);
	struct freezing freezing = {.fd = fd, .path = path};

	if (r < 0)
		return r;
	if (index >= machine->disk_count)
		return error_set(e, ERROR_USAGE, -ENOENT, "%s has no disk %u", machine->name, index);
	freezing.block = virtio_blk_block(machine->disks[index]);
	return worker_try(machine->worker, freeze, &freezing, e);
}
