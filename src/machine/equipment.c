/* Which virtio devices a machine has: one function a kind, in the order of their slots. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "device/virtio/balloon.h"
#include "device/virtio/blk.h"
#include "device/virtio/button.h"
#include "device/virtio/console.h"
#include "device/virtio/fs.h"
#include "device/virtio/net.h"
#include "device/virtio/rng.h"
#include "device/virtio/vsock.h"
#include "machine/private.h"

static bool wants_others(const struct machine_config *config)
{
	return config->virtio_console || config->disk_count || config->nic_count || config->balloon ||
	       config->share_count || config->channel_count || config->vsock;
}

static bool wants_rng(const struct machine_config *config)
{
	return config->rng == MACHINE_ON || (config->rng == MACHINE_AUTO && wants_others(config));
}

static int add(struct machine *machine, const struct machine_config *config, struct virtio *virtio, struct error *e)
{
	virtio->withheld = config->virtio_withheld;
	return board_add_virtio(machine->board, virtio, e);
}

static void disk_full(void *opaque, const char *device)
{
	struct machine *machine = opaque;

	(void)device;
	atomic_fetch_add(&machine->full_disks, 1);
	bell_ring(&machine->room_bell);
}

static void disk_has_room(void *opaque, const char *device)
{
	struct machine *machine = opaque;

	(void)device;
	atomic_fetch_sub(&machine->full_disks, 1);
	bell_ring(&machine->room_bell);
}

static void disk_failed(void *opaque, const char *device, int code)
{
	struct machine *machine = opaque;

	for (unsigned i = 0; i < machine->disk_count; i++)
		if (strcmp(machine->disks[i]->device.name, device) == 0)
			atomic_store(&machine->disk_failures[i], code);
	bell_ring(&machine->room_bell);
}

static int add_disk(struct machine *machine, const struct machine_config *config, unsigned index, struct error *e)
{
	const struct virtio_blk_options options = {
		.queues = config->cpus,
		.hooks = {disk_full, disk_has_room, disk_failed, machine},
	};
	struct virtio *blk;
	struct block *block;
	struct block_options disk = config->disks[index];
	char name[16];
	int r;

	disk.incoming = config->incoming;
	r = block_open(&block, &disk, e);

	if (r < 0)
		return r;
	snprintf(name, sizeof name, "disk%u", index);
	r = virtio_blk_new(&blk, name, machine->worker, block, &options, e);
	if (r == 0)
		r = add(machine, config, blk, e);
	if (r < 0)
		return r;
	machine->disk_limits[index] = config->disks[index].limits;
	machine->disks[machine->disk_count++] = blk;
	return 0;
}

static int add_disks(struct machine *machine, const struct machine_config *config, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < config->disk_count; i++)
		r = add_disk(machine, config, i, e);
	return r;
}

static int add_nic(struct machine *machine, const struct machine_config *config, unsigned index, struct error *e)
{
	static const uint8_t none[NET_MAC_BYTES];
	struct net_options options = config->nics[index].options;
	struct virtio_net_options card = {.limits = config->nics[index].limits};
	struct virtio *nic;
	struct net *net;
	char name[16];
	int r;

	if (memcmp(options.mac, none, sizeof none) == 0)
		net_make_mac(machine->name, index, options.mac);
	memcpy(card.mac, options.mac, sizeof card.mac);
	card.pairs = config->cpus < VIRTIO_NET_PAIRS_MAX ? config->cpus : VIRTIO_NET_PAIRS_MAX;
	options.hostname = config->name;
	options.succeeds = config->incoming;
	snprintf(name, sizeof name, "net%u", index);
	r = net_open(&net, &options, e);
	if (r < 0)
		return r;
	r = machine_count_process(machine, net_process(net), name, e);
	if (r < 0) {
		net_close(net);
		return r;
	}
	r = virtio_net_new(&nic, name, machine->worker, net, &card, e);
	if (r == 0)
		r = add(machine, config, nic, e);
	if (r < 0)
		return r;
	machine->nic_limits[index] = card.limits;
	machine->nets[index] = net;
	machine->nics[machine->nic_count++] = nic;
	return 0;
}

static int add_nics(struct machine *machine, const struct machine_config *config, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < config->nic_count; i++)
		r = add_nic(machine, config, i, e);
	return r;
}

static int add_rng(struct machine *machine, const struct machine_config *config, struct error *e)
{
	struct virtio *rng;
	int r;

	if (!wants_rng(config))
		return 0;
	r = virtio_rng_new(&rng, "rng0", machine->worker, e);
	return r < 0 ? r : add(machine, config, rng, e);
}

static int add_balloon(struct machine *machine, const struct machine_config *config, struct error *e)
{
	uint64_t keeps = config->balloon_keeps ? config->balloon_keeps : config->memory_bytes;
	struct virtio *balloon;
	int r;

	if (!config->balloon)
		return 0;
	if (keeps > config->memory_bytes)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "the balloon is to leave %llu MiB to a guest that has %llu; give it less",
				 (unsigned long long)(keeps / MIB), (unsigned long long)(config->memory_bytes / MIB));
	r = virtio_balloon_new(&balloon, "balloon0", machine->worker, e);
	if (r == 0)
		r = add(machine, config, balloon, e);
	if (r < 0)
		return r;
	virtio_balloon_set_target(balloon, config->memory_bytes - keeps);
	machine->memory_left = keeps;
	machine->balloon = balloon;
	return 0;
}

static int add_share(struct machine *machine, const struct machine_config *config, unsigned index, struct error *e)
{
	const struct machine_share *wanted = &config->shares[index];
	struct virtio *fs;
	struct share *share;
	char name[16];
	int r = share_open(&share, &wanted->options, e);

	if (r < 0)
		return r;
	snprintf(name, sizeof name, "fs%u", index);
	r = machine_count_process(machine, share_process(share), name, e);
	if (r < 0) {
		share_close(share);
		return r;
	}
	r = virtio_fs_new(&fs, name, machine->worker, wanted->tag, share, e);
	return r < 0 ? r : add(machine, config, fs, e);
}

static int add_shares(struct machine *machine, const struct machine_config *config, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < config->share_count; i++)
		r = add_share(machine, config, i, e);
	return r;
}

static int add_vsock(struct machine *machine, const struct machine_config *config, struct error *e)
{
	struct virtio *vsock;
	int r;

	if (!config->vsock)
		return 0;
	r = virtio_vsock_new(&vsock, "vsock0", machine->worker, config->vsock_cid, config->vsock, e);
	if (r == 0)
		r = add(machine, config, vsock, e);
	if (r == 0)
		machine->vsock = vsock;
	return r;
}

int machine_dial_guest(struct machine *machine, int *fd, struct error *e)
{
	int r = machine->vsock ? virtio_vsock_dial(machine->vsock, fd) : -ENODEV;

	return r < 0 ? error_errno(e, r, "%s has no socket to ask its guest by", machine->name) : 0;
}

static int add_channels(struct machine *machine, const struct machine_config *config, struct error *e)
{
	struct virtio *channels;
	int r;

	if (!config->channel_count)
		return 0;
	r = virtio_channels_new(&channels, "channels0", machine->worker, config->channels, config->channel_count, e);
	return r < 0 ? r : add(machine, config, channels, e);
}

static bool terminal_write(void *opaque, const uint8_t *bytes, size_t length)
{
	struct machine *machine = opaque;

	atomic_fetch_add_explicit(&machine->printed, length, memory_order_relaxed);
	if (!console_write(machine->console, bytes, length))
		return false;
	/* Linux would spin until there is room again. */
	crew_throttle(machine->crew);
	return true;
}

static int add_terminal(struct machine *machine, const struct machine_config *config, struct error *e)
{
	int r;

	if (!config->virtio_console)
		return 0;
	r = virtio_terminal_new(&machine->terminal, "terminal0", machine->worker,
				(struct virtio_terminal_sink){terminal_write, machine}, e);
	if (r == 0)
		r = add(machine, config, machine->terminal, e);
	return r;
}

static int add_button(struct machine *machine, const struct machine_config *config, struct error *e)
{
	int r;

	if (!config->power_button || machine->board->type->press_power)
		return 0;
	r = virtio_button_new(&machine->button, "button0", machine->worker, e);
	return r < 0 ? r : add(machine, config, machine->button, e);
}

int machine_equip(struct machine *machine, const struct machine_config *config, struct error *e)
{
	typedef int add_fn(struct machine *machine, const struct machine_config *config, struct error *e);
	static add_fn *const kinds[] = {add_disks, add_nics,     add_rng,      add_balloon, add_shares,
					add_vsock, add_channels, add_terminal, add_button};
	bool any = wants_others(config) || wants_rng(config) || config->power_button;
	int r = any ? worker_make(&machine->worker, e) : 0;

	machine->memory_bytes = machine->memory_left = config->memory_bytes;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++)
		r = kinds[i](machine, config, e);
	machine_note_forwards(machine);
	return r;
}
