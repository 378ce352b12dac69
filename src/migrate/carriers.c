/*
 * The source's further connections for pages: each has a thread that takes pages out of what is due, as the mover does, each page
 * being one's alone. A turn ends when the destination has told over each of them that all is there, so that no page of one turn
 * can come after the same page of the next.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/threads.h"
#include "migrate/source_private.h"

/* Fewer pages are sent by the mover alone: one more round trip would take longer. */
#define SHARED_LEAST 512

static int pace(void *opaque, size_t bytes, struct error *e)
{
	struct carrier *carrier = opaque;

	source_tally(carrier->source, &carrier->told, &carrier->sender.counts, carrier->stream.bytes_sent);
	return source_take_turn(carrier->source, bytes, e);
}

static bool enough(void *opaque)
{
	const struct carrier *carrier = opaque;

	return source_shall_switch(carrier->source);
}

/* ---- A carrier ---- */

static int end_turn(struct carrier *carrier, struct error *e)
{
	const le64_t number = le64_put(++carrier->turns);
	struct stream_frame frame;
	int r = stream_send_bytes(&carrier->stream, STREAM_ROUND, &number, sizeof number, e);

	if (r == 0)
		r = stream_expect(&carrier->stream, STREAM_ROUND, -1, &frame, e);
	if (r == 0 && memcmp(frame.bytes, &number, sizeof number) != 0)
		r = error_set(e, ERROR_FAILED, -EPROTO, "the other side told of another round");
	return r;
}

static int carry(struct carrier *carrier)
{
	int r = pages_send(&carrier->sender, &carrier->source->due, &carrier->why);

	if (r == 0)
		r = end_turn(carrier, &carrier->why);
	source_tally(carrier->source, &carrier->told, &carrier->sender.counts, carrier->stream.bytes_sent);
	return r;
}

static bool await_turn(struct carrier *carrier)
{
	struct source *source = carrier->source;
	bool closing;

	pthread_mutex_lock(&source->lock);
	while (!source->closing && !carrier->failed && (!source->sharing || carrier->had == source->turn))
		pthread_cond_wait(&source->changed, &source->lock);
	closing = source->closing || carrier->failed;
	carrier->had = source->turn;
	carrier->busy = !closing;
	pthread_mutex_unlock(&source->lock);
	return !closing;
}

static void turn_over(struct carrier *carrier, int r)
{
	struct source *source = carrier->source;

	pthread_mutex_lock(&source->lock);
	carrier->busy = false;
	if (r < 0 && !carrier->failed) {
		carrier->failed = true;
		carrier->result = r;
	}
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
}

/* Whether the destination takes such. */
static bool await_call(struct carrier *carrier)
{
	struct source *source = carrier->source;
	bool called;

	pthread_mutex_lock(&source->lock);
	while (!source->carriers_called && !source->closing)
		pthread_cond_wait(&source->changed, &source->lock);
	called = source->carriers_called;
	pthread_mutex_unlock(&source->lock);
	return called;
}

/* One that the destination does not take after all has nothing of the machine, and is done without. */
static void *carrier_main(void *arg)
{
	struct carrier *carrier = arg;
	struct error e;

	if (!await_call(carrier) || source_join_by(carrier->source, &carrier->stream, LINK_PAGES, &e) != 0)
		return NULL;
	while (await_turn(carrier))
		turn_over(carrier, carry(carrier));
	return NULL;
}

/* ---- All of them ---- */

static int prepare(struct carrier *carrier, struct source *source, int fd, struct error *e)
{
	int r;

	carrier->source = source;
	stream_init(&carrier->stream, fd, source->wake);
	r = pages_sender_init(&carrier->sender, &carrier->stream, e);
	if (r == 0 && source->options.compress)
		r = packer_new(&carrier->sender.packer, source->options.compress, e);
	carrier->sender.pace = pace;
	carrier->sender.enough = enough;
	carrier->sender.opaque = carrier;
	return r;
}

int source_carriers_begin(struct source *source, struct error *e)
{
	for (unsigned i = 0; i < source->options.links.page_count; i++) {
		struct carrier *carrier = &source->carriers[i];
		int r = prepare(carrier, source, source->options.links.pages[i], e);

		if (r < 0)
			return r;
		r = thread_start(&carrier->thread, THREAD_MOVER, "carrier", carrier_main, carrier);
		if (r < 0)
			return error_errno(e, r, "a thread for moving a machine");
		carrier->threaded = true;
	}
	return 0;
}

void source_call_carriers(struct source *source)
{
	pthread_mutex_lock(&source->lock);
	source->carriers_called = true;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
}

static void share(struct source *source)
{
	pthread_mutex_lock(&source->lock);
	source->turn++;
	source->sharing = true;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
}

static bool any_busy(const struct source *source)
{
	for (unsigned i = 0; i < source->options.links.page_count; i++)
		if (source->carriers[i].busy)
			return true;
	return false;
}

/* The first failure of the turn, each told once. Under the lock. */
static int find_failure(struct source *source, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; i < source->options.links.page_count; i++) {
		struct carrier *carrier = &source->carriers[i];

		if (r == 0 && carrier->result < 0)
			r = error_set(e, carrier->why.kind, carrier->result, "%s", carrier->why.message);
		carrier->result = 0;
	}
	return r;
}

static int end_sharing(struct source *source, struct error *e)
{
	int r;

	pthread_mutex_lock(&source->lock);
	source->sharing = false;
	while (any_busy(source))
		pthread_cond_wait(&source->changed, &source->lock);
	r = find_failure(source, e);
	pthread_mutex_unlock(&source->lock);
	return r;
}

void source_carriers_cut(struct source *source)
{
	pthread_mutex_lock(&source->lock);
	for (unsigned i = 0; i < source->options.links.page_count; i++) {
		source->carriers[i].failed = true;
		shutdown(source->options.links.pages[i], SHUT_RDWR);
	}
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
}

int source_send_pages(struct source *source, struct error *e)
{
	bool shared = source->options.links.page_count && pages_set_count(&source->due) >= SHARED_LEAST;
	struct error own;
	int r, others;

	if (shared)
		share(source);
	r = pages_send(&source->sender, &source->due, e);
	if (!shared)
		return r;
	if (r < 0)
		source_carriers_cut(source);
	others = end_sharing(source, &own);
	return r < 0 || others == 0 ? r : error_set(e, own.kind, others, "%s", own.message);
}

void source_carriers_end(struct source *source)
{
	for (unsigned i = 0; i < source->options.links.page_count; i++) {
		struct carrier *carrier = &source->carriers[i];

		if (carrier->threaded)
			pthread_join(carrier->thread, NULL);
		packer_free(carrier->sender.packer);
		pages_sender_finish(&carrier->sender);
		stream_finish(&carrier->stream);
	}
}
