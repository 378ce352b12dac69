#include "cli/viewer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "machine/keys.h"
#include "machine/output.h"
#include "machine/signals.h"
#include "machine/terminal.h"
#include "machine/viewing.h"

/* Messages, or reads, of one callback: neither side may keep the other waiting. */
#define AT_ONCE        16
#define LAST_OUTPUT_MS 1000

struct viewer {
	struct loop *loop;
	struct output *output;
	int socket;
	bool writes;
	bool typed; /* standard input is a terminal */
	bool shown; /* standard output is one */
	bool raw, over;
	struct keys keys;
	struct viewer_outcome *outcome;

	struct loop_watch *on_socket, *on_input, *on_output, *on_resize;
	struct bell pump; /* there may be more to do */
	struct signals_watch signals;
	bool signals_held, input_ended;
	int resize; /* a signalfd, or -1 */
	bool resized;
	size_t waiting_length;
	uint8_t waiting[VIEWER_TYPED];
};

static void end(struct viewer *viewer, enum viewer_end why, int code)
{
	if (viewer->over)
		return;
	viewer->over = true;
	viewer->outcome->end = why;
	viewer->outcome->code = code;
	loop_quit(viewer->loop);
}

/* ---- What comes from the machine ---- */

/* To the person, amid the output where that is on a terminal. */
static void tell(struct viewer *viewer, const char *text)
{
	char line[512];
	int n;

	if (viewer->shown) {
		n = snprintf(line, sizeof line, "\r\n[doppel: %.450s]\r\n", text);
		(void)output_write(viewer->output, line, (size_t)n);
	} else {
		fprintf(stderr, "doppel: %s%s", text, viewer->raw ? "\r\n" : "\n");
	}
}

static void tell_lost(struct viewer *viewer, const uint8_t *bytes, size_t length)
{
	char text[128];
	le64_t lost;

	if (length != sizeof lost)
		return;
	memcpy(&lost, bytes, sizeof lost);
	snprintf(text, sizeof text, "%llu bytes of output are left out: they came faster than they were taken",
		 (unsigned long long)le64_get(lost));
	tell(viewer, text);
}

/* Text from a monitor, which is shown on a terminal: whatever it is, it is printable then. */
static void copy_text(char *out, size_t room, const uint8_t *bytes, size_t length)
{
	size_t n = length < room - 1 ? length : room - 1;

	for (size_t i = 0; i < n; i++)
		out[i] = bytes[i] < 0x20 || bytes[i] == 0x7f ? ' ' : (char)bytes[i];
	out[n] = '\0';
}

static void take_end(struct viewer *viewer, const uint8_t *bytes, size_t length)
{
	if (!length || viewer->over)
		return;
	copy_text(viewer->outcome->message, sizeof viewer->outcome->message, bytes + 1, length - 1);
	end(viewer, VIEWER_OVER, bytes[0]);
}

static void take_message(struct viewer *viewer, const uint8_t *message, size_t length)
{
	char text[400];

	switch (message[0]) {
	case VIEWING_OUT:
		(void)output_write(viewer->output, message + 1, length - 1);
		break;
	case VIEWING_LOST:
		tell_lost(viewer, message + 1, length - 1);
		break;
	case VIEWING_NOTICE:
		copy_text(text, sizeof text, message + 1, length - 1);
		tell(viewer, text);
		break;
	case VIEWING_END:
		take_end(viewer, message + 1, length - 1);
		break;
	default:
		break; /* of a newer monitor */
	}
}

static void receive(struct viewer *viewer)
{
	uint8_t message[VIEWING_MESSAGE];

	for (unsigned i = 0; i < AT_ONCE && !viewer->over && !output_crowded(viewer->output); i++) {
		ssize_t n = recv(viewer->socket, message, sizeof message, MSG_DONTWAIT);

		if (n > 0)
			take_message(viewer, message, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			end(viewer, VIEWER_LOST, 0);
		else
			return;
	}
	/* Else its hook rings, once it is crowded no longer. */
	if (!viewer->over && !output_crowded(viewer->output))
		bell_ring(&viewer->pump);
}

/* ---- What goes to it ---- */

/* Whether it was taken. */
static bool send_message(struct viewer *viewer, enum viewing_kind kind, const void *bytes, size_t length)
{
	uint8_t message[1 + VIEWING_INPUT];

	message[0] = (uint8_t)kind;
	memcpy(message + 1, bytes, length);
	return send(viewer->socket, message, 1 + length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static void send_size(struct viewer *viewer)
{
	struct winsize size;
	le16_t words[2];

	if (!viewer->resized || ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
		return;
	words[0] = le16_put(size.ws_col);
	words[1] = le16_put(size.ws_row);
	viewer->resized = !send_message(viewer, VIEWING_SIZE, words, sizeof words);
}

static void send_waiting(struct viewer *viewer)
{
	while (viewer->waiting_length) {
		size_t n = viewer->waiting_length < VIEWING_INPUT ? viewer->waiting_length : VIEWING_INPUT;

		if (!send_message(viewer, VIEWING_IN, viewer->waiting, n))
			return;
		viewer->waiting_length -= n;
		memmove(viewer->waiting, viewer->waiting + n, viewer->waiting_length);
	}
}

static void keep(struct viewer *viewer, uint8_t byte)
{
	if (viewer->writes && viewer->waiting_length < sizeof viewer->waiting)
		viewer->waiting[viewer->waiting_length++] = byte;
}

static void obey(struct viewer *viewer, uint8_t byte)
{
	switch (keys_next(&viewer->keys, &byte)) {
	case KEYS_GUEST:
		keep(viewer, byte);
		break;
	case KEYS_EATEN:
	case KEYS_LEAVE:
		break;
	case KEYS_DETACH:
		end(viewer, VIEWER_LEFT, 0);
		break;
	case KEYS_HELP:
		if (viewer->shown)
			(void)output_write(viewer->output, keys_help_attached, strlen(keys_help_attached));
		else
			fputs(keys_help_attached, stderr);
		break;
	}
}

static bool readable(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static bool wants_input(const struct viewer *viewer)
{
	return !viewer->input_ended && !viewer->over && (viewer->typed || (viewer->writes && !viewer->waiting_length));
}

static void read_some(struct viewer *viewer)
{
	uint8_t bytes[VIEWING_INPUT];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		viewer->input_ended = true;
		loop_unwatch(viewer->loop, viewer->on_input);
		viewer->on_input = NULL;
		/* A terminal that is gone: nobody is there any more. */
		if (viewer->typed)
			end(viewer, VIEWER_LEFT, 0);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (viewer->typed)
			obey(viewer, bytes[i]);
		else
			keep(viewer, bytes[i]);
	}
}

/* ---- Both ---- */

static void pump(void *arg)
{
	struct viewer *viewer = arg;

	receive(viewer);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		send_size(viewer);
		send_waiting(viewer);
		if (!wants_input(viewer) || !readable())
			return;
		read_some(viewer);
	}
	bell_ring(&viewer->pump);
}

/* Both ends are edge-triggered: what can not go on now must not make the loop spin. */
static void on_event(void *arg, uint32_t events)
{
	(void)events;
	pump(arg);
}

/* Nobody reads it any more: `doppel console web | head`. */
static void on_broken_output(void *arg, uint32_t events)
{
	(void)events;
	end(arg, VIEWER_LEFT, 0);
}

/* On the output's thread. */
static void on_room(void *opaque)
{
	bell_ring(&((struct viewer *)opaque)->pump);
}

static void on_resize(void *arg, uint32_t events)
{
	struct viewer *viewer = arg;
	struct signalfd_siginfo info;

	(void)events;
	while (read(viewer->resize, &info, sizeof info) > 0)
		viewer->resized = viewer->typed && viewer->writes;
	pump(viewer);
}

static void on_signal(void *opaque, int number)
{
	end(opaque, VIEWER_SIGNAL, number);
}

/* ---- Beginning and end ---- */

static int watch_input(struct viewer *viewer, struct error *e)
{
	int r;

	if (!viewer->typed && !viewer->writes)
		return 0;
	r = loop_watch(viewer->loop, STDIN_FILENO, EPOLLIN | EPOLLET, on_event, viewer, &viewer->on_input, e);
	if (r == -EBADF)
		viewer->input_ended = true;
	return r == -EPERM || r == -EBADF ? 0 : r; /* a regular file can always be read */
}

static int watch_output(struct viewer *viewer, struct error *e)
{
	int r = loop_watch(viewer->loop, STDOUT_FILENO, 0, on_broken_output, viewer, &viewer->on_output, e);

	return r == -EPERM || r == -EBADF ? 0 : r;
}

static int watch_resize(struct viewer *viewer, struct error *e)
{
	sigset_t set;

	viewer->resized = viewer->typed && viewer->writes;
	if (!viewer->resized)
		return 0;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	viewer->resize = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (viewer->resize < 0)
		return error_errno(e, -errno, "changes of the terminal's size");
	return loop_watch(viewer->loop, viewer->resize, EPOLLIN, on_resize, viewer, &viewer->on_resize, e);
}

static int begin(struct viewer *viewer, struct error *e)
{
	const struct output_hooks hooks = {.room = on_room, .opaque = viewer};
	int r = loop_new(&viewer->loop, e);

	viewer->pump = (struct bell){.loop = viewer->loop, .fn = pump, .arg = viewer};
	if (r == 0)
		r = output_new(&viewer->output, STDOUT_FILENO, false, &hooks, e);
	if (r == 0)
		r = signals_begin(&viewer->signals, viewer->loop, on_signal, viewer, e);
	viewer->signals_held = r == 0;
	if (r == 0)
		r = loop_watch(viewer->loop, viewer->socket, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, on_event,
			       viewer, &viewer->on_socket, e);
	if (r == 0)
		r = watch_output(viewer, e);
	if (r == 0)
		r = watch_resize(viewer, e);
	if (r == 0)
		r = watch_input(viewer, e);
	if (r == 0 && viewer->typed) {
		r = terminal_raw(STDIN_FILENO, e);
		viewer->raw = r == 0;
	}
	return r;
}

static void finish(struct viewer *viewer)
{
	if (viewer->output)
		(void)output_flush(viewer->output, LAST_OUTPUT_MS);
	if (viewer->raw)
		terminal_restore();
	output_free(viewer->output);
	if (viewer->loop)
		bell_silence(&viewer->pump);
	if (viewer->signals_held)
		signals_end(&viewer->signals);
	loop_unwatch(viewer->loop, viewer->on_input);
	loop_unwatch(viewer->loop, viewer->on_output);
	loop_unwatch(viewer->loop, viewer->on_resize);
	loop_unwatch(viewer->loop, viewer->on_socket);
	loop_free(viewer->loop);
	if (viewer->resize >= 0)
		close(viewer->resize);
	close(viewer->socket);
	free(viewer);
}

int viewer_run(int socket, bool writes, struct viewer_outcome *outcome, struct error *e)
{
	struct viewer *viewer = calloc(1, sizeof *viewer);
	int r;

	if (!viewer) {
		close(socket);
		return error_errno(e, -ENOMEM, "looking at a console");
	}
	*outcome = (struct viewer_outcome){.end = VIEWER_LOST};
	*viewer = (struct viewer){.socket = socket, .writes = writes, .resize = -1, .outcome = outcome};
	viewer->keys.attached = true;
	viewer->typed = isatty(STDIN_FILENO);
	viewer->shown = isatty(STDOUT_FILENO);
	r = begin(viewer, e);
	if (r == 0)
		bell_ring(&viewer->pump);
	while (r == 0 && !viewer->over)
		r = loop_run(viewer->loop, -1);
	if (r < 0 && viewer->loop && e->kind == ERROR_NONE)
		r = error_errno(e, r, "the event loop");
	finish(viewer);
	return r;
}
