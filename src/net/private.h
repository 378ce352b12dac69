/* What the parts of net/ share; nobody else includes this but tests. */
#ifndef DOPPEL_NET_PRIVATE_H
#define DOPPEL_NET_PRIVATE_H

#include "net/net.h"
#include "wall/wall.h"

#define NET_USER_MTU 65520 /* what libslirp takes at most, rounded down to what a multiple of 16 is */
#define NET_MTU      1500

/* Kernel room for packets on their way through a socket; what the host allows of it. */
#define NET_SOCKET_BYTES (4 << 20)

struct net_backend {
	MUST_USE int (*open)(struct net *net, const struct net_options *options, struct error *e);
	/* NULL: nothing to tell. */
	int (*set_offloads)(struct net *net, unsigned offloads, struct error *e);
	/* NULL: there are no ports. */
	int (*publish)(struct net *net, struct net_forward *forward, bool on, struct error *e);
	/* NULL: there are none. */
	int (*flows)(struct net *net, struct net_flow out[NET_FLOWS_MAX], struct error *e);
	int (*reset_flows)(struct net *net, const struct net_flow *flows, unsigned count, struct error *e);
	/* Fills `e` with why the descriptor came to its end. */
	void (*ended)(struct net *net, struct error *e);
};

struct net {
	const struct net_backend *backend;
	int descriptor; /* -1: none */
	bool mac_is_fixed;
	unsigned offloads;
	uint16_t mtu;
	struct net_forward forwards[NET_FORWARDS_MAX];
	unsigned forward_count;
	char name[32];
	bool isolated;
	int control; /* the owner's way to the process of a user network; -1: none */
	struct wall_process process; /* user; its socket is the descriptor */
};

extern const struct net_backend net_user_backend, net_tap_backend, net_switch_backend;

/* Asks for NET_SOCKET_BYTES on a socket; less is fine. */
void net_widen_socket(int fd);

/* user_process.c: what runs behind the walls, and what it tells first. */
struct user_plan {
	const struct net_options *options;
	uint16_t ports[NET_FORWARDS_MAX]; /* that were taken */
	struct user *user;                /* made by prepare */
};
/* First on the socket, with the monitor's end of the control socket (SCM_RIGHTS): what is asked there can not be said in
 * a packet. */
struct user_hello {
	uint16_t ports[NET_FORWARDS_MAX];
};
/* On the control socket, and its answer, one at a time. */
enum user_wish { USER_PUBLISH, USER_UNPUBLISH, USER_FLOWS, USER_RESET_FLOWS };
struct user_request {
	enum user_wish wish;
	struct net_forward forward;
	uint32_t flow_count; /* to reset */
	struct net_flow flows[NET_FLOWS_MAX];
};
struct user_answer {
	int32_t code; /* 0 or a negative errno */
	uint16_t port; /* that was taken */
	uint32_t flow_count;
	struct net_flow flows[NET_FLOWS_MAX];
};
/* Why a port can not be published: `code`, with its message. */
int user_no_port(const struct net_forward *forward, int code, struct error *e);
int user_prepare(void *plan, struct error *e);
int user_main(int socket, void *plan);
extern const struct wall_filter user_filter;

/* switch_process.c: what runs behind the walls, one for a segment. */
struct switch_plan {
	char directory[72], name[32]; /* a socket's path has at most 107 bytes */
	int listener, lock; /* opened by prepare */
};
/* The first message of a port, and its answer; later such a message tells other offloads. Shorter than any
 * packet. */
#define SWITCH_MAGIC 0x31535044u
struct switch_message {
	uint32_t magic;
	uint32_t offloads;
	uint8_t mac[NET_MAC_BYTES];
	int16_t code; /* of a hello: SWITCH_SUCCEEDS or 0; in an answer: 0 or a negative errno */
};
#define SWITCH_SUCCEEDS 1
int switch_prepare(void *plan, struct error *e);
int switch_main(int socket, void *plan);
extern const struct wall_filter switch_filter;
/* DIRECTORY/NAME and what is added, into `out`. */
void switch_path(const struct switch_plan *plan, const char *ending, char *out, size_t room);

#endif
