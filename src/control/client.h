/*
 * A client of a monitor's control socket; blocking.
 *
 * Thread: one at a time.
 */
#ifndef DOPPEL_CONTROL_CLIENT_H
#define DOPPEL_CONTROL_CLIENT_H

#include <jansson.h>

#include "base/error.h"

struct control_client;

/* Connects to the socket `name` in the folder: no path is too long for that. -ENOENT or -ECONNREFUSED (ERROR_STATE): no
 * monitor listens; -EAGAIN (ERROR_TIMEOUT): its queue was full for seconds. */
MUST_USE int control_connect(struct control_client **out, int folder, const char *name, struct error *e);
void control_close(struct control_client *client); /* accepts NULL */

/* Calls and waits at most `timeout_ms` (-1: no limit; -ETIMEDOUT). `with` is taken (NULL: none). *result (may be NULL) is
 * a new reference, to any kind of value; *fd (may be NULL) the descriptor that came along, or -1. An error of the other
 * side is returned as one of ours. Once the connection itself has failed (also by a timeout: the answer may still come),
 * every further request does: -EPIPE. */
MUST_USE int control_request(struct control_client *client, const char *call, json_t *with, int timeout_ms,
			     json_t **result, int *fd, struct error *e);
/* The next event that comes while an answer is waited for goes to fn, instead of to control_next. It is the client's. */
void control_on_event(struct control_client *client, void (*fn)(void *arg, const json_t *event), void *arg);
/* `fd` goes along with the next request; it stays the caller's, and must stay open until then. */
void control_pass(struct control_client *client, int fd);
/* The next event after a call that streams: a new reference. -EPIPE: the stream has ended; -ETIMEDOUT and -EINTR (a signal
 * came) lose nothing. */
MUST_USE int control_next(struct control_client *client, int timeout_ms, json_t **event, struct error *e);
/* For poll, after control_next with no timeout found nothing; -1 never. */
int control_descriptor(const struct control_client *client);

#endif
