#include "net/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/private.h"

static int open_nothing(struct net *net, const struct net_options *options, struct error *e)
{
	(void)net;
	(void)options;
	(void)e;
	return 0;
}

static const struct net_backend nothing = {.open = open_nothing};

static const struct net_backend *const backends[] = {
	[NET_NONE] = &nothing,
	[NET_USER] = &net_user_backend,
	[NET_TAP] = &net_tap_backend,
	[NET_SWITCH] = &net_switch_backend,
};

int net_open(struct net **out, const struct net_options *options, struct error *e)
{
	struct net *net = calloc(1, sizeof *net);
	int r;

	if (!net)
		return error_errno(e, -ENOMEM, "cannot make a network");
	net->backend = backends[options->kind];
	net->descriptor = -1;
	net->control = -1;
	net->isolated = options->isolated;
	net->mtu = NET_MTU;
	net->forward_count = options->forward_count;
	memcpy(net->forwards, options->forwards, sizeof net->forwards);
	r = net->backend->open(net, options, e);
	if (r < 0) {
		net_close(net);
		return r;
	}
	*out = net;
	return 0;
}

static void close_descriptor(struct net *net)
{
	if (net->descriptor >= 0)
		close(net->descriptor);
	net->descriptor = -1;
}

void net_close(struct net *net)
{
	if (!net)
		return;
	/* The socket of a process is the descriptor. */
	if (net->process.pid > 0)
		wall_end(&net->process, NULL);
	else
		close_descriptor(net);
	if (net->control >= 0)
		close(net->control);
	free(net);
}

int net_descriptor(const struct net *net)
{
	return net->descriptor;
}

unsigned net_offloads(const struct net *net)
{
	return net->offloads;
}

int net_set_offloads(struct net *net, unsigned offloads, struct error *e)
{
	if (!net->backend->set_offloads || net->descriptor < 0)
		return 0;
	return net->backend->set_offloads(net, offloads & net->offloads, e);
}

uint16_t net_mtu(const struct net *net)
{
	return net->mtu;
}

bool net_mac_is_fixed(const struct net *net)
{
	return net->mac_is_fixed;
}

pid_t net_process(const struct net *net)
{
	return net->process.pid;
}

const struct net_forward *net_forwards(const struct net *net, unsigned *count)
{
	*count = net->forward_count;
	return net->forwards;
}

/* Index of the forward of that port, or the count. */
static unsigned find_forward(const struct net *net, const struct net_forward *wanted)
{
	unsigned i = 0;

	while (i < net->forward_count &&
	       (net->forwards[i].udp != wanted->udp || net->forwards[i].host_port != wanted->host_port ||
		strcmp(net->forwards[i].address, wanted->address) != 0))
		i++;
	return i;
}

static int check_publish(const struct net *net, struct error *e)
{
	if (!net->backend->publish || net->control < 0)
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "only a user network has ports to publish; give the machine --net user");
	if (net->isolated)
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "an isolated network has left the host's; publish its ports when the machine starts");
	return 0;
}

int net_publish(struct net *net, struct net_forward *forward, struct error *e)
{
	int r = check_publish(net, e);

	if (r == 0 && net->forward_count == NET_FORWARDS_MAX)
		r = error_set(e, ERROR_USAGE, -E2BIG, "at most %d ports can be published; end one first",
			      NET_FORWARDS_MAX);
	if (r == 0)
		r = net->backend->publish(net, forward, true, e);
	if (r == 0)
		net->forwards[net->forward_count++] = *forward;
	return r;
}

int net_unpublish(struct net *net, const struct net_forward *forward, struct error *e)
{
	unsigned index = find_forward(net, forward);
	struct net_forward own;
	int r = check_publish(net, e);

	if (r < 0)
		return r;
	if (index == net->forward_count)
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "port %u of %s is not published", forward->host_port,
				 *forward->address ? forward->address : "127.0.0.1");
	own = net->forwards[index];
	r = net->backend->publish(net, &own, false, e);
	if (r == 0)
		net->forwards[index] = net->forwards[--net->forward_count];
	return r;
}

int net_flows(struct net *net, struct net_flow out[NET_FLOWS_MAX], struct error *e)
{
	return net->backend->flows && net->control >= 0 ? net->backend->flows(net, out, e) : 0;
}

int net_reset_flows(struct net *net, const struct net_flow *flows, unsigned count, struct error *e)
{
	if (!net->backend->reset_flows || net->control < 0 || count > NET_FLOWS_MAX)
		return count ? error_set(e, ERROR_STATE, -EOPNOTSUPP, "this network has no connections to reset") : 0;
	return net->backend->reset_flows(net, flows, count, e);
}

void net_ended(struct net *net, struct error *e)
{
	(void)error_set(e, ERROR_FAILED, -EPIPE, "there is no network");
	if (net->backend->ended)
		net->backend->ended(net, e);
	close_descriptor(net);
}

void net_widen_socket(int fd)
{
	const int wanted = NET_SOCKET_BYTES;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted);
}
