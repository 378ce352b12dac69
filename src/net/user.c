#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pass.h"
#include "net/private.h"

#define HELLO_MS  10000
#define ANSWER_MS 1000

/* Connections each have a descriptor; the memory is for their buffers. */
#define USER_FILES  1024
#define USER_MEMORY (512 * MIB)

/* The ports, and the control socket. */
static bool take_hello(struct net *net, struct user_hello *hello)
{
	return pass_receive(net->process.socket, hello, sizeof *hello, &net->control, 1, 0) == 1;
}

static int await_hello(struct net *net, struct error *e)
{
	struct pollfd waiting = {.fd = net->process.socket, .events = POLLIN};
	struct user_hello hello;

	if (poll(&waiting, 1, HELLO_MS) != 1 || !take_hello(net, &hello)) {
		net_ended(net, e);
		return -EPIPE;
	}
	for (unsigned i = 0; i < net->forward_count; i++)
		net->forwards[i].host_port = hello.ports[i];
	return 0;
}

static void tell_walls(const struct net *net)
{
	char names[128];

	wall_names(WALL_ALL & ~net->process.parts, names, sizeof names);
	if (*names)
		log_line(LOG_INFO, "net", "user network: this host does not give its process these walls: %s", names);
}

static int user_open(struct net *net, const struct net_options *options, struct error *e)
{
	static const char *const files[] = {"/etc/resolv.conf", NULL};
	struct user_plan prepared = {.options = options};
	const struct wall_plan plan = {
		.name = "doppel-net",
		.filter = &user_filter,
		.network = !options->isolated,
		.files = options->isolated ? NULL : files,
		.memory_limit = USER_MEMORY,
		.files_limit = USER_FILES,
		.prepare = user_prepare,
		.main = user_main,
		.context = &prepared,
	};
	int r = wall_spawn(&net->process, &plan, e);

	if (r < 0)
		return r;
	tell_walls(net);
	net->descriptor = net->process.socket;
	net_widen_socket(net->descriptor);
	net->offloads = NET_OFFLOAD_CHECKSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6;
	net->mtu = NET_USER_MTU;
	return await_hello(net, e);
}

/* The answer is no more trusted than the process: a guest may have it in its hands. */
static int ask(const struct net *net, const struct user_request *request, struct user_answer *answer, struct error *e)
{
	struct pollfd waiting = {.fd = net->control, .events = POLLIN};

	if (send(net->control, request, sizeof *request, MSG_NOSIGNAL) == sizeof *request && poll(&waiting, 1, ANSWER_MS) == 1 &&
	    recv(net->control, answer, sizeof *answer, MSG_DONTWAIT) == sizeof *answer && answer->code <= 0 &&
	    answer->flow_count <= NET_FLOWS_MAX)
		return 0;
	return error_set(e, ERROR_FAILED, -EPIPE, "the process of the user network does not answer; restart the machine");
}

static int user_publish(struct net *net, struct net_forward *forward, bool on, struct error *e)
{
	struct user_request request;
	struct user_answer answer;
	int r;

	memset(&request, 0, sizeof request);
	request.wish = on ? USER_PUBLISH : USER_UNPUBLISH;
	request.forward = *forward;
	r = ask(net, &request, &answer, e);
	if (r < 0)
		return r;
	if (answer.code < 0)
		return user_no_port(forward, answer.code, e);
	if (on)
		forward->host_port = answer.port;
	return 0;
}

static int user_flows(struct net *net, struct net_flow out[NET_FLOWS_MAX], struct error *e)
{
	struct user_request request;
	struct user_answer answer;
	int r;

	memset(&request, 0, sizeof request);
	request.wish = USER_FLOWS;
	r = ask(net, &request, &answer, e);
	if (r < 0)
		return r;
	memcpy(out, answer.flows, answer.flow_count * sizeof *out);
	return (int)answer.flow_count;
}

static int user_reset_flows(struct net *net, const struct net_flow *flows, unsigned count, struct error *e)
{
	struct user_request request;
	struct user_answer answer;

	memset(&request, 0, sizeof request);
	request.wish = USER_RESET_FLOWS;
	request.flow_count = count;
	memcpy(request.flows, flows, count * sizeof *flows);
	return ask(net, &request, &answer, e);
}

static void user_ended(struct net *net, struct error *e)
{
	char how[96];
	int status;

	/* The descriptor is the process's socket, which wall_end closes. */
	net->descriptor = -1;
	wall_end(&net->process, &status);
	wall_describe_end(status, how, sizeof how);
	(void)error_set(e, ERROR_FAILED, -EPIPE, "the process of the user network %s", how);
}

const struct net_backend net_user_backend = {.open = user_open, .publish = user_publish, .flows = user_flows,
					   .reset_flows = user_reset_flows, .ended = user_ended};
