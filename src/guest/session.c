#include "guest/session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "guest/tree.h"

/* Who connects and says nothing does not keep a process for ever. */
#define HELLO_PATIENCE_MS  10000
#define LINGER_PATIENCE_MS 5000

static const struct {
	enum guest_type type;
	int (*serve)(struct wire *wire, const struct wire_frame *request, struct error *e);
} requests[] = {
	{GUEST_EXEC, session_exec},
	{GUEST_PUT, session_put},
	{GUEST_GET, session_get},
};

int session_fail(struct wire *wire, int code, const char *text, struct error *e)
{
	struct error why;

	(void)error_errno(&why, code, "%.300s", text);
	(void)!wire_put_failure(wire, GUEST_FAILED, code, why.message);
	return error_errno(e, code, "%.300s", text);
}

static int greet(struct wire *wire, struct error *e)
{
	uint8_t hello[GUEST_HELLO_SIZE];
	struct wire_frame frame;
	uint32_t version;
	int r;

	guest_hello_encode(hello);
	r = wire_put(wire, GUEST_HELLO, 0, hello, sizeof hello);
	if (r == 0)
		r = wire_receive(wire, &frame, HELLO_PATIENCE_MS, e);
	if (r < 0)
		return r;
	r = frame.type == GUEST_HELLO ? guest_hello_decode(frame.bytes, frame.length, &version) : -EPROTO;
	return r < 0 ? session_fail(wire, r, "doppel-guest speaks another version of the protocol", e) : 0;
}

/* The answer goes before the machine does. */
static int switch_off(struct wire *wire, int (*power)(void), struct error *e)
{
	int r = power ? wire_put(wire, GUEST_DONE, 0, NULL, 0) : -EPERM;

	if (r == 0) {
		(void)!wire_write(wire, NULL);
		r = power();
	}
	return r < 0 ? session_fail(wire, r, "cannot switch the machine off", e) : 0;
}

static int serve(struct wire *wire, int (*power)(void), struct error *e)
{
	struct wire_frame frame;
	int r = greet(wire, e);

	if (r == 0)
		r = wire_receive(wire, &frame, HELLO_PATIENCE_MS, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		if (requests[i].type == frame.type)
			return requests[i].serve(wire, &frame, e);
	if (frame.type == GUEST_POWER_OFF)
		return switch_off(wire, power, e);
	return session_fail(wire, -EPROTO, "doppel-guest does not know this request", e);
}

/* The other side closes when it has read all: what is closed before may be lost on the way. */
static void linger(struct wire *wire)
{
	struct wire_frame frame;

	while (wire_receive(wire, &frame, LINGER_PATIENCE_MS, NULL) == 0)
		;
}

int session_serve(int fd, int (*power)(void), struct error *e)
{
	struct wire wire;
	struct error own;
	int r;

	e = e ? e : &own;
	r = wire_init(&wire, fd, e);
	if (r < 0)
		return r;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD, SIG_DFL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	r = serve(&wire, power, e);
	linger(&wire);
	wire_finish(&wire);
	return r;
}

static void report(void *context, int code, const char *path)
{
	struct wire *wire = context;

	/* It may find no room when nobody reads; the sender then breaks off anyhow. */
	(void)!wire_put_failure(wire, GUEST_PROBLEM, code, path);
}

/* Both directions. */
static int move_tree(struct wire *wire, const struct wire_frame *request,
		     int (*move)(struct wire *, const char *, const struct tree_hooks *, struct error *), struct error *e)
{
	const struct tree_hooks hooks = {.problem = report, .context = wire};
	const char *given;
	char *path;
	int r = guest_path_decode(request->bytes, request->length, &given);

	if (r < 0)
		return session_fail(wire, r, "a path that is none", e);
	/* The frame is gone when the next one comes. */
	path = strdup(given);
	r = path ? move(wire, path, &hooks, e) : error_errno(e, -ENOMEM, "%.300s", given);
	free(path);
	if (r < 0)
		(void)!wire_put_failure(wire, GUEST_FAILED, r, e->message);
	return r;
}

static int receive(struct wire *wire, const char *path, const struct tree_hooks *hooks, struct error *e)
{
	int r = tree_receive(wire, path, TREE_AS_IT_IS, hooks, e);

	return r < 0 ? r : wire_put(wire, GUEST_DONE, 0, NULL, 0);
}

int session_put(struct wire *wire, const struct wire_frame *request, struct error *e)
{
	return move_tree(wire, request, receive, e);
}

int session_get(struct wire *wire, const struct wire_frame *request, struct error *e)
{
	return move_tree(wire, request, tree_send, e);
}
