/* A command of the host: its streams, its signals, its end. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "guest/flow.h"
#include "guest/session.h"
#include "guest/spawn.h"

struct running {
	struct wire *wire;
	struct spawned child;
	bool tty, exited;
	int status; /* of waitpid, once it has exited */
	struct inflow in;
	struct outflow out[2]; /* stdout and stderr */
};

static struct outflow *find_outflow(struct running *running, unsigned stream)
{
	return stream == GUEST_STDOUT ? &running->out[0] : stream == GUEST_STDERR ? &running->out[1] : NULL;
}

static int on_signal(struct running *running, const struct wire_frame *frame)
{
	pid_t group = running->child.pid;
	uint32_t number;

	if (guest_number_decode(frame->bytes, frame->length, &number) < 0 || number == 0 || number >= NSIG)
		return -EPROTO;
	if (running->tty && running->out[0].fd >= 0)
		(void)ioctl(running->out[0].fd, TIOCGPGRP, &group);
	if (!running->exited && group > 1)
		(void)kill(-group, (int)number);
	return 0;
}

static int on_resize(const struct running *running, const struct wire_frame *frame)
{
	struct winsize size = {.ws_row = 0};

	if (guest_window_decode(frame->bytes, frame->length, &size.ws_row, &size.ws_col) < 0)
		return -EPROTO;
	if (running->tty && running->out[0].fd >= 0)
		(void)ioctl(running->out[0].fd, TIOCSWINSZ, &size);
	return 0;
}

/* The end of what a terminal is given is a key, and only its driver knows which. */
static int on_stdin(struct running *running, const struct wire_frame *frame)
{
	struct wire_frame key = {.type = GUEST_DATA, .stream = GUEST_STDIN, .length = 1};
	struct termios modes;

	if (frame->type == GUEST_END && running->tty && running->in.fd >= 0 && tcgetattr(running->in.fd, &modes) == 0) {
		key.bytes = &modes.c_cc[VEOF];
		(void)!inflow_take(&running->in, &key);
	}
	return inflow_take(&running->in, frame);
}

static int on_frame(struct running *running, const struct wire_frame *frame)
{
	struct outflow *out = find_outflow(running, frame->stream);

	switch ((enum guest_type)frame->type) {
	case GUEST_DATA:
		return frame->stream == GUEST_STDIN ? on_stdin(running, frame) : -EPROTO;
	case GUEST_END:
		if (out)
			return outflow_end(out, running->wire);
		return on_stdin(running, frame);
	case GUEST_CREDIT:
		return out ? outflow_credit(out, frame) : -EPROTO;
	case GUEST_SIGNAL:
		return on_signal(running, frame);
	case GUEST_RESIZE:
		return on_resize(running, frame);
	default:
		return -EPROTO;
	}
}

static int on_frames(struct running *running, struct error *e)
{
	struct wire_frame frame;
	int r;

	while ((r = wire_next(running->wire, &frame, e)) > 0) {
		r = on_frame(running, &frame);
		if (r < 0)
			return session_fail(running->wire, r, "a frame that does not belong here", e);
	}
	return r;
}

/* Once the command has ended, what it wrote is there; others that hold its ends are not waited for. */
static int pump(struct running *running)
{
	int r = inflow_wants(&running->in) ? inflow_write(&running->in, running->wire) : 0;

	for (unsigned i = 0; r == 0 && i < 2; i++) {
		struct outflow *out = &running->out[i];
		int got = 0;

		while (r == 0 && got == 0 && outflow_wants(out, running->wire)) {
			got = outflow_read(out, running->wire);
			if (got < 0 && got != -EAGAIN)
				r = got;
		}
		if (r == 0 && got == -EAGAIN && running->exited)
			r = outflow_end(out, running->wire);
	}
	return r;
}

static void look_for_end(struct running *running)
{
	if (!running->exited && waitpid(running->child.pid, &running->status, WNOHANG) == running->child.pid)
		running->exited = true;
}

static bool is_over(const struct running *running)
{
	return running->exited && running->out[0].fd < 0 && running->out[1].fd < 0;
}

static int wait_for_events(struct running *running, struct error *e)
{
	struct wire *wire = running->wire;
	bool in = inflow_wants(&running->in), out = outflow_wants(&running->out[0], wire),
	     err = outflow_wants(&running->out[1], wire);
	struct pollfd polls[] = {
		{.fd = wire->fd, .events = (short)(POLLIN | (wire_waiting(wire) > 0 ? POLLOUT : 0))},
		{.fd = running->exited ? -1 : running->child.pidfd, .events = POLLIN},
		{.fd = in ? running->in.fd : -1, .events = POLLOUT},
		{.fd = out ? running->out[0].fd : -1, .events = POLLIN},
		{.fd = err ? running->out[1].fd : -1, .events = POLLIN},
	};

	if (poll(polls, ARRAY_SIZE(polls), -1) < 0)
		return errno == EINTR ? 0 : error_errno(e, -errno, "waiting for the command");
	return polls[0].revents & (POLLIN | POLLHUP | POLLERR) ? wire_read(wire, e) : 0;
}

static int run(struct running *running, struct error *e)
{
	int r = 0;

	while (r == 0 && !is_over(running)) {
		look_for_end(running);
		/* Frames may have come along with the request. */
		r = on_frames(running, e);
		if (r == 0)
			r = pump(running);
		if (r == 0)
			r = wire_write(running->wire, e);
		if (r == 0 && !is_over(running))
			r = wait_for_events(running, e);
	}
	return r;
}

static int tell_end(const struct running *running)
{
	bool killed = WIFSIGNALED(running->status);
	le32_t pair[] = {le32_put(killed),
			 le32_put((uint32_t)(killed ? WTERMSIG(running->status) : WEXITSTATUS(running->status)))};

	return wire_put(running->wire, GUEST_EXITED, 0, pair, sizeof pair);
}

static int begin(struct running *running, const struct wire_frame *request, struct error *e)
{
	struct guest_command command;
	struct error why;
	int r = guest_command_decode(request->bytes, request->length, &command);

	if (r < 0)
		return session_fail(running->wire, r, "a command that is none", e);
	running->tty = command.tty;
	r = spawn(&command, &running->child, &why);
	guest_command_finish(&command);
	if (r < 0) {
		(void)!wire_put_failure(running->wire, GUEST_FAILED, r, why.message);
		return error_set(e, why.kind, r, "%s", why.message);
	}
	outflow_init(&running->out[0], GUEST_STDOUT, running->child.out);
	outflow_init(&running->out[1], GUEST_STDERR, running->child.err);
	r = inflow_init(&running->in, GUEST_STDIN, running->child.in);
	if (r == 0)
		r = wire_put(running->wire, GUEST_STARTED, 0, NULL, 0);
	/* A terminal has no stderr of its own. */
	return r == 0 && running->tty ? wire_put(running->wire, GUEST_END, GUEST_STDERR, NULL, 0) : r;
}

int session_exec(struct wire *wire, const struct wire_frame *request, struct error *e)
{
	struct running running = {.wire = wire, .child.pidfd = -1, .in.fd = -1, .out = {{.fd = -1}, {.fd = -1}}};
	int r = begin(&running, request, e);

	if (r == 0)
		r = run(&running, e);
	if (r == 0)
		r = tell_end(&running);
	else
		spawn_kill_all();
	inflow_finish(&running.in);
	outflow_finish(&running.out[0]);
	outflow_finish(&running.out[1]);
	if (running.child.pidfd >= 0)
		close(running.child.pidfd);
	return r;
}
