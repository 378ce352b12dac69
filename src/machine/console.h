/*
 * A machine's console: what is on the other end of the guest's serial line, or virtio terminal.
 *
 * Input is read on the event loop and offered to the line; what the guest does not take yet waits here. Input
 * that is no terminal (a pipe, a file) is read only as fast as the guest takes it, byte for byte, and its end
 * just ends the input. From a terminal up to CONSOLE_TYPED bytes wait, then more is dropped, so that the
 * monitor's own keys (machine/keys.h) always work. Output goes through machine/output.h.
 *
 * Beside that end there may be viewers (machine/viewers.h) and a log (machine/console_log.h), which never slow the guest.
 * While one of the viewers writes, its input is the guest's, and this end's is held back; what is typed here is dropped.
 *
 * Thread: the owner of the loop, unless said otherwise.
 */
#ifndef DOPPEL_MACHINE_CONSOLE_H
#define DOPPEL_MACHINE_CONSOLE_H

#include "device/devices.h"
#include "base/loop.h"
#include "machine/machine.h"

#define CONSOLE_TYPED (64 * KIB)

struct console;

struct console_hooks {
	void (*leave)(void *opaque);   /* owner, inside the loop: Ctrl-A x */
	void (*room)(void *opaque);    /* output's thread: crowded no longer */
	void (*drained)(void *opaque); /* output's thread: all is written, after a console_drained that said no */
	void (*resized)(void *opaque); /* owner, inside the loop: the terminal of the viewer who writes has a new size */
	void *opaque;
};

struct console_config {
	enum machine_console kind;
	const char *path; /* CONSOLE_FILE: made when it is not there, else appended to */
	int input, output; /* CONSOLE_STDIO: descriptors, which stay the caller's; normally 0 and 1 */
	const char *log;   /* path; NULL: none */
	uint64_t log_size; /* as console_log_new */
	struct loop *loop;
	struct console_hooks hooks;
};

MUST_USE int console_new(struct console **out, const struct console_config *config, struct error *e);
/* Waits for output to be taken, at most a second after the reader took some last; restores the terminal; accepts
 * NULL. The loop does not run again, and no vCPU either. */
void console_free(struct console *console);

/* The guest's end of the console's input: a UART, or a virtio terminal. */
struct console_line {
	/* Returns the bytes taken; after it took fewer than were offered, `room` is called once there is room. */
	size_t (*receive)(void *line, const uint8_t *bytes, size_t length);
	void (*on_room)(void *line, void (*room)(void *opaque), void *opaque);
	void *line;
};

/* Takes the terminal, connects the input and begins to read; once it has, it does nothing. Input is held at first. */
MUST_USE int console_start(struct console *console, const struct console_line *line, struct error *e);
/* While held no input reaches the guest; it waits as if the guest did not take it. */
void console_hold(struct console *console, bool hold);

/* Any thread; never blocks. True: output is crowded, stop until the hook `room`. */
bool console_write(struct console *console, const uint8_t *bytes, size_t length);
/* Any thread. */
bool console_crowded(const struct console *console);
/* Any thread: whether all output was taken. */
bool console_drained(struct console *console);
/* The size of the terminal at the other end, in characters; false when there is none, or it does not say. */
bool console_size(const struct console *console, uint16_t *columns, uint16_t *rows);
/* Slave path of CONSOLE_PTY, else NULL. */
const char *console_path(const struct console *console);

/* As machine_console_attach and machine_console_viewers. */
MUST_USE int console_attach(struct console *console, int fd, enum machine_attach how, const char *who, struct error *e);
unsigned console_viewers(const struct console *console, const char **writer);
/* Tells all viewers why there is no more (an exit code and a text), and cuts them off; no vCPU runs any more. Waits for
 * those who take nothing, a second at most. */
void console_end(struct console *console, uint8_t code, const char *why);

#endif
