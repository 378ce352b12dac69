/*
 * The monitor's end of the control socket: takes clients, reads their calls, answers.
 *
 * A call is a row of a table. Its function runs on the loop and answers now, or keeps the call and answers later. A
 * client that does not read is cut off as soon as SERVER_BACKLOG bytes wait for it: nothing is left out silently, and no
 * memory grows with it. At most SERVER_CLIENTS are served at once, further ones wait in the socket's queue.
 *
 * Only the socket's owner and root may call: others are cut off (SO_PEERCRED).
 *
 * Thread: the loop's.
 */
#ifndef DOPPEL_CONTROL_SERVER_H
#define DOPPEL_CONTROL_SERVER_H

#include <jansson.h>

#include "base/loop.h"

#define SERVER_CLIENTS 128
#define SERVER_BACKLOG (1 * MIB)

struct control_server;
struct control_call;

struct control_verb {
	const char *name;
	/* Answers by control_answer or control_fail, before it returns or later: once. `with` is the call's. Returning a
	 * negative errno with `e` filled is control_fail. */
	int (*run)(struct control_call *call, const json_t *with, struct error *e);
};

/* `listener` stays the caller's; the table ends with a NULL name and, like `opaque`, outlives the server. */
MUST_USE int control_server_new(struct control_server **out, struct loop *loop, int listener,
				const struct control_verb *verbs, void *opaque, struct error *e);
/* Calls that are kept are answered with ERROR_STATE; answers that wait get `patience_ms` to be taken. Accepts NULL. */
void control_server_free(struct control_server *server, unsigned patience_ms);

/* What the server was made with. */
void *control_opaque(const struct control_call *call);
/* Both end the call; `result` is taken (NULL: {}). `fd` (or -1) is passed along and closed. */
void control_answer(struct control_call *call, json_t *result, int fd);
void control_fail(struct control_call *call, const struct error *e);
/* The call is kept: `gone` (or NULL) is called when its client leaves before it is answered; the call is then invalid. */
void control_keep(struct control_call *call, void (*gone)(struct control_call *call, void *arg), void *arg);
/* Answers {} and makes the client a listener: control_tell reaches it from now on. */
void control_subscribe(struct control_call *call);
/* {"event": event} to every listener; the reference stays the caller's. */
void control_tell(struct control_server *server, const json_t *event);

#endif
