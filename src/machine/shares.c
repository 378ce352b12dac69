/* What a machine may use of its host, set before it starts and while it runs. */
#include <errno.h>

#include "machine/private.h"

int machine_set_quota(struct machine *machine, const struct machine_quota *quota, struct error *e)
{
	unsigned cpus = machine->board->cluster.count, all = quota->vcpu_percent * cpus;
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
	for (unsigned i = 0; i < machine->board->cluster.count; i++)
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
