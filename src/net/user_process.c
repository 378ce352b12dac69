#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/library.h"
#include "base/pass.h"
#include "net/flows.h"
#include "net/outbox.h"
#include "net/packet.h"
#include "net/private.h"

#define FDS_MAX      2048
#define TIMERS_MAX   8
#define BATCH        64
#define OUTBOX_LIMIT (8 << 20)

/* The addresses that guests of user networks know from elsewhere. */
#define NETWORK    0x0a000200u /* 10.0.2.0/24 */
#define NETMASK    0xffffff00u
#define HOST       (NETWORK + 2)
#define NAMESERVER (NETWORK + 3)
#define FIRST      (NETWORK + 15)
#define PREFIX     "fec0::"
#define HOST6      "fec0::2"
#define NAMESERVER6 "fec0::3"

static const char *const calls[] = {
	"socket",     "connect",     "bind",   "listen",     "accept",     "accept4",     "shutdown",
	"setsockopt", "getsockopt",  "fcntl",  "ioctl",      "openat",     "newfstatat",  "fstat",
	"stat",       "getsockname", "lseek",  "getpeername", "prctl?",    NULL,
};
const struct wall_filter user_filter = {calls};

/* ---- libslirp, and glib with it, in this process alone ---- */

#define SLIRP_CALLS(X) X(new) X(add_hostxfwd) X(remove_hostxfwd) X(input) X(pollfds_fill) X(pollfds_poll)
#define SLIRP_POINTER(name) typeof(slirp_##name) *name;
#define SLIRP_CALL(name) {"slirp_" #name, offsetof(typeof(slirp), name)},

static struct {
	SLIRP_CALLS(SLIRP_POINTER)
} slirp;

static const struct library_call slirp_calls[] = {SLIRP_CALLS(SLIRP_CALL)};

static struct library slirp_library = {
	.file = "libslirp.so.0",
	.package = "libslirp0",
	.calls = slirp_calls,
	.count = ARRAY_SIZE(slirp_calls),
	.pointers = &slirp,
};

struct timer {
	SlirpTimerCb fn;
	void *arg;
	int64_t expires_ms; /* -1: not armed */
	bool used;
};

struct user {
	Slirp *slirp;
	const struct net_options *options;
	int control, controller; /* our end, and the monitor's until it was passed on */
	struct outbox outbox;
	struct flows flows;
	bool ended; /* the machine's end of the socket is closed */
	struct timer timers[TIMERS_MAX];
	struct pollfd fds[FDS_MAX];
	unsigned fd_count;
	uint8_t frame[PACKET_FRAME_MAX + 1];
};

static const struct {
	int slirp;
	short poll;
} events[] = {
	{SLIRP_POLL_IN, POLLIN},   {SLIRP_POLL_OUT, POLLOUT}, {SLIRP_POLL_PRI, POLLPRI},
	{SLIRP_POLL_ERR, POLLERR}, {SLIRP_POLL_HUP, POLLHUP},
};

/* What libslirp calls. */

/* A whole correct packet; its checksum needs no second look, as it was made on this host. */
static ssize_t send_packet(const void *frame, size_t length, void *opaque)
{
	static const struct packet_header header = {.flags = PACKET_CHECKSUM_VALID};
	struct user *user = opaque;
	union {
		const void *given;
		void *taken;
	} u = {.given = &header}, v = {.given = frame};
	const struct iovec parts[] = {{u.taken, sizeof header}, {v.taken, length}};

	flows_note(&user->flows, frame, length, false);
	if (outbox_send(&user->outbox, parts, 2) < 0)
		user->ended = true;
	return (ssize_t)length;
}

static void guest_error(const char *message, void *opaque)
{
	(void)message;
	(void)opaque;
}

static int64_t clock_get_ns(void *opaque)
{
	(void)opaque;
	return (int64_t)clock_host_ns();
}

static void *timer_new(SlirpTimerCb fn, void *arg, void *opaque)
{
	struct user *user = opaque;

	for (unsigned i = 0; i < TIMERS_MAX; i++)
		if (!user->timers[i].used) {
			user->timers[i] = (struct timer){.fn = fn, .arg = arg, .expires_ms = -1, .used = true};
			return &user->timers[i];
		}
	return NULL;
}

static void timer_free(void *timer, void *opaque)
{
	(void)opaque;
	if (timer)
		((struct timer *)timer)->used = false;
}

static void timer_mod(void *timer, int64_t expires_ms, void *opaque)
{
	(void)opaque;
	if (timer)
		((struct timer *)timer)->expires_ms = expires_ms;
}

static void ignore_fd(int fd, void *opaque)
{
	(void)fd;
	(void)opaque;
}

static void ignore(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = clock_get_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = ignore_fd,
	.unregister_poll_fd = ignore_fd,
	.notify = ignore,
};

/* Set-up, before the walls. */

static int make_slirp(struct user *user, const struct net_options *options, struct error *e)
{
	SlirpConfig config = {
		.version = 3,
		.restricted = options->isolated,
		.in_enabled = true,
		.vnetwork.s_addr = htonl(NETWORK),
		.vnetmask.s_addr = htonl(NETMASK),
		.vhost.s_addr = htonl(HOST),
		.in6_enabled = true,
		.vprefix_len = 64,
		.vhostname = options->hostname,
		.vdhcp_start.s_addr = htonl(FIRST),
		.vnameserver.s_addr = htonl(NAMESERVER),
		.if_mtu = NET_USER_MTU,
		.if_mru = NET_USER_MTU,
	};
	int r = library_load(&slirp_library, e);

	if (r < 0)
		return r;
	inet_pton(AF_INET6, PREFIX, &config.vprefix_addr6);
	inet_pton(AF_INET6, HOST6, &config.vhost6);
	inet_pton(AF_INET6, NAMESERVER6, &config.vnameserver6);
	user->slirp = slirp.new(&config, &callbacks, user);
	return user->slirp ? 0 : error_set(e, ERROR_FAILED, -EINVAL, "libslirp does not take its configuration");
}

union address {
	struct sockaddr any;
	struct sockaddr_in ip4;
	struct sockaddr_in6 ip6;
};

static socklen_t host_address(const struct net_forward *forward, union address *out)
{
	const char *text = *forward->address ? forward->address : "127.0.0.1";

	memset(out, 0, sizeof *out);
	if (inet_pton(AF_INET, text, &out->ip4.sin_addr) == 1) {
		out->ip4.sin_family = AF_INET;
		out->ip4.sin_port = htons(forward->host_port);
		return sizeof out->ip4;
	}
	inet_pton(AF_INET6, text, &out->ip6.sin6_addr);
	out->ip6.sin6_family = AF_INET6;
	out->ip6.sin6_port = htons(forward->host_port);
	return sizeof out->ip6;
}

/* The guest is at the first address that DHCP gives, and at the one it makes of its MAC for IPv6 (RFC 4291,
 * appendix A). */
static socklen_t guest_address(const struct net_options *options, uint16_t port, bool ip6, union address *out)
{
	uint8_t *id = out->ip6.sin6_addr.s6_addr + 8;

	memset(out, 0, sizeof *out);
	if (!ip6) {
		out->ip4.sin_family = AF_INET;
		out->ip4.sin_port = htons(port);
		out->ip4.sin_addr.s_addr = htonl(FIRST);
		return sizeof out->ip4;
	}
	inet_pton(AF_INET6, PREFIX, &out->ip6.sin6_addr);
	out->ip6.sin6_family = AF_INET6;
	out->ip6.sin6_port = htons(port);
	memcpy(id, options->mac, 3);
	memcpy(id + 5, options->mac + 3, 3);
	id[0] ^= 2;
	id[3] = 0xff;
	id[4] = 0xfe;
	return sizeof out->ip6;
}

/* Whether the port can be had, with the kernel's reason, and which one for port 0: libslirp tells neither. */
static int try_port(const struct net_forward *forward, union address *address, socklen_t length)
{
	int fd = socket(address->any.sa_family, (forward->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	const int yes = 1;
	int r = fd < 0 ? -errno : 0;

	if (r < 0)
		return r;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(fd, &address->any, length) < 0 || (!forward->udp && listen(fd, 1) < 0) ||
	    getsockname(fd, &address->any, &length) < 0)
		r = -errno;
	close(fd);
	return r;
}

int user_no_port(const struct net_forward *forward, int code, struct error *e)
{
	const char *address = *forward->address ? forward->address : "127.0.0.1";

	if (code == -EADDRINUSE)
		return error_set(e, ERROR_STATE, code, "port %u of %s is taken; publish at another, or at 0 for any",
				 forward->host_port, address);
	if (code == -EACCES)
		return error_set(e, ERROR_PERMISSION, code, "port %u of %s needs root; publish at 1024 or above",
				 forward->host_port, address);
	return error_errno(e, code, "cannot publish at port %u of %s", forward->host_port, address);
}

static int add_forward(struct user *user, const struct net_options *options, const struct net_forward *forward,
		       uint16_t *port, struct error *e)
{
	union address host, guest;
	socklen_t host_length = host_address(forward, &host), guest_length;
	int r = try_port(forward, &host, host_length);

	if (r < 0)
		return user_no_port(forward, r, e);
	guest_length = guest_address(options, forward->guest_port, host.any.sa_family == AF_INET6, &guest);
	*port = ntohs(host.any.sa_family == AF_INET6 ? host.ip6.sin6_port : host.ip4.sin_port);
	errno = 0;
	if (slirp.add_hostxfwd(user->slirp, &host.any, host_length, &guest.any, guest_length,
			       forward->udp ? SLIRP_HOSTFWD_UDP : 0) < 0)
		return user_no_port(forward, errno ? -errno : -EADDRINUSE, e);
	return 0;
}

int user_prepare(void *context, struct error *e)
{
	struct user_plan *plan = context;
	struct user *user = calloc(1, sizeof *user);
	int pair[2], r;

	if (!user || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return error_errno(e, user ? -errno : -ENOMEM, "the process of the user network");
	r = make_slirp(user, plan->options, e);
	user->options = plan->options;
	user->control = pair[0];
	user->controller = pair[1];
	for (unsigned i = 0; r == 0 && i < plan->options->forward_count; i++)
		r = add_forward(user, plan->options, &plan->options->forwards[i], &plan->ports[i], e);
	plan->user = user;
	return r;
}

/* Work, behind the walls. */

static int remove_forward(struct user *user, const struct net_forward *forward)
{
	union address host;
	socklen_t length = host_address(forward, &host);

	return slirp.remove_hostxfwd(user->slirp, &host.any, length, forward->udp ? SLIRP_HOSTFWD_UDP : 0) < 0 ? -ENOENT
													       : 0;
}

/* The guest answers each with a packet of the connection, which libslirp does not know: it resets it. */
static void reset_flows(struct user *user, const struct user_request *request)
{
	static const uint8_t own[NET_MAC_BYTES] = {0x52, 0x55, HOST >> 24, HOST >> 16 & 0xff, HOST >> 8 & 0xff, HOST & 0xff};
	uint8_t frame[FLOWS_PROBE_MAX];

	for (uint32_t i = 0; i < request->flow_count && i < NET_FLOWS_MAX; i++)
		if (flows_valid(&request->flows[i])) {
			size_t length = flows_probe(&request->flows[i], user->options->mac, own, frame);

			send_packet(frame, length, user);
		}
}

static void answer_request(struct user *user)
{
	struct user_request request;
	struct user_answer answer;
	struct error e;
	ssize_t size = recv(user->control, &request, sizeof request, MSG_DONTWAIT);

	if (size != sizeof request) {
		user->ended = size == 0 || user->ended;
		return;
	}
	memset(&answer, 0, sizeof answer);
	switch (request.wish) {
	case USER_PUBLISH:
		answer.code = add_forward(user, user->options, &request.forward, &answer.port, &e);
		break;
	case USER_UNPUBLISH:
		answer.code = remove_forward(user, &request.forward);
		break;
	case USER_FLOWS:
		answer.flow_count = flows_list(&user->flows, answer.flows);
		break;
	case USER_RESET_FLOWS:
		reset_flows(user, &request);
		break;
	}
	if (send(user->control, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
		user->ended = true;
}

/* While the guest does not take what is there for it, the host's data waits in the host's sockets. */
static int add_poll(int fd, int wanted, void *opaque)
{
	struct user *user = opaque;
	struct pollfd *slot = &user->fds[user->fd_count];

	if (user->fd_count == FDS_MAX)
		return -1;
	*slot = (struct pollfd){.fd = fd};
	if (outbox_waits(&user->outbox))
		wanted &= ~SLIRP_POLL_IN;
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (wanted & events[i].slirp)
			slot->events |= events[i].poll;
	if (!(slot->events & (POLLIN | POLLOUT | POLLPRI)))
		slot->fd = -1;
	return (int)user->fd_count++;
}

static int get_events(int index, void *opaque)
{
	const struct user *user = opaque;
	int found = 0;

	if (index < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (user->fds[index].revents & events[i].poll)
			found |= events[i].slirp;
	return found;
}

/* One packet from the machine: false when there is none. */
static bool take_packet(struct user *user)
{
	const unsigned offloads = NET_OFFLOAD_CHECKSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6;
	struct packet_header header;
	const struct iovec parts[] = {{&header, sizeof header}, {user->frame, sizeof user->frame}};
	const char *why;
	ssize_t size = readv(user->outbox.fd, parts, 2);
	size_t length;

	if (size < 0)
		return errno == EINTR;
	if (size == 0) {
		user->ended = true;
		return false;
	}
	length = (size_t)size - sizeof header;
	if ((size_t)size <= sizeof header || packet_check(&header, user->frame, length, offloads, &why) < 0)
		return true;
	/* A packet of many segments is one large packet to libslirp, which ends connections itself. */
	packet_complete_checksum(&header, user->frame, length);
	flows_note(&user->flows, user->frame, length, true);
	slirp.input(user->slirp, user->frame, (int)length);
	return true;
}

static uint32_t until_timers(const struct user *user, uint32_t timeout)
{
	int64_t now = (int64_t)(clock_host_ns() / NS_PER_MS);

	for (unsigned i = 0; i < TIMERS_MAX; i++) {
		const struct timer *timer = &user->timers[i];

		if (!timer->used || timer->expires_ms < 0)
			continue;
		if (timer->expires_ms <= now)
			return 0;
		if (timer->expires_ms - now < timeout)
			timeout = (uint32_t)(timer->expires_ms - now);
	}
	return timeout;
}

static void run_timers(struct user *user)
{
	int64_t now = (int64_t)(clock_host_ns() / NS_PER_MS);

	for (unsigned i = 0; i < TIMERS_MAX; i++) {
		struct timer *timer = &user->timers[i];

		if (!timer->used || timer->expires_ms < 0 || timer->expires_ms > now)
			continue;
		timer->expires_ms = -1;
		timer->fn(timer->arg);
	}
}

static void turn(struct user *user)
{
	uint32_t timeout = 60000;
	int r;

	user->fds[0] = (struct pollfd){.fd = user->outbox.fd, .events = POLLIN};
	if (outbox_waits(&user->outbox))
		user->fds[0].events |= POLLOUT;
	user->fds[1] = (struct pollfd){.fd = user->control, .events = POLLIN};
	user->fd_count = 2;
	slirp.pollfds_fill(user->slirp, &timeout, add_poll, user);
	timeout = until_timers(user, timeout < 60000 ? timeout : 60000);
	r = poll(user->fds, user->fd_count, (int)timeout);
	if ((user->fds[0].revents & POLLOUT) && outbox_flush(&user->outbox) < 0)
		user->ended = true;
	/* Before packets: this sets libslirp's clock, by which the sockets that packets make expire. */
	slirp.pollfds_poll(user->slirp, r < 0, get_events, user);
	if (user->fds[0].revents & (POLLIN | POLLHUP | POLLERR))
		for (unsigned i = 0; i < BATCH && take_packet(user); i++)
			;
	if (user->fds[1].revents)
		answer_request(user);
	run_timers(user);
}

static bool say_hello(struct user *user, int socket, const struct user_hello *hello)
{
	int r = pass_send(socket, hello, sizeof *hello, &user->controller, 1);

	close(user->controller);
	return r == 0;
}

int user_main(int socket, void *context)
{
	const struct user_plan *plan = context;
	struct user *user = plan->user;
	struct user_hello hello;

	memcpy(hello.ports, plan->ports, sizeof hello.ports);
	if (!say_hello(user, socket, &hello) || fcntl(socket, F_SETFL, O_NONBLOCK) < 0)
		return 1;
	net_widen_socket(socket);
	outbox_init(&user->outbox, socket, OUTBOX_LIMIT);
	while (!user->ended)
		turn(user);
	return 0;
}
