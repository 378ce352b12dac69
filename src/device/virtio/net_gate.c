/* One direction of a card whose rate is limited. */
#include "base/clock.h"
#include "device/virtio/net_private.h"

void net_gate_set(struct net_gate *gate, const struct net_limits *limits)
{
	uint64_t now = clock_host_ns();

	limit_set(&gate->bytes, limits->bytes_per_second, limits->burst_seconds, 1, now);
	limit_set(&gate->packets, limits->packets_per_second, limits->burst_seconds, 1, now);
}

bool net_gate_open(struct virtio_net *card, struct net_gate *gate)
{
	uint64_t now, wait, longer;

	if (!gate->bytes.rate && !gate->packets.rate)
		return true;
	now = clock_host_ns();
	wait = limit_take(&gate->bytes, 0, now);
	longer = limit_take(&gate->packets, 0, now);
	wait = wait > longer ? wait : longer;
	if (wait)
		loop_timer_set(worker_loop(card->virtio.worker), &gate->timer, now + wait);
	return wait == 0;
}

/* More than is there is owed. */
void net_gate_count(struct net_gate *gate, uint64_t bytes)
{
	uint64_t now;

	if (!gate->bytes.rate && !gate->packets.rate)
		return;
	now = clock_host_ns();
	(void)limit_take(&gate->bytes, bytes, now);
	(void)limit_take(&gate->packets, 1, now);
}
