/* The host's side of a command. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "guest/client.h"
#include "guest/flow.h"
#include "guest/tree.h"

struct execution {
	struct wire *wire;
	const struct guest_run *run;
	struct outflow in;
	struct inflow out[2]; /* stdout and stderr */
	bool started, exited;
	int status;
};

static struct inflow *find_inflow(struct execution *execution, unsigned stream)
{
	return stream == GUEST_STDOUT ? &execution->out[0] : stream == GUEST_STDERR ? &execution->out[1] : NULL;
}

static int on_exited(struct execution *execution, const struct wire_frame *frame)
{
	uint32_t killed, status;

	if (guest_pair_decode(frame->bytes, frame->length, &killed, &status) < 0 || killed > 1 ||
	    status > (killed ? 127 : 255) || !execution->started)
		return -EPROTO;
	execution->exited = true;
	/* Whatever it said of its streams: nothing is read any more. */
	execution->out[0].ended = execution->out[1].ended = true;
	execution->status = (int)(killed ? 128 + status : status);
	return 0;
}

static int on_frame(struct execution *execution, const struct wire_frame *frame, struct error *e)
{
	struct inflow *out = find_inflow(execution, frame->stream);

	switch ((enum guest_type)frame->type) {
	case GUEST_STARTED:
		execution->started = true;
		return 0;
	case GUEST_DATA:
		return out ? inflow_take(out, frame) : -EPROTO;
	case GUEST_END:
		/* Of stdin: the command does not read any more. */
		return out ? inflow_take(out, frame) : outflow_end(&execution->in, execution->wire);
	case GUEST_CREDIT:
		return out ? -EPROTO : outflow_credit(&execution->in, frame);
	case GUEST_EXITED:
		return on_exited(execution, frame);
	case GUEST_FAILED:
		return tree_failure(frame, e);
	default:
		return -EPROTO;
	}
}

static int on_frames(struct execution *execution, struct error *e)
{
	struct wire_frame frame;
	int r = 0;

	while (r == 0 && !execution->exited && (r = wire_next(execution->wire, &frame, e)) > 0) {
		r = on_frame(execution, &frame, e);
		if (r < 0 && frame.type != GUEST_FAILED)
			return error_set(e, ERROR_FAILED, r, "the guest sends what is not the protocol");
	}
	return r;
}

static int on_signals(struct execution *execution)
{
	struct signalfd_siginfo info;
	uint16_t rows = 0, columns = 0;

	if (read(execution->run->signals, &info, sizeof info) != (ssize_t)sizeof info)
		return 0;
	if (info.ssi_signo != SIGWINCH)
		return wire_put_number(execution->wire, GUEST_SIGNAL, 0, info.ssi_signo);
	if (!execution->run->window)
		return 0;
	execution->run->window(&rows, &columns);
	return wire_put_number(execution->wire, GUEST_RESIZE, 0, (uint32_t)rows | (uint32_t)columns << 16);
}

static bool is_over(const struct execution *execution)
{
	return execution->exited && inflow_is_done(&execution->out[0]) && inflow_is_done(&execution->out[1]);
}

/* Waits, and does what has become possible. */
static int step(struct execution *execution, struct error *e)
{
	struct wire *wire = execution->wire;
	struct inflow *out = execution->out;
	bool reading = execution->started && !execution->exited && outflow_wants(&execution->in, wire);
	struct pollfd polls[] = {
		{.fd = execution->exited ? -1 : wire->fd,
		 .events = (short)(POLLIN | (wire_waiting(wire) > 0 ? POLLOUT : 0))},
		{.fd = execution->started ? execution->run->signals : -1, .events = POLLIN},
		{.fd = reading ? execution->in.fd : -1, .events = POLLIN},
		{.fd = inflow_wants(&out[0]) ? out[0].fd : -1, .events = POLLOUT},
		{.fd = inflow_wants(&out[1]) ? out[1].fd : -1, .events = POLLOUT},
	};
	int r = 0;

	if (poll(polls, ARRAY_SIZE(polls), -1) < 0)
		return errno == EINTR ? 0 : error_errno(e, -errno, "waiting for the guest");
	if (polls[0].revents & (POLLIN | POLLHUP | POLLERR))
		r = wire_read(wire, e);
	if (r == 0 && polls[1].revents)
		r = on_signals(execution);
	if (r == 0 && polls[2].revents)
		r = outflow_read(&execution->in, wire);
	r = r == -EAGAIN ? 0 : r;
	for (unsigned i = 0; r == 0 && i < 2; i++)
		if (polls[3 + i].revents)
			r = inflow_write(&out[i], wire);
	return r;
}

static int talk(struct execution *execution, struct error *e)
{
	int r = 0;

	while (r == 0 && !is_over(execution)) {
		/* What the guest said last is read before a failure to write counts. */
		(void)!wire_write(execution->wire, NULL);
		r = step(execution, e);
		if (r == 0)
			r = on_frames(execution, e);
	}
	return r;
}

static int begin(struct execution *execution, struct error *e)
{
	const struct guest_run *run = execution->run;
	uint8_t *bytes;
	size_t length;
	int r = guest_command_encode(run->command, &bytes, &length);

	if (r < 0)
		return error_errno(e, r, "the command");
	r = wire_put(execution->wire, GUEST_EXEC, 0, bytes, length);
	free(bytes);
	outflow_init(&execution->in, GUEST_STDIN, run->in);
	execution->in.keep = true;
	if (r == 0 && run->in < 0)
		r = wire_put(execution->wire, GUEST_END, GUEST_STDIN, NULL, 0);
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		r = inflow_init(&execution->out[i], i == 0 ? GUEST_STDOUT : GUEST_STDERR, i == 0 ? run->out : run->err);
		execution->out[i].keep = execution->out[i].gentle = true;
	}
	return r < 0 ? error_errno(e, r, "the command") : 0;
}

int guest_execute(struct wire *wire, const struct guest_run *run, int *status, bool *refused, struct error *e)
{
	struct execution execution = {.wire = wire, .run = run, .out = {{.fd = -1}, {.fd = -1}}};
	struct error why = {.kind = ERROR_NONE};
	int r = begin(&execution, &why);

	if (r == 0)
		r = talk(&execution, &why);
	inflow_finish(&execution.out[0]);
	inflow_finish(&execution.out[1]);
	*refused = r < 0 && !execution.started && r != -EPIPE;
	if (r == 0) {
		*status = execution.status;
		return 0;
	}
	if (why.kind == ERROR_NONE)
		return error_errno(e, r, "the connection to the guest");
	return error_set(e, why.kind, r, "%s", why.message);
}
