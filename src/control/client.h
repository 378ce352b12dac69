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
 * monitor listens. */
MUST_USE int control_connect(struct control_client **out, int folder, const char *name, struct error *e);
void control_close(struct control_client *client); /* accepts NULL */

/* Calls and waits at most `timeout_ms` (-1: no limit; -ETIMEDOUT). `with` is taken (NULL: none). *result (may be NULL) is
 * a new reference; *fd (may be NULL) the descriptor that came along, or -1. An error of the other side is returned as one
 * of ours. */
MUST_USE int control_request(struct control_client *client, const char *call, json_t *with, int timeout_ms,
			     json_t **result, int *fd, struct error *e);
/* The next event after a call that streams: a new reference. -EPIPE: the stream has ended. */
MUST_USE int control_next(struct control_client *client, int timeout_ms, json_t **event, struct error *e);
/* For poll; -1 never. */
int control_descriptor(const struct control_client *client);

#endif
