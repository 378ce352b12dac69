#include "machine/viewers.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

/* Messages of one watcher that are dropped at once: whoever sends without end must not keep the loop from its work. */
#define DROPPED_AT_ONCE 16
/* A guest that prints byte by byte is not worth a message for each. */
#define GATHER_NS (4 * UINT64_C(1000000))

struct viewer {
	struct viewers *viewers;
	struct viewer *next;
	int fd; /* -1: cut off, to be freed by sweep */
	struct loop_watch *watch;
	char who[64];
	uint64_t place;   /* on the tape */
	bool full;        /* the socket takes nothing now */
	bool unread;      /* a watcher's messages wait to be dropped */
	char notice[160]; /* to be told next; empty: none */
	uint16_t columns, rows;
};

struct viewers {
	struct viewers_config config;
	struct tape_alarm alarm;
	struct bell bell; /* the alarm went off, or there is more to drop */
	struct loop_timer gather;
	uint64_t served_ns, served; /* when all were served last, up to which place */
	struct viewer *first, *writer;
	unsigned count;
};

static void cut_off(struct viewer *viewer)
{
	struct viewers *viewers = viewer->viewers;
	bool wrote = viewers->writer == viewer;

	if (viewer->fd < 0)
		return;
	loop_unwatch(viewers->config.loop, viewer->watch);
	close(viewer->fd);
	viewer->fd = -1;
	viewers->count--;
	if (!wrote)
		return;
	viewers->writer = NULL;
	viewers->config.writer(viewers->config.opaque);
}

/* Not where somebody still holds a viewer. */
static void sweep(struct viewers *viewers)
{
	struct viewer **link = &viewers->first;

	while (*link) {
		struct viewer *viewer = *link;

		if (viewer->fd >= 0) {
			link = &viewer->next;
			continue;
		}
		*link = viewer->next;
		free(viewer);
	}
}

/* Whether it was taken. */
static bool tell(struct viewer *viewer, enum viewing_kind kind, const void *bytes, size_t length)
{
	uint8_t message[VIEWING_MESSAGE];

	message[0] = (uint8_t)kind;
	memcpy(message + 1, bytes, length);
	if (send(viewer->fd, message, 1 + length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EAGAIN)
		viewer->full = true;
	else if (errno != EINTR)
		cut_off(viewer);
	return false;
}

static bool tell_notice(struct viewer *viewer)
{
	if (!*viewer->notice)
		return true;
	if (!tell(viewer, VIEWING_NOTICE, viewer->notice, strlen(viewer->notice)))
		return false;
	*viewer->notice = '\0';
	return true;
}

static bool tell_lost(struct viewer *viewer, uint64_t lost)
{
	const le64_t count = le64_put(lost);

	if (!tell(viewer, VIEWING_LOST, &count, sizeof count))
		return false;
	viewer->place += lost;
	return true;
}

/* One message of output; false when there is none, or it is not taken. */
static bool tell_output(struct viewer *viewer)
{
	uint8_t bytes[VIEWING_OUTPUT];
	uint64_t place = viewer->place, lost;
	size_t n = tape_read(viewer->viewers->config.tape, &place, bytes, sizeof bytes, &lost);

	if (lost && !tell_lost(viewer, lost))
		return false;
	if (!n || !tell(viewer, VIEWING_OUT, bytes, n))
		return false;
	viewer->place = place;
	return true;
}

/* What came until now; the rest waits its turn. */
static void serve(struct viewer *viewer, uint64_t end)
{
	if (viewer->fd < 0 || viewer->full || !tell_notice(viewer))
		return;
	while (viewer->place < end && tell_output(viewer))
		;
}

static void serve_all(void *arg)
{
	struct viewers *viewers = arg;
	uint64_t end = tape_end(viewers->config.tape);

	for (struct viewer *viewer = viewers->first; viewer; viewer = viewer->next)
		serve(viewer, end);
	viewers->served = end;
	viewers->served_ns = clock_host_ns();
	if (viewers->count)
		tape_alarm_set(viewers->config.tape, &viewers->alarm, end);
	sweep(viewers);
}

/* On a vCPU's thread, mostly. */
static void on_alarm(void *opaque)
{
	bell_ring(&((struct viewers *)opaque)->bell);
}

/* Returns the length of a whole message, 0 when there is none now; who is gone or sends nonsense is cut off. */
static size_t next_message(struct viewer *viewer, uint8_t message[1 + VIEWING_INPUT])
{
	ssize_t n = recv(viewer->fd, message, 1 + VIEWING_INPUT, MSG_DONTWAIT | MSG_TRUNC);

	if (n > 0 && n <= (ssize_t)(1 + VIEWING_INPUT))
		return (size_t)n;
	if (n >= 0 || (errno != EAGAIN && errno != EINTR))
		cut_off(viewer);
	return 0;
}

static void take_size(struct viewer *viewer, const uint8_t *bytes, size_t length)
{
	le16_t size[2];

	if (length != sizeof size) {
		cut_off(viewer);
		return;
	}
	memcpy(size, bytes, sizeof size);
	viewer->columns = le16_get(size[0]);
	viewer->rows = le16_get(size[1]);
}

/* Handles a message that is no input. */
static void take_other(struct viewer *viewer, const uint8_t *message, size_t length)
{
	if (message[0] == VIEWING_SIZE)
		take_size(viewer, message + 1, length - 1);
	else if (message[0] != VIEWING_IN)
		cut_off(viewer);
}

size_t viewers_receive(struct viewers *viewers, uint8_t bytes[VIEWING_INPUT])
{
	uint8_t message[1 + VIEWING_INPUT];
	size_t n;

	while (viewers->writer && (n = next_message(viewers->writer, message)) > 0) {
		if (message[0] == VIEWING_IN) {
			memcpy(bytes, message + 1, n - 1);
			if (n > 1)
				return n - 1;
		} else {
			take_other(viewers->writer, message, n);
		}
	}
	return 0;
}

static void drop_input(struct viewer *viewer)
{
	uint8_t message[1 + VIEWING_INPUT];

	viewer->unread = false;
	for (unsigned i = 0; viewer->fd >= 0 && i < DROPPED_AT_ONCE; i++) {
		size_t n = next_message(viewer, message);

		if (!n)
			return;
		take_other(viewer, message, n);
	}
	viewer->unread = viewer->fd >= 0;
	if (viewer->unread)
		bell_ring(&viewer->viewers->bell);
}

static void gather(struct viewers *viewers)
{
	uint64_t due = viewers->served_ns + GATHER_NS;

	if (clock_host_ns() >= due || tape_end(viewers->config.tape) > viewers->served + TAPE_SIZE / 4) {
		serve_all(viewers);
		return;
	}
	loop_timer_set(viewers->config.loop, &viewers->gather, due);
	tape_alarm_set(viewers->config.tape, &viewers->alarm, viewers->served + TAPE_SIZE / 4);
}

static void on_bell(void *arg)
{
	struct viewers *viewers = arg;

	for (struct viewer *viewer = viewers->first; viewer; viewer = viewer->next)
		if (viewer->unread)
			drop_input(viewer);
	gather(viewers);
}

/* What it has sent is still the guest's, as far as there is room. */
static void end_viewer(struct viewer *viewer)
{
	struct viewers *viewers = viewer->viewers;

	if (viewers->writer == viewer)
		viewers->config.writer(viewers->config.opaque);
	cut_off(viewer);
}

/* Edge-triggered: a writer's input waits until the guest takes it, and must not make the loop spin. */
static void on_event(void *arg, uint32_t events)
{
	struct viewer *viewer = arg;
	struct viewers *viewers = viewer->viewers;

	if (viewers->writer == viewer)
		viewers->config.writer(viewers->config.opaque);
	else
		drop_input(viewer);
	if (events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR))
		end_viewer(viewer);
	viewer->full = false;
	serve(viewer, viewers->served);
	sweep(viewers);
}

int viewers_new(struct viewers **out, const struct viewers_config *config, struct error *e)
{
	struct viewers *viewers = calloc(1, sizeof *viewers);

	if (!viewers)
		return error_errno(e, -ENOMEM, "viewers of the console");
	viewers->config = *config;
	viewers->alarm = (struct tape_alarm){.fn = on_alarm, .opaque = viewers};
	viewers->bell = (struct bell){.loop = config->loop, .fn = on_bell, .arg = viewers};
	viewers->gather = (struct loop_timer){.fn = serve_all, .arg = viewers};
	*out = viewers;
	return 0;
}

void viewers_free(struct viewers *viewers)
{
	if (!viewers)
		return;
	viewers->writer = NULL; /* nobody is to be told any more */
	for (struct viewer *viewer = viewers->first; viewer; viewer = viewer->next)
		cut_off(viewer);
	sweep(viewers);
	tape_alarm_remove(viewers->config.tape, &viewers->alarm);
	loop_timer_cancel(viewers->config.loop, &viewers->gather);
	bell_silence(&viewers->bell);
	free(viewers);
}

/* The name comes from outside and is shown on terminals. */
static void set_name(struct viewer *viewer, const char *who)
{
	snprintf(viewer->who, sizeof viewer->who, "%s", who);
	for (char *c = viewer->who; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
}

static void become_writer(struct viewer *viewer)
{
	struct viewers *viewers = viewer->viewers;
	struct viewer *before = viewers->writer;

	viewers->writer = viewer;
	if (before) {
		snprintf(before->notice, sizeof before->notice, "%s has taken the console; you only watch now",
			 viewer->who);
		serve(before, viewers->served);
	}
	viewers->config.writer(viewers->config.opaque);
}

/* A writer that has gone may not have been noticed yet. */
static void mind_writer(struct viewers *viewers)
{
	struct pollfd p = {.fd = viewers->writer ? viewers->writer->fd : -1, .events = POLLRDHUP};

	if (poll(&p, 1, 0) > 0)
		end_viewer(viewers->writer);
}

static int refuse(const struct viewers *viewers, enum machine_attach how, const char *busy, struct error *e)
{
	const char *writer = viewers->writer ? viewers->writer->who : busy;

	if (viewers->count >= VIEWERS_MAX)
		return error_set(e, ERROR_STATE, -EMFILE, "%d look at this console already; end one of them",
				 VIEWERS_MAX);
	if (how == MACHINE_WRITE && writer)
		return error_set(e, ERROR_STATE, -EBUSY,
				 "%s writes to this console already; --read-only watches, --take takes it over",
				 writer);
	return 0;
}

int viewers_add(struct viewers *viewers, int fd, enum machine_attach how, const char *who, const char *busy,
		struct error *e)
{
	struct viewer *viewer;
	int r;

	mind_writer(viewers);
	sweep(viewers);
	r = refuse(viewers, how, busy, e);
	if (r < 0)
		return r;
	viewer = calloc(1, sizeof *viewer);
	if (!viewer)
		return error_errno(e, -ENOMEM, "a viewer of the console");
	*viewer = (struct viewer){.viewers = viewers, .fd = fd, .next = viewers->first};
	viewer->place = tape_start(viewers->config.tape);
	set_name(viewer, who);
	r = loop_watch(viewers->config.loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, on_event, viewer,
		       &viewer->watch, e);
	if (r < 0) {
		free(viewer);
		return r;
	}
	viewers->first = viewer;
	viewers->count++;
	if (how != MACHINE_WATCH)
		become_writer(viewer);
	serve_all(viewers);
	return 0;
}

const char *viewers_writer(const struct viewers *viewers)
{
	return viewers->writer ? viewers->writer->who : NULL;
}

bool viewers_size(const struct viewers *viewers, uint16_t *columns, uint16_t *rows)
{
	const struct viewer *writer = viewers->writer;

	if (!writer || !writer->columns || !writer->rows)
		return false;
	*columns = writer->columns;
	*rows = writer->rows;
	return true;
}

unsigned viewers_count(const struct viewers *viewers)
{
	return viewers->count;
}

/* All that is left, then the end; true when it is over with this one. */
static bool say_end(struct viewer *viewer, const char *message, size_t length)
{
	viewer->full = false;
	serve(viewer, UINT64_MAX);
	if (viewer->fd >= 0 && !viewer->full && tell(viewer, VIEWING_END, message, length))
		cut_off(viewer);
	return viewer->fd < 0;
}

/* False once `until` has come. */
static bool wait_for_room(int fd, uint64_t until)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	uint64_t now = clock_host_ns();

	if (now >= until)
		return false;
	(void)poll(&p, 1, (int)(1 + (until - now) / NS_PER_MS));
	return true;
}

void viewers_end(struct viewers *viewers, uint8_t code, const char *why, unsigned patience_ms)
{
	uint64_t until = clock_host_ns() + patience_ms * NS_PER_MS;
	char message[1 + 400];
	int length = snprintf(message, sizeof message, "%c%.399s", '?', why);

	message[0] = (char)code;
	viewers->writer = NULL; /* its input has nowhere to go */
	for (struct viewer *viewer = viewers->first; viewer; viewer = viewer->next)
		say_end(viewer, message, (size_t)length);
	for (struct viewer *viewer = viewers->first; viewer; viewer = viewer->next) {
		while (!say_end(viewer, message, (size_t)length) && wait_for_room(viewer->fd, until))
			;
		cut_off(viewer);
	}
	sweep(viewers);
}
