/*
 * The monitor's end of the control socket: takes clients, reads their calls, answers.
 *
 * A call is a row of a table. Its function runs on the loop and answers now, or keeps the call and answers later. A
 * client that does not read is cut off when one more frame comes while SERVER_BACKLOG bytes wait for it: nothing is left
 * out silently, and no memory grows with it. At most SERVER_CLIENTS are served at once, further ones wait in the socket's
 * queue.
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
	/* Answers once: by control_answer, control_fail or control_subscribe before it returns, or later when it
	 * has kept the call. `with` is an object and the call's. Returning a negative errno with `e` filled, instead of
	 * an answer, is control_fail. It must not free the server. */
	int (*run)(struct control_call *call, const json_t *with, struct error *e);
};

/* `listener` stays the caller's; the table ends with a NULL name and, like `opaque`, outlives the server. */
MUST_USE int control_server_new(struct control_server **out, struct loop *loop, int listener,
				const struct control_verb *verbs, void *opaque, struct error *e);
/* Calls that are kept are answered with ERROR_STATE, after their `gone`; answers and events that wait get `patience_ms`
 * to be taken, in all. Before the loop is freed, and not from a call. Accepts NULL. */
void control_server_free(struct control_server *server, unsigned patience_ms);

/* What the server was made with. */
void *control_opaque(const struct control_call *call);
/* The descriptor that came with the call, the caller's from now on; -1: none. What is not taken is closed with the call. */
int control_take_passed(struct control_call *call);
/* Both end the call; `result` is taken (NULL: {}). `fd` (or -1) is passed along and closed. */
void control_answer(struct control_call *call, json_t *result, int fd);
void control_fail(struct control_call *call, const struct error *e);
/* The call is kept: `gone` (or NULL) is called when its client leaves, or the server is freed, before it is answered; the
 * call is then invalid. */
void control_keep(struct control_call *call, void (*gone)(struct control_call *call, void *arg), void *arg);
/* {"event": event} to the client of a call that is kept, before its answer; the reference stays the caller's. */
void control_tell_caller(struct control_call *call, const json_t *event);
/* Answers {} and makes the client a listener: control_tell reaches it from now on. */
void control_subscribe(struct control_call *call);
/* {"event": event} to every listener; the reference stays the caller's. */
void control_tell(struct control_server *server, const json_t *event);

#endif
