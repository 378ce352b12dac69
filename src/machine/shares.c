/* What a machine may use of its host, set before it starts and while it runs. */
#include <errno.h>
#include <string.h>

#include "device/virtio/balloon.h"
#include "device/virtio/blk.h"
#include "device/virtio/net.h"
#include "machine/private.h"

int machine_set_quota(struct machine *machine, const struct machine_quota *quota, struct error *e)
{
	unsigned cpus = machine->board->cpu_count, all = quota->vcpu_percent * cpus;
	struct quota_shares shares = {.vcpu = quota->vcpu_percent / 100.0};

	if (quota->vcpu_percent > 100)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "a vCPU can not have %u%% of a processor; give it 1%% to 100%%", quota->vcpu_percent);
	if (quota->machine_percent && (!all || quota->machine_percent < all))
		all = quota->machine_percent;
	shares.machine = all / 100.0;
	machine->shares = *quota;
	quota_set(machine->quota, &shares);
	return 0;
}

void machine_get_quota(const struct machine *machine, struct machine_quota *out)
{
	*out = machine->shares;
}

void machine_use(struct machine *machine, struct machine_use *out)
{
	struct quota_use use;

	quota_use(machine->quota, &use);
	*out = (struct machine_use){.cpu_ns = use.machine_ns, .held_ns = use.held_ns};
	for (unsigned i = 0; i < machine->board->cpu_count; i++)
		out->vcpu_ns[i] = quota_vcpu_ns(machine->quota, i);
}

int machine_count_process(struct machine *machine, pid_t pid, const char *what, struct error *e)
{
	if (pid <= 0)
		return 0;
	if (machine->process_count == QUOTA_PROCESSES_MAX)
		return error_set(e, ERROR_USAGE, -E2BIG, "%s: a machine has at most %d processes of back ends", what,
				 QUOTA_PROCESSES_MAX);
	machine->processes[machine->process_count++] = pid;
	return 0;
}

/* The worker does it at once, also when the quota has it wait. */
static void on_worker(struct machine *machine, loop_fn *fn, void *arg)
{
	quota_suspend(machine->quota, true);
	worker_call(machine->worker, fn, arg);
	quota_suspend(machine->quota, false);
}

static int no_such(const char *what, unsigned index, unsigned count, struct error *e)
{
	if (count == 0)
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "the machine has no %s", what);
	return error_set(e, ERROR_NOT_FOUND, -ENOENT, "the machine has no %s %u; give 0 to %u", what, index, count - 1);
}

struct disk_change {
	struct block *block;
	const struct block_limits *limits;
};

static void change_disk(void *arg)
{
	const struct disk_change *change = arg;

	block_set_limits(change->block, change->limits);
}

int machine_set_disk_limits(struct machine *machine, unsigned index, const struct block_limits *limits,
			    struct error *e)
{
	struct disk_change change = {.limits = limits};

	if (index >= machine->disk_count)
		return no_such("disk", index, machine->disk_count, e);
	change.block = virtio_blk_block(machine->disks[index]);
	on_worker(machine, change_disk, &change);
	machine->disk_limits[index] = *limits;
	return 0;
}

int machine_get_disk_limits(const struct machine *machine, unsigned index, struct block_limits *out, struct error *e)
{
	if (index >= machine->disk_count)
		return no_such("disk", index, machine->disk_count, e);
	*out = machine->disk_limits[index];
	return 0;
}

int machine_set_nic_limits(struct machine *machine, unsigned index, const struct net_limits *limits, struct error *e)
{
	if (index >= machine->nic_count)
		return no_such("network card", index, machine->nic_count, e);
	quota_suspend(machine->quota, true);
	virtio_net_set_limits(machine->nics[index], limits);
	quota_suspend(machine->quota, false);
	machine->nic_limits[index] = *limits;
	return 0;
}

int machine_get_nic_limits(const struct machine *machine, unsigned index, struct net_limits *out, struct error *e)
{
	if (index >= machine->nic_count)
		return no_such("network card", index, machine->nic_count, e);
	*out = machine->nic_limits[index];
	return 0;
}

int machine_set_memory(struct machine *machine, uint64_t bytes, struct error *e)
{
	if (!machine->balloon)
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "the machine has no balloon to take memory with; start it with --balloon");
	if (bytes < BOARD_MEMORY_MIN || bytes > machine->memory_bytes)
		return error_set(e, ERROR_USAGE, -EINVAL, "the guest can be left %lluM to %lluM, not %lluM",
				 (unsigned long long)(BOARD_MEMORY_MIN / MIB),
				 (unsigned long long)(machine->memory_bytes / MIB), (unsigned long long)(bytes / MIB));
	virtio_balloon_set_target(machine->balloon, machine->memory_bytes - bytes);
	machine->memory_left = bytes;
	return 0;
}

void machine_get_memory(const struct machine *machine, uint64_t *bytes, uint64_t *left)
{
	*bytes = machine->memory_bytes;
	*left = machine->memory_left;
}

void machine_note_forwards(struct machine *machine)
{
	machine->forward_count = 0;
	for (unsigned i = 0; i < machine->nic_count; i++) {
		unsigned count, room = NET_FORWARDS_MAX - machine->forward_count;
		const struct net_forward *forwards = net_forwards(machine->nets[i], &count);

		count = count < room ? count : room;
		memcpy(machine->forwards + machine->forward_count, forwards, count * sizeof *forwards);
		machine->forward_count += count;
	}
}

const struct net_forward *machine_forwards(const struct machine *machine, unsigned *count)
{
	*count = machine->forward_count;
	return machine->forwards;
}

int machine_publish(struct machine *machine, struct net_forward *forward, struct error *e)
{
	int r = error_set(e, ERROR_STATE, -EOPNOTSUPP,
			  "the machine has no user network, whose ports can be published; start it with --net user");

	for (unsigned i = 0; i < machine->nic_count && r == -EOPNOTSUPP; i++)
		r = net_publish(machine->nets[i], forward, e);
	machine_note_forwards(machine);
	return r;
}

int machine_unpublish(struct machine *machine, const struct net_forward *forward, struct error *e)
{
	int r = -ENOENT;

	for (unsigned i = 0; i < machine->nic_count && (r == -ENOENT || r == -EOPNOTSUPP); i++)
		r = net_unpublish(machine->nets[i], forward, e);
	machine_note_forwards(machine);
	if (machine->nic_count == 0)
		return error_set(e, ERROR_NOT_FOUND, r, "port %u is not published", forward->host_port);
	return r;
}

int machine_flows(struct machine *machine, unsigned index, struct net_flow out[NET_FLOWS_MAX], struct error *e)
{
	return index < machine->nic_count ? net_flows(machine->nets[index], out, e) : 0;
}

int machine_reset_flows(struct machine *machine, unsigned index, const struct net_flow *flows, unsigned count, struct error *e)
{
	if (index >= machine->nic_count)
		return error_set(e, ERROR_STATE, -ENOENT, "the machine has no network card %u", index);
	return net_reset_flows(machine->nets[index], flows, count, e);
}
