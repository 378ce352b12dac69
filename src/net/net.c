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
