#include "monitor/undo.h"

#include <string.h>

#include "base/log.h"

void undo_remember(const struct machine *machine, struct undo *undo)
{
	const struct net_forward *ports = machine_forwards(machine, &undo->port_count);
	uint64_t bytes;

	machine_get_memory(machine, &bytes, &undo->memory_left);
	machine_get_quota(machine, &undo->quota);
	undo->disk_count = undo->card_count = 0;
	while (undo->disk_count < MACHINE_DISKS_MAX &&
	       machine_get_disk_limits(machine, undo->disk_count, &undo->disks[undo->disk_count], NULL) == 0)
		undo->disk_count++;
	while (undo->card_count < MACHINE_NICS_MAX &&
	       machine_get_nic_limits(machine, undo->card_count, &undo->cards[undo->card_count], NULL) == 0)
		undo->card_count++;
	if (undo->port_count > NET_FORWARDS_MAX)
		undo->port_count = NET_FORWARDS_MAX;
	memcpy(undo->ports, ports, undo->port_count * sizeof *ports);
}

static bool same_port(const struct net_forward *a, const struct net_forward *b)
{
	return a->udp == b->udp && a->host_port == b->host_port && a->guest_port == b->guest_port &&
	       strcmp(a->address, b->address) == 0;
}

static bool has_port(const struct net_forward *list, unsigned count, const struct net_forward *port)
{
	for (unsigned i = 0; i < count; i++)
		if (same_port(&list[i], port))
			return true;
	return false;
}

static void tell(int r, const struct error *e)
{
	if (r < 0)
		log_line(LOG_WARNING, "monitor", "not as it was before: %s", e->message);
}

static void restore_ports(struct machine *machine, const struct undo *undo)
{
	struct net_forward now[NET_FORWARDS_MAX];
	unsigned count;
	const struct net_forward *ports = machine_forwards(machine, &count);
	struct error e;

	count = count < NET_FORWARDS_MAX ? count : NET_FORWARDS_MAX;
	memcpy(now, ports, count * sizeof *ports);
	for (unsigned i = 0; i < count; i++)
		if (!has_port(undo->ports, undo->port_count, &now[i]))
			tell(machine_unpublish(machine, &now[i], &e), &e);
	for (unsigned i = 0; i < undo->port_count; i++) {
		struct net_forward port = undo->ports[i];

		if (!has_port(now, count, &port))
			tell(machine_publish(machine, &port, &e), &e);
	}
}

void undo_restore(struct machine *machine, const struct undo *undo)
{
	uint64_t bytes, left;
	struct error e;

	machine_get_memory(machine, &bytes, &left);
	if (left != undo->memory_left)
		tell(machine_set_memory(machine, undo->memory_left, &e), &e);
	tell(machine_set_quota(machine, &undo->quota, &e), &e);
	for (unsigned i = 0; i < undo->disk_count; i++)
		tell(machine_set_disk_limits(machine, i, &undo->disks[i], &e), &e);
	for (unsigned i = 0; i < undo->card_count; i++)
		tell(machine_set_nic_limits(machine, i, &undo->cards[i], &e), &e);
	restore_ports(machine, undo);
}
