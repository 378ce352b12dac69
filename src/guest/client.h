/*
 * The host's side: reaches the program in a guest through the folder of the machine's vsock device, and asks it for
 * something.
 *
 * The guest is not trusted. What it sends is bounded and checked; texts of it may hold any byte but NUL.
 *
 * Thread: the caller's; blocking, unless said otherwise.
 */
#ifndef DOPPEL_GUEST_CLIENT_H
#define DOPPEL_GUEST_CLIENT_H

#include "guest/wire.h"

/* Connects through `folder` (a descriptor of the vsock device's folder) and says HELLO; goes on trying for `timeout_ms`,
 * for the guest may still be starting. `name` is the machine's, for messages. -ECONNREFUSED (ERROR_STATE): the machine
 * does not run; -ETIMEDOUT (ERROR_TIMEOUT): nobody answers in the guest. `wire` is due to guest_close on success. */
MUST_USE int guest_open(struct wire *wire, int folder, const char *name, unsigned timeout_ms, struct error *e);
void guest_close(struct wire *wire);

/* Asks the guest to switch itself off and does not wait for anything: `fd` is a connection (non-blocking) to the vsock
 * device's FOLDER/guest. The caller closes it when the machine has ended or it gives up; closed before, the request may be
 * lost. It becomes readable when the guest answers; at its end (a read of 0) nobody in the guest listens. */
MUST_USE int guest_ask_power_off(int fd, struct error *e);

/* What `doppel exec` connects with a command. */
struct guest_run {
	const struct guest_command *command;
	int in;        /* -1: the command reads nothing */
	int out, err;
	int signals;   /* a signalfd: what it tells is passed on; SIGWINCH asks `window`; -1: none */
	/* Size of the terminal; may be NULL without one. */
	void (*window)(uint16_t *rows, uint16_t *columns);
};

/* Runs it to its end. *status is what a shell would tell: its own, or 128 and the signal. *refused (set in any case): the
 * command could not be started, the error says why. */
MUST_USE int guest_execute(struct wire *wire, const struct guest_run *run, int *status, bool *refused,
			   struct error *e);

struct tree_hooks;

/* Copies a tree into the guest: what is at `from`, or what comes out of `stream` when `from` is NULL. */
MUST_USE int guest_put(struct wire *wire, const char *from, int stream, const char *to,
		       const struct tree_hooks *hooks, struct error *e);
/* Copies a tree out of the guest: to the path `to`, or the contents of a file into `stream` when `to` is NULL. */
MUST_USE int guest_get(struct wire *wire, const char *from, const char *to, int stream,
		       const struct tree_hooks *hooks, struct error *e);

#endif
