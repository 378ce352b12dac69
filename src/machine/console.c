#include "machine/console.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "machine/console_log.h"
#include "machine/ends.h"
#include "machine/keys.h"
#include "machine/output.h"
#include "machine/terminal.h"
#include "machine/viewers.h"

/* Reads in one callback: input without end must not keep the loop from its other work. */
#define READS_AT_ONCE  16
#define READ_SIZE      256
#define LAST_OUTPUT_MS 1000
#define LAST_VIEWER_MS 1000

struct console {
	enum machine_console kind;
	struct console_hooks hooks;
	struct loop *loop;
	struct output *output; /* NULL: dropped */
	int input, out;        /* -1: none */
	bool typed;            /* input is a terminal that a person types on */
	bool raw;
	char path[64]; /* of the pty's slave */
	struct tape tape;
	struct console_log *log; /* or NULL */
	struct viewers *viewers;
	bool taken; /* a viewer writes, and the terminal here was told so */
	uint16_t columns, rows; /* of the viewer's terminal who wrote last */

	struct console_line line;
	bool started;
	struct loop_watch *watch;
	struct bell pump; /* there is room, or something to read */
	bool held, ended;
	struct keys keys;
	size_t waiting_length;
	uint8_t waiting[CONSOLE_TYPED];
};

static void end_input(struct console *console)
{
	console->ended = true;
	loop_unwatch(console->loop, console->watch);
	console->watch = NULL;
}

static void offer(struct console *console)
{
	size_t taken;

	if (console->held || !console->started || !console->waiting_length)
		return;
	taken = console->line.receive(console->line.line, console->waiting, console->waiting_length);
	console->waiting_length -= taken;
	memmove(console->waiting, console->waiting + taken, console->waiting_length);
}

static void keep(struct console *console, uint8_t byte)
{
	if (console->waiting_length < sizeof console->waiting)
		console->waiting[console->waiting_length++] = byte;
}

/* To the user here: after the guest's output when that is on a terminal, else past it. */
static void say(struct console *console, const char *text)
{
	ssize_t ignored = 0;

	if (isatty(console->out))
		(void)output_write(console->output, text, strlen(text));
	else
		ignored = write(console->input, text, strlen(text));
	(void)ignored; /* a terminal that was opened to read only shows nothing */
}

static void obey(struct console *console, uint8_t byte)
{
	switch (keys_next(&console->keys, &byte)) {
	case KEYS_GUEST:
		if (!viewers_writer(console->viewers))
			keep(console, byte);
		break;
	case KEYS_EATEN:
	case KEYS_DETACH:
		break;
	case KEYS_LEAVE:
		console->hooks.leave(console->hooks.opaque);
		break;
	case KEYS_HELP:
		say(console, keys_help_here);
		break;
	}
}

static bool readable(const struct console *console)
{
	struct pollfd p = {.fd = console->input, .events = POLLIN};

	if (poll(&p, 1, 0) <= 0)
		return false;
	/* A pty whose slave nobody has open hangs, until somebody opens it. */
	return (p.revents & POLLIN) || console->kind != CONSOLE_PTY;
}

static void read_some(struct console *console)
{
	uint8_t bytes[READ_SIZE];
	ssize_t n = read(console->input, bytes, sizeof bytes);

	if (n < 0 && (errno == EINTR || errno == EAGAIN || (errno == EIO && console->kind == CONSOLE_PTY)))
		return;
	if (n <= 0) {
		end_input(console);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (console->typed)
			obey(console, bytes[i]);
		else
			keep(console, bytes[i]);
	}
}

/* Whether what is at this end may be read now: a terminal always, because of its keys. */
static bool wants_local(const struct console *console)
{
	if (console->input < 0 || console->ended)
		return false;
	return console->typed || (!console->waiting_length && !viewers_writer(console->viewers));
}

static bool read_local(struct console *console)
{
	if (!wants_local(console) || !readable(console))
		return false;
	read_some(console);
	return true;
}

static bool read_viewer(struct console *console)
{
	size_t n;

	if (sizeof console->waiting - console->waiting_length < VIEWING_INPUT)
		return false;
	n = viewers_receive(console->viewers, console->waiting + console->waiting_length);
	console->waiting_length += n;
	return n > 0;
}

/* The terminal here is told when it can not write, and when it can again. */
static void tell_taken(struct console *console)
{
	const char *writer = viewers_writer(console->viewers);
	char text[160];

	if (!console->typed || console->taken == (writer != NULL))
		return;
	console->taken = writer != NULL;
	if (writer)
		snprintf(text, sizeof text, "\r\n[doppel: %s has taken the console; you only watch now]\r\n", writer);
	else
		snprintf(text, sizeof text, "\r\n[doppel: the console is yours again]\r\n");
	say(console, text);
}

static void mind_size(struct console *console)
{
	uint16_t columns, rows;

	if (!viewers_size(console->viewers, &columns, &rows) ||
	    (columns == console->columns && rows == console->rows))
		return;
	console->columns = columns;
	console->rows = rows;
	if (console->hooks.resized)
		console->hooks.resized(console->hooks.opaque);
}

static void pump(void *arg)
{
	struct console *console = arg;

	for (unsigned i = 0; i < READS_AT_ONCE; i++) {
		bool more;

		offer(console);
		more = read_viewer(console);
		more |= read_local(console);
		tell_taken(console);
		mind_size(console);
		if (!more)
			return;
	}
	bell_ring(&console->pump);
}

static void on_input(void *arg, uint32_t events)
{
	(void)events;
	pump(arg);
}

/* On a vCPU's thread, with the UART's lock held. */
static void on_room(void *opaque)
{
	struct console *console = opaque;

	bell_ring(&console->pump);
}

static int open_ends(struct console *console, const struct console_config *config, struct error *e)
{
	switch (config->kind) {
	case CONSOLE_NONE:
		return 0;
	case CONSOLE_STDIO:
		console->input = config->input;
		console->out = config->output;
		console->typed = isatty(config->input);
		return 0;
	case CONSOLE_FILE:
		console->out = output_file_open(config->path, e);
		return console->out < 0 ? console->out : 0;
	case CONSOLE_PTY:
		console->out = pty_open(console->path, sizeof console->path, e);
		console->input = console->out;
		return console->out < 0 ? console->out : 0;
	}
	return error_set(e, ERROR_USAGE, -EINVAL, "console: kind %d does not exist", (int)config->kind);
}

static int open_output(struct console *console, struct error *e)
{
	const struct output_hooks hooks = {
		.room = console->hooks.room,
		.drained = console->hooks.drained,
		.opaque = console->hooks.opaque,
	};

	if (console->out < 0)
		return 0;
	return output_new(&console->output, console->out, console->kind == CONSOLE_PTY, &hooks, e);
}

static int open_views(struct console *console, const struct console_config *config, struct error *e)
{
	const struct viewers_config viewers = {
		.loop = config->loop,
		.tape = &console->tape,
		.writer = pump,
		.opaque = console,
	};
	int r = tape_init(&console->tape, e);

	if (r == 0)
		r = viewers_new(&console->viewers, &viewers, e);
	if (r == 0 && config->log)
		r = console_log_new(&console->log, &console->tape, config->log, config->log_size, e);
	return r;
}

int console_new(struct console **out, const struct console_config *config, struct error *e)
{
	struct console *console = calloc(1, sizeof *console);
	int r;

	if (!console)
		return error_errno(e, -ENOMEM, "the console");
	console->kind = config->kind;
	console->hooks = config->hooks;
	console->loop = config->loop;
	console->input = console->out = -1;
	console->held = true;
	console->pump = (struct bell){.loop = config->loop, .fn = pump, .arg = console};
	r = open_views(console, config, e);
	if (r == 0)
		r = open_ends(console, config, e);
	if (r == 0)
		r = open_output(console, e);
	if (r < 0)
		console_free(console);
	else
		*out = console;
	return r;
}

void console_free(struct console *console)
{
	if (!console)
		return;
	if (console->output)
		output_flush(console->output, LAST_OUTPUT_MS);
	output_free(console->output);
	if (console->started)
		console->line.on_room(console->line.line, NULL, NULL);
	bell_silence(&console->pump);
	loop_unwatch(console->loop, console->watch);
	if (console->raw)
		terminal_restore();
	if (console->kind != CONSOLE_STDIO && console->out >= 0)
		close(console->out);
	viewers_free(console->viewers);
	console_log_free(console->log);
	tape_finish(&console->tape);
	free(console);
}

/* Edge-triggered: input that waits for the guest must not make the loop spin, and pump reads until there is no
 * more, or is called again. */
static int watch_input(struct console *console, struct error *e)
{
	int r = loop_watch(console->loop, console->input, EPOLLIN | EPOLLET, on_input, console, &console->watch,
			   e);

	if (r == -EPERM) /* a regular file, or /dev/null: can always be read */
		r = 0;
	if (r == -EBADF) { /* standard input is closed */
		console->ended = true;
		r = 0;
	}
	return r;
}

int console_start(struct console *console, const struct console_line *line, struct error *e)
{
	int r;

	if (console->started)
		return 0;
	r = console->input < 0 ? 0 : watch_input(console, e);
	if (r == 0 && console->typed) {
		r = terminal_raw(console->input, e);
		console->raw = r == 0;
	}
	if (r < 0)
		return r;
	console->line = *line;
	console->started = true;
	line->on_room(line->line, on_room, console);
	bell_ring(&console->pump);
	return 0;
}

void console_hold(struct console *console, bool hold)
{
	console->held = hold;
	if (!hold && console->started)
		bell_ring(&console->pump);
}

bool console_write(struct console *console, const uint8_t *bytes, size_t length)
{
	tape_write(&console->tape, bytes, length);
	return console->output && output_write(console->output, bytes, length);
}

bool console_crowded(const struct console *console)
{
	return console->output && output_crowded(console->output);
}

bool console_drained(struct console *console)
{
	return !console->output || output_drained(console->output);
}

bool console_size(const struct console *console, uint16_t *columns, uint16_t *rows)
{
	struct winsize size;

	if (viewers_writer(console->viewers))
		return viewers_size(console->viewers, columns, rows);
	if (console->out < 0 || ioctl(console->out, TIOCGWINSZ, &size) < 0 || !size.ws_col || !size.ws_row)
		return false;
	*columns = size.ws_col;
	*rows = size.ws_row;
	return true;
}

const char *console_path(const struct console *console)
{
	return console->kind == CONSOLE_PTY ? console->path : NULL;
}

int console_attach(struct console *console, int fd, enum machine_attach how, const char *who, struct error *e)
{
	bool busy = console->kind == CONSOLE_STDIO && !console->ended;
	const char *here = console->typed ? "the terminal that the machine runs on" : "the machine's standard input";

	return viewers_add(console->viewers, fd, how, who, busy ? here : NULL, e);
}

unsigned console_viewers(const struct console *console, const char **writer)
{
	*writer = viewers_writer(console->viewers);
	return viewers_count(console->viewers);
}

void console_end(struct console *console, uint8_t code, const char *why)
{
	viewers_end(console->viewers, code, why, LAST_VIEWER_MS);
}
