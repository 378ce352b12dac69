/*
 * The monitor's end of the control socket against three clients that do anything.
 *
 * The input is a list of steps: client (low 2 bits; 3: all that wait get a turn) and action (next 2 bits) in one byte, a
 * length in the next, and so many bytes. Actions: send the bytes as they are, send them as a frame's text, read what is
 * there, leave and come back. Calls: echo, keep, release (answers the oldest that is kept), listen, tell.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/socket.h"
#include "control/frame.h"
#include "control/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLIENTS 3

static char folder_path[] = "/tmp/doppel-fuzz-control-XXXXXX";
static struct loop *loop;
static int folder = -1, listener = -1, client[CLIENTS];
static struct control_server *server;
static struct control_call *kept[CLIENTS];

static void clean(void)
{
	(void)unlinkat(folder, "control", 0);
	(void)rmdir(folder_path);
}

static void gone(struct control_call *call, void *arg)
{
	struct control_call **place = arg;

	assert(*place == call);
	*place = NULL;
}

static int run_echo(struct control_call *call, const json_t *with, struct error *e)
{
	(void)e;
	control_answer(call, json_deep_copy(with), -1);
	return 0;
}

/* A client has one call at a time, so there is a place. */
static int run_keep(struct control_call *call, const json_t *with, struct error *e)
{
	size_t i = 0;

	(void)with;
	while (i < CLIENTS && kept[i])
		i++;
	/* One that has left may be reaped only later. */
	if (i == CLIENTS)
		return error_set(e, ERROR_STATE, -EBUSY, "no place");
	kept[i] = call;
	control_keep(call, gone, &kept[i]);
	return 0;
}

static int run_release(struct control_call *call, const json_t *with, struct error *e)
{
	(void)e;
	for (size_t i = 0; i < CLIENTS; i++) {
		struct control_call *other = kept[i];

		kept[i] = NULL;
		if (other)
			control_answer(other, json_deep_copy(with), dup(folder));
	}
	control_answer(call, NULL, -1);
	return 0;
}

static int run_listen(struct control_call *call, const json_t *with, struct error *e)
{
	int fd = control_take_passed(call);

	(void)with;
	(void)e;
	if (fd >= 0)
		close(fd);
	control_subscribe(call);
	return 0;
}

static int run_tell(struct control_call *call, const json_t *with, struct error *e)
{
	(void)e;
	for (unsigned i = 0; i < 20; i++)
		control_tell(server, with);
	control_answer(call, NULL, -1);
	return 0;
}

static const struct control_verb verbs[] = {
	{"echo", run_echo}, {"keep", run_keep}, {"release", run_release}, {"listen", run_listen}, {"tell", run_tell}, {0},
};

static void make_socket(void)
{
	if (!mkdtemp(folder_path))
		abort();
	folder = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 || socket_listen_at(folder, "control", &listener, NULL) < 0 || loop_new(&loop, NULL) < 0)
		abort();
	atexit(clean);
}

static void turn(void)
{
	int r = loop_run(loop, 0);

	assert(r == -ETIMEDOUT);
}

static void come(unsigned i)
{
	if (socket_connect_at(folder, "control", 1000, &client[i]) < 0)
		abort();
	turn();
}

static void send_as_text(int fd, const uint8_t *bytes, size_t length)
{
	uint8_t frame[FRAME_HEADER + 255];
	le32_t header = le32_put((uint32_t)length);

	memcpy(frame, &header, sizeof header);
	memcpy(frame + sizeof header, bytes, length);
	(void)!frame_send(fd, frame, sizeof header + length, length & 1 ? -1 : folder);
}

static void step(unsigned i, unsigned action, const uint8_t *bytes, size_t length)
{
	static char sink[4096];

	switch (action) {
	case 0:
		(void)!send(client[i], bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 1:
		send_as_text(client[i], bytes, length);
		break;
	case 2:
		(void)!recv(client[i], sink, sizeof sink, MSG_DONTWAIT);
		break;
	default:
		if (length & 1) {
			(void)shutdown(client[i], SHUT_WR);
			break;
		}
		close(client[i]);
		come(i);
	}
}

static void run_steps(const uint8_t *at, const uint8_t *end)
{
	while (end - at >= 2) {
		unsigned i = at[0] & 3, action = at[0] >> 2 & 3;
		size_t length = at[1];

		at += 2;
		if (length > (size_t)(end - at))
			length = (size_t)(end - at);
		if (i == CLIENTS)
			turn();
		else
			step(i, action, at, length);
		at += length;
	}
	turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int lowest;

	if (!loop)
		make_socket();
	lowest = dup(0);
	close(lowest);
	if (control_server_new(&server, loop, listener, verbs, NULL, NULL) < 0)
		abort();
	for (unsigned i = 0; i < CLIENTS; i++)
		come(i);
	run_steps(data, data + size);
	control_server_free(server, 0);
	for (unsigned i = 0; i < CLIENTS; i++) {
		assert(!kept[i]);
		close(client[i]);
	}
	assert(dup(0) == lowest); /* every descriptor is closed */
	close(lowest);
	return 0;
}
