#include "tls/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/pass.h"
#include "tls/private.h"
#include "wall/wall.h"

#define ANSWER_MS 15000
#define MEMORY    (64 * MIB)

enum { END_WIRE, END_PLAIN, ENDS };

struct report {
	int code;
	struct error error;
	char peer[TLS_NAME_SIZE];
};
_Static_assert(TLS_PEER_SIZE == TLS_NAME_SIZE, "a peer's name fits the caller's memory");

struct plan {
	const struct tls_credentials *credentials;
	const char *name;
};

/* ---- In the process ---- */

static int relay_main(int socket, void *context)
{
	const struct plan *plan = context;
	struct report report = {.code = 0};
	gnutls_session_t session;
	int ends[ENDS];
	char byte;

	if (pass_receive(socket, &byte, sizeof byte, ends, ENDS, 0) != ENDS)
		return 1;
	report.code = tls_session_open(&session, plan->credentials, ends[END_WIRE], plan->name, report.peer, &report.error);
	if (send(socket, &report, sizeof report, MSG_NOSIGNAL) != sizeof report || report.code < 0)
		return 1;
	close(socket);
	return tls_pump(session, ends[END_WIRE], ends[END_PLAIN]);
}

/* ---- Of the caller ---- */

static const char *const calls[] = {"shutdown", "time?", "openat?", "newfstatat?", "sysinfo?", "getrusage?", NULL};
static const struct wall_filter filter = {calls};

static int converse(int socket, const int ends[ENDS], struct report *report)
{
	struct pollfd waiting = {.fd = socket, .events = POLLIN};
	const char byte = 0;
	int r = pass_send(socket, &byte, sizeof byte, ends, ENDS);

	if (r < 0)
		return r;
	if (poll(&waiting, 1, ANSWER_MS) != 1)
		return -ETIMEDOUT;
	return recv(socket, report, sizeof *report, 0) == sizeof *report ? 0 : -EPIPE;
}

static int start(struct plan *plan, const int ends[ENDS], char peer[TLS_PEER_SIZE], struct error *e)
{
	const struct wall_plan wall = {
		.name = "doppel-tls",
		.filter = &filter,
		.memory_limit = MEMORY,
		.survives = true,
		.main = relay_main,
		.context = plan,
	};
	struct wall_process process;
	struct report report;
	int r = wall_spawn(&process, &wall, e);

	if (r < 0)
		return r;
	r = converse(process.socket, ends, &report);
	wall_end(&process, NULL);
	if (r < 0)
		return error_errno(e, r, "the process that speaks TLS");
	report.error.message[sizeof report.error.message - 1] = report.peer[sizeof report.peer - 1] = '\0';
	if (report.code < 0)
		return error_set(e, report.error.kind, report.code, "%s", report.error.message);
	if (peer)
		memcpy(peer, report.peer, TLS_PEER_SIZE);
	return 0;
}

static int make_ends(int wire, int pair[2])
{
	int flags = fcntl(wire, F_GETFL);

	if (flags < 0 || fcntl(wire, F_SETFL, flags | O_NONBLOCK) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	/* Each end has flags of its own. */
	return fcntl(pair[1], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int tls_relay(const struct tls_credentials *credentials, int fd, const char *name, int *out, char peer[TLS_PEER_SIZE],
	      struct error *e)
{
	struct plan plan = {credentials, name};
	int pair[2] = {-1, -1}, r = make_ends(fd, pair);

	if (r < 0)
		r = error_errno(e, r, "a socket for TLS");
	if (r == 0)
		r = start(&plan, (const int[ENDS]){[END_WIRE] = fd, [END_PLAIN] = pair[1]}, peer, e);
	close(fd);
	if (pair[1] >= 0)
		close(pair[1]);
	if (r == 0)
		*out = pair[0];
	else if (pair[0] >= 0)
		close(pair[0]);
	return r;
}
