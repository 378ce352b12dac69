#include "cli/run_net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run_forms.h"

/* By index of the part's words. */
static const enum net_kind kinds[] = {NET_USER, NET_TAP, NET_SWITCH, NET_NONE};

/* 0, which is no limit, for one that is not given. */
static uint64_t limit(const struct option_value *value)
{
	return value->given ? value->number : 0;
}

void run_net_options(const struct option_value *values, struct machine_nic *out)
{
	*out = (struct machine_nic){
		.options = {.kind = kinds[values[NET_PART_KIND].number],
			    .name = values[NET_PART_NAME].text,
			    .isolated = values[NET_PART_ISOLATED].given},
		.limits = {.bytes_per_second = limit(&values[NET_PART_RATE]),
			   .packets_per_second = limit(&values[NET_PART_PPS]),
			   .burst_seconds = (double)limit(&values[NET_PART_BURST]) / 1000},
	};
	/* What was checked parses again. */
	if (values[NET_PART_MAC].given && net_parse_mac(values[NET_PART_MAC].text, out->options.mac, NULL) < 0)
		abort();
}

int run_net_publish(const char *text, struct machine_nic nics[MACHINE_NICS_MAX], unsigned *count, struct error *e)
{
	struct net_options *user = NULL;
	struct net_forward forward;
	int r = net_parse_forward(text, &forward, e);

	if (r < 0)
		return error_prefix(e, r, "--publish");
	for (unsigned i = 0; i < *count && !user; i++)
		if (nics[i].options.kind == NET_USER)
			user = &nics[i].options;
	if (!user && *count > 0)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "--publish: none of the networks is a user network; add --net user");
	if (!user) {
		nics[0] = (struct machine_nic){.options.kind = NET_USER};
		user = &nics[0].options;
		*count = 1;
	}
	if (user->forward_count == NET_FORWARDS_MAX)
		return error_set(e, ERROR_USAGE, -E2BIG, "--publish: at most %d ports can be published",
				 NET_FORWARDS_MAX);
	user->forwards[user->forward_count++] = forward;
	return 0;
}

void run_net_tell(const struct machine *machine)
{
	unsigned count;
	const struct net_forward *forwards = machine_forwards(machine, &count);

	for (unsigned i = 0; i < count; i++) {
		const char *address = *forwards[i].address ? forwards[i].address : "127.0.0.1";
		bool ip6 = strchr(address, ':') != NULL;

		fprintf(stderr, "doppel: %s port %s%s%s:%u is the guest's %u\n", forwards[i].udp ? "udp" : "tcp",
			ip6 ? "[" : "", address, ip6 ? "]" : "", forwards[i].host_port, forwards[i].guest_port);
	}
}
