/*
 * The destination's further connections for pages, a thread each: pages come, and the end of each turn is echoed. The source has
 * told how many there will be; behind walls only the owner may make threads.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/threads.h"
#include "migrate/destination_private.h"

struct porter {
	struct destination *destination;
	int fd; /* -1: it has none yet; under the lock */
	struct stream stream;
	struct unpacker unpacker;
	struct pages_counts counts; /* since the last echo */
	pthread_t thread;
};

/* All who wait for pages look again; and what came is among the total. */
static void add_up(struct porter *porter)
{
	struct destination *d = porter->destination;

	pthread_mutex_lock(&d->lock);
	d->carried.data += porter->counts.data;
	d->carried.zero += porter->counts.zero;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	porter->counts = (struct pages_counts){.data = 0};
}

static int take_frame(struct porter *porter, const struct stream_frame *frame, struct error *e)
{
	switch (frame->kind) {
	case STREAM_PAGES:
		return pages_receive(frame, &porter->destination->target, &porter->counts, e);
	case STREAM_ROUND:
		add_up(porter);
		return stream_send_bytes(&porter->stream, STREAM_ROUND, frame->bytes, frame->length, e);
	default:
		return error_set(e, ERROR_FAILED, -EPROTO, "the other side sent a frame \"%s\" amid pages",
				 stream_kind_name(frame->kind));
	}
}

/* Whoever has not heard the echo sends those pages anew, or gives up. In post-copy no link is of use without the
 * others. */
static void leave(struct porter *porter, int r, const struct error *why)
{
	struct destination *d = porter->destination;

	if (r != -EPIPE && r != -ECONNRESET && r != -ECANCELED)
		stream_abort(&porter->stream, why);
	pthread_mutex_lock(&d->lock);
	shutdown(porter->fd, SHUT_RDWR);
	if (d->phase == DESTINATION_LATE)
		shutdown(d->fd, SHUT_RDWR);
	pthread_mutex_unlock(&d->lock);
}

static bool await_link(struct porter *porter)
{
	struct destination *d = porter->destination;
	bool there;

	pthread_mutex_lock(&d->lock);
	while (porter->fd < 0 && d->takes_pages)
		pthread_cond_wait(&d->changed, &d->lock);
	there = porter->fd >= 0;
	pthread_mutex_unlock(&d->lock);
	return there;
}

static void *porter_main(void *arg)
{
	struct porter *porter = arg;
	struct stream_frame frame;
	struct error why;
	int r;

	if (!await_link(porter))
		return NULL;
	r = stream_send(&porter->stream, STREAM_JOINED, NULL, 0, &why);
	while (r == 0) {
		r = unpacker_receive(&porter->unpacker, &porter->stream, INT_MAX, &frame, &why);
		if (r == 0)
			r = take_frame(porter, &frame, &why);
	}
	leave(porter, r, &why);
	return NULL;
}

static int begin(struct destination *d)
{
	struct porter *porter = calloc(1, sizeof *porter);
	int r;

	if (!porter)
		return -ENOMEM;
	*porter = (struct porter){.destination = d, .fd = -1};
	r = thread_start(&porter->thread, THREAD_MOVER, "porter", porter_main, porter);
	if (r == 0)
		d->porters[d->porter_count++] = porter;
	else
		free(porter);
	return r;
}

int destination_begin_porters(struct destination *d, unsigned count, struct error *e)
{
	int r = 0;

	pthread_mutex_lock(&d->lock);
	d->takes_pages = true;
	while (r == 0 && d->porter_count < count && d->porter_count < LINK_PAGES_MAX)
		r = begin(d);
	pthread_mutex_unlock(&d->lock);
	return r < 0 ? error_errno(e, r, "a thread for receiving a machine") : 0;
}

static void give(struct porter *porter, int fd, unsigned version)
{
	stream_init(&porter->stream, fd, porter->destination->wake);
	porter->stream.version = version;
	porter->stream.sent = LINK_FRAMES_SENT;
	porter->stream.received = LINK_FRAMES_RECEIVED;
	porter->fd = fd;
}

void destination_take_pages_link(struct destination *d, int fd, unsigned version)
{
	unsigned i = 0;

	pthread_mutex_lock(&d->lock);
	while (i < d->porter_count && d->porters[i]->fd >= 0)
		i++;
	if (d->takes_pages && i < d->porter_count) {
		give(d->porters[i], fd, version);
		fd = -1;
		pthread_cond_broadcast(&d->changed);
	}
	pthread_mutex_unlock(&d->lock);
	if (fd >= 0)
		close(fd);
}

void destination_send_porters_away(struct destination *d)
{
	d->takes_pages = false;
	for (unsigned i = 0; i < d->porter_count; i++)
		if (d->porters[i]->fd >= 0)
			shutdown(d->porters[i]->fd, SHUT_RDWR);
	pthread_cond_broadcast(&d->changed);
}

void destination_end_porters(struct destination *d)
{
	struct porter *porters[LINK_PAGES_MAX];
	unsigned count;

	pthread_mutex_lock(&d->lock);
	destination_send_porters_away(d);
	count = d->porter_count;
	memcpy(porters, d->porters, count * sizeof(struct porter *));
	d->porter_count = 0;
	pthread_mutex_unlock(&d->lock);
	for (unsigned i = 0; i < count; i++) {
		pthread_join(porters[i]->thread, NULL);
		stream_finish(&porters[i]->stream);
		unpacker_finish(&porters[i]->unpacker);
		if (porters[i]->fd >= 0)
			close(porters[i]->fd);
		free(porters[i]);
	}
}
