#include "control/server.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/acceptor.h"
#include "base/clock.h"
#include "base/log.h"
#include "control/queue.h"

#define FRAMES_AT_ONCE 16 /* of one client, before others have their turn */

struct client {
	struct control_server *server;
	struct client *next;
	int fd;
	struct loop_watch *watch;
	struct frame_reader reader;
	struct queue out;
	struct control_call *call; /* the one that is not answered yet; nothing is read meanwhile */
	bool listens;
	bool ended;  /* it has sent all that it will */
	bool broken; /* it goes at the next reaping; nothing is done for it any more */
};

struct control_call {
	struct client *client;
	json_t *request;
	int passed; /* -1: none, or taken */
	bool kept;
	void (*gone)(struct control_call *call, void *arg);
	void *arg;
};

struct control_server {
	struct loop *loop;
	struct acceptor acceptor;
	const struct control_verb *verbs;
	void *opaque;
	struct client *clients;
	unsigned count;
	struct bell reaper;
};

static void end_call(struct control_call *call)
{
	call->client->call = NULL;
	json_decref(call->request);
	if (call->passed >= 0)
		close(call->passed);
	free(call);
}

/* What comes next from this client, or its end; after all that was done for it. */
static void settle(struct client *client)
{
	uint32_t events = 0;

	if (client->ended && !client->call && queue_is_empty(&client->out))
		client->broken = true;
	if (client->broken) {
		bell_ring(&client->server->reaper);
	} else {
		events |= client->call || client->ended ? 0 : EPOLLIN;
		events |= queue_is_empty(&client->out) ? 0 : EPOLLOUT;
	}
	loop_watch_events(client->server->loop, client->watch, events);
}

/* `text` is shared, `fd` is taken. A frame of any length is put where little waits. */
static void put(struct client *client, struct queue_text *text, int fd)
{
	bool behind = client->out.waiting > SERVER_BACKLOG;

	if (queue_add(&client->out, text, fd) < 0 || queue_send(&client->out, client->fd) < 0 || behind)
		client->broken = true;
	settle(client);
}

/* Ends the call; `object` and `fd` are taken. */
static void answer(struct control_call *call, json_t *object, int fd)
{
	static const struct error no_answer = {ERROR_FAILED, "there is no memory for the answer, or it is too long"};
	struct client *client = call->client;
	struct queue_text *text = queue_text_new(object);

	json_decref(object);
	if (!text) {
		object = frame_of_error(&no_answer);
		text = queue_text_new(object);
		json_decref(object);
	}
	end_call(call);
	put(client, text, fd);
	queue_text_drop(text);
}

void control_answer(struct control_call *call, json_t *result, int fd)
{
	answer(call, json_pack("{s:o}", "result", result ? result : json_object()), fd);
}

void control_fail(struct control_call *call, const struct error *e)
{
	answer(call, frame_of_error(e), -1);
}

void control_keep(struct control_call *call, void (*gone)(struct control_call *call, void *arg), void *arg)
{
	call->kept = true;
	call->gone = gone;
	call->arg = arg;
}

void control_tell_caller(struct control_call *call, const json_t *event)
{
	json_t *object = json_pack("{s:O}", "event", event);
	struct queue_text *text = queue_text_new(object);

	put(call->client, text, -1);
	queue_text_drop(text);
	json_decref(object);
}

void control_subscribe(struct control_call *call)
{
	call->client->listens = true;
	control_answer(call, NULL, -1);
}

void *control_opaque(const struct control_call *call)
{
	return call->client->server->opaque;
}

int control_take_passed(struct control_call *call)
{
	int fd = call->passed;

	call->passed = -1;
	return fd;
}

void control_tell(struct control_server *server, const json_t *event)
{
	json_t *object = NULL;
	struct queue_text *text = NULL;

	for (struct client *client = server->clients; client; client = client->next) {
		if (!client->listens || client->broken)
			continue;
		/* Made for the first who listens: mostly nobody does. A text that can not be made cuts listeners off. */
		if (!object) {
			object = json_pack("{s:O}", "event", event);
			text = queue_text_new(object);
		}
		put(client, text, -1);
	}
	queue_text_drop(text);
	json_decref(object);
}

static const struct control_verb *find_verb(const struct control_server *server, const char *name)
{
	for (const struct control_verb *verb = server->verbs; verb->name; verb++)
		if (strcmp(verb->name, name) == 0)
			return verb;
	return NULL;
}

static int run_call(struct control_call *call, struct error *e)
{
	const char *name = json_string_value(json_object_get(call->request, "call"));
	const json_t *with = json_object_get(call->request, "with");
	const struct control_verb *verb = name ? find_verb(call->client->server, name) : NULL;

	if (!name || !json_is_object(with))
		return error_set(e, ERROR_USAGE, -EINVAL, "a request has \"call\", a name, and \"with\", an object");
	if (!verb)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "this machine's monitor knows no call '%.40s'; is it of another version?", name);
	return verb->run(call, with, e);
}

/* `object` and `passed` are taken. */
static void begin_call(struct client *client, json_t *object, int passed)
{
	struct control_call *call = calloc(1, sizeof *call);
	struct error e = {0};

	if (!call) {
		json_decref(object);
		if (passed >= 0)
			close(passed);
		client->broken = true;
		return;
	}
	*call = (struct control_call){.client = client, .request = object, .passed = passed};
	client->call = call;
	if (run_call(call, &e) < 0)
		control_fail(call, &e);
	else
		assert(client->call != call || call->kept);
}

static void read_frames(struct client *client)
{
	for (unsigned i = 0; i < FRAMES_AT_ONCE && !client->call && !client->broken; i++) {
		json_t *object;
		struct error e;
		int passed, r = frame_read(&client->reader, client->fd, &object, &passed, &e);

		if (r == 1) {
			begin_call(client, object, passed);
			continue;
		}
		if (r == -EPIPE)
			client->ended = true;
		if (r < 0 && r != -EPIPE) {
			log_line(LOG_INFO, "control", "a client was cut off: %s", e.message);
			client->broken = true;
		}
		return;
	}
}

static void ready(void *arg, uint32_t events)
{
	struct client *client = arg;

	if (client->broken)
		return;
	if ((events & EPOLLOUT) && queue_send(&client->out, client->fd) < 0)
		client->broken = true;
	/* Without EPOLLIN nothing that it still sends is waited for. */
	if ((events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLIN))
		client->broken = true;
	if ((events & EPOLLIN) && !client->ended)
		read_frames(client);
	settle(client);
}

static void free_client(struct client *client)
{
	loop_unwatch(client->server->loop, client->watch);
	frame_reader_finish(&client->reader);
	queue_drop(&client->out);
	close(client->fd);
	free(client);
}

/* Its owner forgets the call. */
static void abandon(struct control_call *call)
{
	if (call->gone)
		call->gone(call, call->arg);
}

static struct client *take_broken(struct control_server *server)
{
	for (struct client **at = &server->clients; *at; at = &(*at)->next)
		if ((*at)->broken) {
			struct client *client = *at;

			*at = client->next;
			server->count--;
			return client;
		}
	return NULL;
}

/* The only place where clients go while the server lives: whoever finds one broken may be amid a walk over all of them. */
static void reap(void *arg)
{
	struct control_server *server = arg;

	for (struct client *client; (client = take_broken(server));) {
		if (client->call) {
			abandon(client->call);
			end_call(client->call);
		}
		free_client(client);
	}
	acceptor_want(&server->acceptor, server->count < SERVER_CLIENTS);
}

/* The socket's owner is whoever made it, also when this process has another identity by now. */
static bool may_call(const struct control_server *server, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	struct stat socket;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == 0 || (fstat(server->acceptor.listener, &socket) == 0 && peer.uid == socket.st_uid));
}

static void came(void *arg, int fd)
{
	struct control_server *server = arg;
	struct client *client = may_call(server, fd) ? calloc(1, sizeof *client) : NULL;

	if (!client) {
		close(fd);
		return;
	}
	*client = (struct client){.server = server, .fd = fd};
	if (loop_watch(server->loop, fd, EPOLLIN, ready, client, &client->watch, NULL) < 0) {
		close(fd);
		free(client);
		return;
	}
	client->next = server->clients;
	server->clients = client;
	server->count++;
	acceptor_want(&server->acceptor, server->count < SERVER_CLIENTS);
}

int control_server_new(struct control_server **out, struct loop *loop, int listener, const struct control_verb *verbs,
		       void *opaque, struct error *e)
{
	struct control_server *server = calloc(1, sizeof *server);
	int r;

	if (!server)
		return error_errno(e, -ENOMEM, "the control socket");
	*server = (struct control_server){.loop = loop, .verbs = verbs, .opaque = opaque};
	server->acceptor = (struct acceptor){.loop = loop, .came = came, .arg = server};
	server->reaper = (struct bell){.loop = loop, .fn = reap, .arg = server};
	r = acceptor_start(&server->acceptor, listener, e);
	if (r < 0)
		free(server);
	else
		*out = server;
	return r;
}

static void give_up_call(struct client *client)
{
	static const struct error ending = {ERROR_STATE, "the machine's monitor ends"};

	if (!client->call)
		return;
	abandon(client->call);
	control_fail(client->call, &ending);
}

/* Sends what waits; whether any does still. */
static bool flush(struct control_server *server, int timeout_ms)
{
	struct pollfd polled[SERVER_CLIENTS];
	nfds_t count = 0;

	for (struct client *client = server->clients; client; client = client->next) {
		if (!client->broken && queue_send(&client->out, client->fd) < 0)
			client->broken = true;
		if (!client->broken && !queue_is_empty(&client->out))
			polled[count++] = (struct pollfd){.fd = client->fd, .events = POLLOUT};
	}
	return count > 0 && poll(polled, count, timeout_ms) != 0;
}

void control_server_free(struct control_server *server, unsigned patience_ms)
{
	uint64_t now = clock_host_ns(), deadline = now + patience_ms * NS_PER_MS;

	if (!server)
		return;
	acceptor_stop(&server->acceptor);
	for (struct client *client = server->clients; client; client = client->next)
		give_up_call(client);
	while (flush(server, now < deadline ? (int)((deadline - now) / NS_PER_MS + 1) : 0) && now < deadline)
		now = clock_host_ns();
	for (struct client *client = server->clients, *next; client; client = next) {
		next = client->next;
		free_client(client);
	}
	bell_silence(&server->reaper);
	free(server);
}
