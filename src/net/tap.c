#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/packet.h"
#include "net/private.h"

#define TUN_DEVICE "/dev/net/tun"

static const struct {
	unsigned offload, flag;
} offload_flags[] = {
	{NET_OFFLOAD_CHECKSUM, TUN_F_CSUM},
	{NET_OFFLOAD_TSO4, TUN_F_TSO4},
	{NET_OFFLOAD_TSO6, TUN_F_TSO6},
	{NET_OFFLOAD_ECN, TUN_F_TSO_ECN},
};

static void name_interface(struct ifreq *request, const char *name)
{
	memcpy(request->ifr_name, name, strnlen(name, IFNAMSIZ - 1));
}

/* Whether somebody made the interface: opening one that is not there makes it, for who may, and it leads nowhere. */
static bool exists(const char *name)
{
	struct ifreq request = {.ifr_ifindex = 0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool absent;

	name_interface(&request, name);
	absent = fd >= 0 && ioctl(fd, SIOCGIFINDEX, &request) < 0 && errno == ENODEV;
	if (fd >= 0)
		close(fd);
	return !absent;
}

static int fail(int code, const char *name, struct error *e)
{
	if (code == -EBUSY)
		return error_set(e, ERROR_STATE, code, "tap %s is in use by another program; give another interface",
				 name);
	if (code == -EPERM || code == -EACCES)
		return error_set(e, ERROR_PERMISSION, code,
				 "tap %s may not be opened; as root: ip tuntap add %s mode tap user $USER", name, name);
	if (code == -ENOENT || code == -ENODEV)
		return error_set(e, ERROR_NOT_FOUND, code, "there is no " TUN_DEVICE
							   " here; as root: modprobe tun, or use --net user");
	return error_errno(e, code, "cannot open tap %s", name);
}

/* TUN_F_CSUM alone says that segments may not come; the others need it. */
static int tell_offloads(int fd, unsigned offloads)
{
	unsigned long flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(offload_flags); i++)
		if ((offloads & NET_OFFLOAD_CHECKSUM) && (offloads & offload_flags[i].offload))
			flags |= offload_flags[i].flag;
	return ioctl(fd, TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

static int find_mtu(const char *name)
{
	struct ifreq request = {.ifr_mtu = 0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), mtu = NET_MTU;

	name_interface(&request, name);
	if (fd >= 0 && ioctl(fd, SIOCGIFMTU, &request) == 0 && request.ifr_mtu >= 68 && request.ifr_mtu <= 65535)
		mtu = request.ifr_mtu;
	if (fd >= 0)
		close(fd);
	return mtu;
}

/* The interface may have been made for several queues, which is told by EINVAL without the flag. */
static int attach(int fd, const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int header = sizeof(struct packet_header), little = 1;

	name_interface(&request, name);
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		if (errno != EINVAL)
			return -errno;
		request.ifr_flags |= IFF_MULTI_QUEUE;
		if (ioctl(fd, TUNSETIFF, &request) < 0)
			return -errno;
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 || ioctl(fd, TUNSETVNETLE, &little) < 0)
		return -errno;
	return 0;
}

static int tap_open(struct net *net, const struct net_options *options, struct error *e)
{
	int r;

	if (!options->name || !*options->name || strlen(options->name) >= IFNAMSIZ)
		return error_set(e, ERROR_USAGE, -EINVAL, "a tap needs the name of an interface, at most %d characters",
				 IFNAMSIZ - 1);
	strcpy(net->name, options->name);
	if (!exists(net->name))
		return error_set(e, ERROR_NOT_FOUND, -ENODEV,
				 "there is no interface %s; as root: ip tuntap add %s mode tap user $USER, and ip link set "
				 "%s up (master BRIDGE to join a bridge)",
				 net->name, net->name, net->name);
	net->descriptor = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	r = net->descriptor < 0 ? -errno : attach(net->descriptor, net->name);
	if (r < 0)
		return fail(r, net->name, e);
	for (size_t i = 0; i < ARRAY_SIZE(offload_flags); i++)
		net->offloads |= offload_flags[i].offload;
	if (tell_offloads(net->descriptor, net->offloads) < 0)
		net->offloads = 0;
	net->mtu = (uint16_t)find_mtu(net->name);
	r = tell_offloads(net->descriptor, 0);
	return r < 0 ? fail(r, net->name, e) : 0;
}

static int tap_set_offloads(struct net *net, unsigned offloads, struct error *e)
{
	int r = tell_offloads(net->descriptor, offloads);

	return r < 0 ? error_errno(e, r, "cannot change the offloads of tap %s", net->name) : 0;
}

static void tap_ended(struct net *net, struct error *e)
{
	(void)error_set(e, ERROR_FAILED, -ENODEV, "the interface %s is gone", net->name);
}

const struct net_backend net_tap_backend = {
	.open = tap_open,
	.set_offloads = tap_set_offloads,
	.ended = tap_ended,
};
