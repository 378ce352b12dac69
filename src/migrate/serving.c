/*
 * The source in post-copy: the machine runs elsewhere and its memory follows. The mover pushes what is due, from the beginning to
 * the end; the server answers for pages that somebody waits for there, over a connection of its own. Memory does not change here
 * any more, so both may send the same page.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "migrate/source_private.h"

/* The destination waits as long for pages that are on their way. */
#define COMPLETE_MS 60000

/* ---- Before the switch ---- */

bool source_shall_switch(void *opaque)
{
	struct source *source = opaque;
	bool asked;

	pthread_mutex_lock(&source->lock);
	asked = source->switch_asked;
	pthread_mutex_unlock(&source->lock);
	return asked && source->progress.stage == MIGRATE_PRE_COPY;
}

int source_to_post_copy(struct source *source, int faults_fd, struct error *e)
{
	int r = 0;

	pthread_mutex_lock(&source->lock);
	if (source->progress.stage != MIGRATE_PRE_COPY || source->switch_asked)
		r = error_set(e, ERROR_STATE, -EBUSY, "it is not in stage 2, pre-copy, from which it could turn to post-copy");
	else if (!source->can_post_copy)
		r = error_set(e, ERROR_STATE, -EOPNOTSUPP, "the destination can not take this machine before its memory");
	if (r == 0) {
		if (source->faults.fd < 0 && source->next_faults < 0)
			source->next_faults = faults_fd;
		else
			close(faults_fd);
		source->switch_asked = true;
	}
	pthread_mutex_unlock(&source->lock);
	return r;
}

/* `fd` is the stream's from now on. */
static void attach(struct source *source, struct stream *stream, int *fd)
{
	pthread_mutex_lock(&source->lock);
	stream_finish(stream);
	stream_init(stream, *fd, source->wake);
	*fd = -1;
	pthread_mutex_unlock(&source->lock);
}

int source_join_by(struct source *source, struct stream *stream, enum link_role role, struct error *e)
{
	int r = stream_greet(stream, true, e);

	return r < 0 ? r : link_join(stream, source->name, source->options.token, role, e);
}

int source_join(struct source *source, struct error *e)
{
	int r;

	if (source->faults.fd >= 0)
		return 0;
	if (source->next_faults < 0)
		return error_set(e, ERROR_USAGE, -EINVAL, "post-copy needs a second connection");
	attach(source, &source->faults, &source->next_faults);
	r = source_join_by(source, &source->faults, LINK_FAULTS, e);
	return r <= 0 ? r : error_set(e, ERROR_FAILED, -EPROTO, "the other side speaks of another machine");
}

/* ---- The server ---- */

static void set_serving(struct source *source, bool on)
{
	pthread_mutex_lock(&source->lock);
	source->serving = on;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
}

int source_begin_serving(struct source *source, struct error *e)
{
	int r = pages_send_missing(&source->stream, &source->due, e);

	if (r == 0)
		set_serving(source, true);
	return r;
}

/* A vCPU waits for it: it counts, but does not wait for the bandwidth. */
static int charge(void *opaque, size_t bytes, struct error *e)
{
	struct source *source = opaque;

	(void)e;
	pthread_mutex_lock(&source->lock);
	limit_owe(&source->limit, bytes, clock_host_ns());
	source->progress.fault_bytes += bytes;
	pthread_mutex_unlock(&source->lock);
	return 0;
}

static int serve_one(struct source *source)
{
	const struct pages_counts *counts = &source->fault_sender.counts;
	uint64_t before = counts->data + counts->zero;
	struct stream_frame frame;
	le64_t address;
	int r = stream_expect(&source->faults, STREAM_WANT, INT_MAX, &frame, NULL);

	if (r < 0)
		return r;
	memcpy(&address, frame.bytes, sizeof address);
	pthread_mutex_lock(&source->lock);
	source->progress.faults++;
	pthread_mutex_unlock(&source->lock);
	r = pages_send_wanted(&source->fault_sender, &source->due, le64_get(address), NULL);
	source_settle(source, counts->data + counts->zero - before);
	return r;
}

static bool await_service(struct source *source)
{
	bool closing;

	pthread_mutex_lock(&source->lock);
	while (!source->serving && !source->closing)
		pthread_cond_wait(&source->changed, &source->lock);
	closing = source->closing;
	pthread_mutex_unlock(&source->lock);
	return !closing;
}

/* The main link is of no use without this one, unless all has been pushed: then this one ends because the destination has all,
 * whose word for that may still be on its way, or the destination ends the other itself. */
static void stop_serving(struct source *source)
{
	pthread_mutex_lock(&source->lock);
	if (source->serving && !source->pushed)
		shutdown(source->fd, SHUT_RDWR);
	source->serving = false;
	source->server_idle = true;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
}

void *source_server_main(void *arg)
{
	struct source *source = arg;

	source->fault_sender.pace = charge;
	source->fault_sender.opaque = source;
	while (await_service(source)) {
		while (serve_one(source) == 0)
			;
		stop_serving(source);
	}
	return NULL;
}

/* ---- The mover ---- */

static void set_pushed(struct source *source, bool pushed)
{
	pthread_mutex_lock(&source->lock);
	source->pushed = pushed;
	pthread_mutex_unlock(&source->lock);
}

static int push(struct source *source, struct error *e)
{
	struct stream_frame frame;
	int r;

	set_pushed(source, false);
	source_owe(source, pages_set_count(&source->due));
	r = source_send_pages(source, e);
	if (r == 0)
		r = stream_send(&source->stream, STREAM_PUSHED, NULL, 0, e);
	set_pushed(source, r == 0);
	if (r == 0)
		r = stream_expect(&source->stream, STREAM_COMPLETE, COMPLETE_MS, &frame, e);
	source_owe(source, pages_set_count(&source->due));
	return r;
}

/* The server lets go of its link before another takes its place. */
static void cut(struct source *source)
{
	source_carriers_cut(source);
	pthread_mutex_lock(&source->lock);
	source->progress.cut = true;
	if (source->serving && source->faults.fd >= 0) {
		source->serving = false;
		source->server_idle = false;
		shutdown(source->faults.fd, SHUT_RDWR);
		while (!source->server_idle)
			pthread_cond_wait(&source->changed, &source->lock);
	}
	pthread_mutex_unlock(&source->lock);
}

static bool await_links(struct source *source)
{
	bool closing;

	pthread_mutex_lock(&source->lock);
	while (source->next_main < 0 && !source->closing)
		pthread_cond_wait(&source->changed, &source->lock);
	closing = source->closing;
	if (!closing) {
		close(source->fd);
		source->fd = source->next_main;
		if (source->faults.fd >= 0)
			close(source->faults.fd);
		source->faults.fd = -1;
	}
	pthread_mutex_unlock(&source->lock);
	if (closing)
		return false;
	attach(source, &source->stream, &source->next_main);
	attach(source, &source->faults, &source->next_faults);
	return true;
}

/* What the destination lacks, whatever was sent before. */
static int hear_missing(struct source *source, struct error *e)
{
	struct stream_frame frame;
	int r = 0;

	pages_set_clear(&source->due);
	while (r == 0) {
		r = stream_receive(&source->stream, -1, &frame, e);
		if (r < 0 || frame.kind == STREAM_READY)
			return r;
		if (frame.kind != STREAM_MISSING)
			return error_set(e, ERROR_FAILED, -EPROTO, "the other side sent a frame \"%s\" where missing pages were due",
					 stream_kind_name(frame.kind));
		r = pages_receive_missing(&frame, &source->due, e);
	}
	return r;
}

static int rejoin(struct source *source, struct error *e)
{
	int r = source_join_by(source, &source->stream, LINK_MAIN, e);

	/* Its last word was lost. */
	if (r > 0)
		return 0;
	if (r == 0)
		r = source_join_by(source, &source->faults, LINK_FAULTS, e);
	if (r > 0)
		return 0;
	if (r == 0)
		r = hear_missing(source, e);
	/* Who listens there gave up, not the machine. */
	if (r < 0)
		return r == -ECONNABORTED ? -EIO : r;
	pthread_mutex_lock(&source->lock);
	source->progress.cut = false;
	pthread_mutex_unlock(&source->lock);
	set_serving(source, true);
	source_enter(source, MIGRATE_ACTIVATION);
	return push(source, e);
}

int source_rejoin(struct source *source, int main_fd, int faults_fd, struct error *e)
{
	int r = 0;

	pthread_mutex_lock(&source->lock);
	if (!source->progress.cut || source->next_main >= 0)
		r = error_set(e, ERROR_STATE, -EBUSY, "its memory is on its way: there is nothing to recover");
	if (r == 0) {
		source->next_main = main_fd;
		source->next_faults = faults_fd;
		pthread_cond_broadcast(&source->changed);
	}
	pthread_mutex_unlock(&source->lock);
	return r;
}

static int fence_late(void *arg, struct error *e)
{
	struct source *source = arg;

	return source->options.hooks.fence(source->options.hooks.opaque, SOURCE_FENCE_LATE, e);
}

/* A machine that has ended there needs no memory. */
static bool is_over(int r)
{
	return r == 0 || r == -ECONNABORTED;
}

void source_serve(struct source *source, bool is_cut)
{
	int r;

	(void)!source_errand(source, fence_late, NULL);
	if (is_cut) {
		cut(source);
		r = await_links(source) ? rejoin(source, &source->why) : -ECANCELED;
	} else {
		r = push(source, &source->why);
	}
	while (!is_over(r)) {
		source->end = SOURCE_CUT;
		cut(source);
		(void)!source_errand(source, source_conclude, NULL);
		if (!await_links(source))
			return;
		r = rejoin(source, &source->why);
	}
	source->end = SOURCE_MOVED;
	pthread_mutex_lock(&source->lock);
	source->complete = true;
	source->progress.total_ns = clock_host_ns() - source->began_ns;
	pthread_mutex_unlock(&source->lock);
}
