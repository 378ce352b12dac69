#include "control/client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/socket.h"
#include "control/frame.h"

#define CONNECT_MS 5000
/* Of events that come before an answer: the monitor may be in a guest's hands. */
#define EVENTS_MAX 256

struct control_client {
	int fd;
	int pass; /* goes with the next request; -1: none */
	bool broken;
	struct frame_reader reader;
	json_t *events; /* an array of those that came while an answer was waited for */
	void (*on_event)(void *arg, const json_t *event); /* takes one of them; NULL: all are kept */
	void *arg;
};

static int connect_error(int code, struct error *e)
{
	if (code == -ENOENT || code == -ECONNREFUSED)
		return error_set(e, ERROR_STATE, code, "no monitor listens; the machine does not run");
	if (code == -EAGAIN)
		return error_set(e, ERROR_TIMEOUT, code, "the monitor takes nobody in; try again later");
	return error_errno(e, code, "the monitor can not be reached");
}

int control_connect(struct control_client **out, int folder, const char *name, struct error *e)
{
	struct control_client *client = calloc(1, sizeof *client);
	int r;

	if (!client)
		return error_errno(e, -ENOMEM, "a client of the control socket");
	client->fd = client->pass = -1;
	client->events = json_array();
	r = client->events ? socket_connect_at(folder, name, CONNECT_MS, &client->fd) : -ENOMEM;
	if (r < 0) {
		control_close(client);
		return connect_error(r, e);
	}
	*out = client;
	return 0;
}

void control_close(struct control_client *client)
{
	if (!client)
		return;
	frame_reader_finish(&client->reader);
	json_decref(client->events);
	if (client->fd >= 0)
		close(client->fd);
	free(client);
}

int control_descriptor(const struct control_client *client)
{
	return client->fd;
}

void control_on_event(struct control_client *client, void (*fn)(void *arg, const json_t *event), void *arg)
{
	client->on_event = fn;
	client->arg = arg;
}

void control_pass(struct control_client *client, int fd)
{
	client->pass = fd;
}

/* UINT64_MAX: none. */
static uint64_t deadline_in(int timeout_ms)
{
	return timeout_ms < 0 ? UINT64_MAX : clock_host_ns() + (uint64_t)timeout_ms * NS_PER_MS;
}

/* 0; -ETIMEDOUT, -EINTR. */
static int wait_for(const struct control_client *client, short events, uint64_t deadline)
{
	struct pollfd poll_fd = {.fd = client->fd, .events = events};
	uint64_t now = clock_host_ns(), left = 0;
	int timeout, r;

	if (deadline > now)
		left = (deadline - now + NS_PER_MS - 1) / NS_PER_MS;
	timeout = deadline == UINT64_MAX ? -1 : left > INT_MAX ? INT_MAX : (int)left;
	r = poll(&poll_fd, 1, timeout);
	return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

static int send_all(struct control_client *client, const uint8_t *bytes, size_t length, uint64_t deadline)
{
	int r;

	while (length) {
		ssize_t count = frame_send(client->fd, bytes, length, client->pass);

		if (count >= 0) {
			client->pass = -1;
			bytes += count;
			length -= (size_t)count;
			continue;
		}
		r = count == -EAGAIN ? wait_for(client, POLLOUT, deadline) : (int)count;
		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

static int send_request(struct control_client *client, const char *call, json_t *with, uint64_t deadline)
{
	json_t *request = json_pack("{s:s, s:o}", "call", call, "with", with ? with : json_object());
	size_t length = 0;
	uint8_t *bytes = NULL;
	int r = request ? frame_make(request, &bytes, &length) : -ENOMEM;

	json_decref(request);
	if (r < 0)
		return r;
	r = send_all(client, bytes, length, deadline);
	free(bytes);
	return r;
}

static int take_frame(struct control_client *client, uint64_t deadline, json_t **object, int *passed, struct error *e)
{
	while (true) {
		int r = frame_read(&client->reader, client->fd, object, passed, e);

		if (r != 0)
			return r < 0 ? r : 0;
		r = wait_for(client, POLLIN, deadline);
		if (r < 0)
			return error_errno(e, r, "the control socket");
	}
}

static int keep_event(struct control_client *client, json_t *event, struct error *e)
{
	if (json_array_size(client->events) >= EVENTS_MAX)
		return error_set(e, ERROR_FAILED, -EPROTO, "the monitor sends events without end and no answer");
	return json_array_append(client->events, event) < 0 ? error_errno(e, -ENOMEM, "an event") : 0;
}

static int meet_event(struct control_client *client, json_t *event, struct error *e)
{
	void (*fn)(void *arg, const json_t *event) = client->on_event;

	if (!fn)
		return keep_event(client, event, e);
	client->on_event = NULL;
	fn(client->arg, event);
	return 0;
}

static void close_passed(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* The answer to what was asked; events that come before it are kept. */
static int take_answer(struct control_client *client, uint64_t deadline, json_t **answer, int *passed, struct error *e)
{
	while (true) {
		json_t *object, *event;
		int r = take_frame(client, deadline, &object, passed, e);

		if (r == -EINTR)
			continue;
		if (r < 0)
			return r;
		event = json_object_get(object, "event");
		if (!event) {
			*answer = object;
			return 0;
		}
		close_passed(*passed);
		r = meet_event(client, event, e);
		json_decref(object);
		if (r < 0)
			return r;
	}
}

/* An error of the other side leaves the connection as it was. */
static int open_answer(json_t *answer, json_t **result, struct error *e)
{
	json_t *value = json_object_get(answer, "result");

	if (!value)
		return frame_to_error(answer, e);
	if (result)
		*result = json_incref(value);
	return 0;
}

static int lost(struct control_client *client, const char *call, int code, struct error *e)
{
	client->broken = true;
	if (code == -ETIMEDOUT)
		return error_set(e, ERROR_TIMEOUT, code, "the monitor did not answer '%s' in time", call);
	if (code == -EPIPE || code == -ECONNRESET)
		return error_set(e, ERROR_STATE, -EPIPE, "the monitor ended before it answered '%s'", call);
	if (code == -EMSGSIZE)
		return error_set(e, ERROR_USAGE, code, "'%s' takes less than %llu bytes of arguments", call,
				 (unsigned long long)FRAME_MAX);
	return code;
}

int control_request(struct control_client *client, const char *call, json_t *with, int timeout_ms, json_t **result,
		    int *fd, struct error *e)
{
	uint64_t deadline = deadline_in(timeout_ms);
	json_t *answer;
	int passed, r;

	if (client->broken) {
		json_decref(with);
		return error_set(e, ERROR_STATE, -EPIPE, "the connection to the monitor has failed before");
	}
	r = send_request(client, call, with, deadline);
	if (r < 0)
		return lost(client, call, error_errno(e, r, "'%s'", call), e);
	r = take_answer(client, deadline, &answer, &passed, e);
	if (r < 0)
		return lost(client, call, r, e);
	r = open_answer(answer, result, e);
	json_decref(answer);
	if (r == 0 && fd)
		*fd = passed;
	else
		close_passed(passed);
	return r;
}

static bool take_kept(struct control_client *client, json_t **event)
{
	json_t *first = json_array_get(client->events, 0);

	if (!first)
		return false;
	*event = json_incref(first);
	json_array_remove(client->events, 0);
	return true;
}

int control_next(struct control_client *client, int timeout_ms, json_t **event, struct error *e)
{
	json_t *object, *value;
	int passed, r;

	if (take_kept(client, event))
		return 0;
	r = take_frame(client, deadline_in(timeout_ms), &object, &passed, e);
	if (r < 0)
		return r;
	close_passed(passed);
	value = json_incref(json_object_get(object, "event"));
	json_decref(object);
	if (!json_is_object(value)) {
		json_decref(value);
		return error_set(e, ERROR_FAILED, -EPROTO, "the monitor sent something that is no event");
	}
	*event = value;
	return 0;
}
