/* Stage 2: memory is sent while the guest changes it, until what is left can be sent within the downtime. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "migrate/source_private.h"

/* Bytes of a page over the link, in runs of one. */
#define PAGE_COST (GUEST_PAGE_SIZE + sizeof(struct pages_run))
/* Saving and loading the rest of the state, and two files that must reach the disk. */
#define FIXED_NS (15 * NS_PER_MS)
/* A round that leaves more than this part of what it sent makes no way. */
#define PROGRESS_PERCENT 70
#define ROUNDS_MAX       60
/* Rounds go on below the longest downtime as long as each leaves at most half of what it sent, until this is reached. */
#define AIM_NS           (40 * NS_PER_MS)
#define HALF_PERCENT     50

/* One that leaves more than this gets no shorter quickly: the guest is slowed down so far that the next ones leave this much. */
#define SLOW_PERCENT  60
#define QUICK_PERCENT 40

void source_owe(struct source *source, uint64_t pages)
{
	pthread_mutex_lock(&source->lock);
	source->progress.due = source->progress.left = pages;
	pthread_mutex_unlock(&source->lock);
}

/* Under the lock. */
static void settle(struct migrate_progress *progress, uint64_t pages)
{
	progress->left -= pages < progress->left ? pages : progress->left;
}

void source_settle(struct source *source, uint64_t pages)
{
	if (pages == 0)
		return;
	pthread_mutex_lock(&source->lock);
	settle(&source->progress, pages);
	pthread_mutex_unlock(&source->lock);
}

void source_tally(struct source *source, struct tally *told, const struct pages_counts *counts, uint64_t bytes)
{
	pthread_mutex_lock(&source->lock);
	settle(&source->progress, counts->data - told->pages.data + counts->zero - told->pages.zero);
	source->progress.pages += counts->data - told->pages.data;
	source->progress.zeros += counts->zero - told->pages.zero;
	source->progress.bytes += bytes - told->bytes;
	pthread_mutex_unlock(&source->lock);
	*told = (struct tally){*counts, bytes};
}

static void tally(struct source *source)
{
	source_tally(source, &source->told, &source->sender.counts, source->stream.bytes_sent);
	source_settle(source, (source->disks.sent - source->disks_settled) / GUEST_PAGE_SIZE);
	source->disks_settled = source->disks.sent;
}

int source_take_turn(struct source *source, size_t bytes, struct error *e)
{
	uint64_t wait;

	for (;;) {
		struct pollfd wake = {.fd = source->wake, .events = POLLIN};

		pthread_mutex_lock(&source->lock);
		wait = limit_take(&source->limit, bytes, clock_host_ns());
		pthread_mutex_unlock(&source->lock);
		if (wait == 0)
			return 0;
		if (poll(&wake, 1, (int)(wait / NS_PER_MS + 1)) > 0)
			return error_set(e, ERROR_STATE, -ECANCELED, "the move was cancelled");
	}
}

int source_pace(void *opaque, size_t bytes, struct error *e)
{
	struct source *source = opaque;

	tally(source);
	return source_take_turn(source, bytes, e);
}

static uint64_t left(const struct source *source)
{
	return pages_set_count(&source->due) + disks_left(&source->disks) / GUEST_PAGE_SIZE;
}

int source_send_due(struct source *source, struct error *e)
{
	int r;

	source_owe(source, left(source));
	r = disks_send(&source->disks, &source->stream, source_pace, source, e);
	if (r == 0)
		r = source_send_pages(source, e);
	tally(source);
	return r;
}

/* All of it has arrived when the destination says so. */
static int end_round(struct source *source, unsigned round, struct error *e)
{
	const le64_t number = le64_put(round);
	struct stream_frame frame;
	int r = stream_send_bytes(&source->stream, STREAM_ROUND, &number, sizeof number, e);

	if (r == 0)
		r = stream_expect(&source->stream, STREAM_ROUND, -1, &frame, e);
	if (r == 0 && memcmp(frame.bytes, &number, sizeof number) != 0)
		return error_set(e, ERROR_FAILED, -EPROTO, "the other side told of another round");
	return r;
}

struct round {
	uint64_t bytes, ns, pages, left; /* bytes over the link; pages: those of disks too */
	uint64_t whole; /* bytes, as they would be uncompressed */
};

static void measure(struct source *source, unsigned number, const struct round *round)
{
	struct migrate_progress *p = &source->progress;

	pthread_mutex_lock(&source->lock);
	p->round = number;
	p->due = p->left = round->left;
	/* A round of few bytes measures the delay of the link, not its rate. */
	if (round->bytes > MIB || !p->rate) {
		p->rate = round->bytes * NS_PER_SECOND / (round->ns ? round->ns : 1);
		source->whole_rate = round->whole * NS_PER_SECOND / (round->ns ? round->ns : 1);
	}
	p->estimate_ns =
		FIXED_NS + round->left * PAGE_COST * NS_PER_SECOND / (source->whole_rate ? source->whole_rate : 1);
	pthread_mutex_unlock(&source->lock);
}

struct sent {
	uint64_t bytes, pages;
};

static struct sent sent(struct source *source)
{
	struct sent sent;

	tally(source);
	pthread_mutex_lock(&source->lock);
	sent = (struct sent){source->progress.bytes, source->progress.pages};
	pthread_mutex_unlock(&source->lock);
	return sent;
}

/* What of it were pages, compressed or not, counts as pages. */
static void add_up(struct source *source, const struct sent *before, struct round *round)
{
	const struct sent now = sent(source);
	uint64_t pages = (now.pages - before->pages) * PAGE_COST;

	round->bytes = now.bytes - before->bytes;
	round->whole = round->bytes > pages ? round->bytes : pages;
}

static int copy_round(struct source *source, unsigned number, struct round *round, struct error *e)
{
	const struct sent before = sent(source);
	uint64_t began = clock_host_ns();
	int r = source_send_due(source, e);

	/* Which no other thread writes. */
	round->pages = source->progress.due;
	/* What is due still goes later. */
	if (r == 0 && source_shall_switch(source))
		return 0;
	if (r == 0)
		r = end_round(source, number, e);
	round->ns = clock_host_ns() - began;
	add_up(source, &before, round);
	if (r == 0)
		r = source_errand(source, source_collect, e);
	if (r < 0)
		return r;
	pages_set_add(&source->due, &source->fresh);
	round->left = left(source);
	measure(source, number, round);
	return 0;
}

static unsigned percent_left(const struct round *round)
{
	return (unsigned)(round->left * 100 / (round->pages ? round->pages : 1));
}

/* By what its busiest vCPU used in this round, as if what it changes took all of that. Less each time. */
static int throttle(struct source *source, const struct round *round, struct error *e)
{
	unsigned now = source->progress.throttle, left = percent_left(round);
	unsigned wanted = source->used_percent * QUICK_PERCENT / (left ? left : 1);

	if (now == 1)
		return 0;
	if (now && wanted >= now)
		wanted = now / 2;
	pthread_mutex_lock(&source->lock);
	source->progress.throttle = wanted ? wanted : 1;
	pthread_mutex_unlock(&source->lock);
	return source_errand(source, source_throttle, e);
}

static int give_up(const struct source *source, struct error *e)
{
	return error_set(e, ERROR_TIMEOUT, -ETIMEDOUT,
			 "the guest changes its memory faster than the link takes it: %llu ms of downtime are to be expected; "
			 "give --max-downtime or --bandwidth more, or --offline",
			 (unsigned long long)(source->progress.estimate_ns / NS_PER_MS));
}

static bool short_enough(const struct source *source, const struct round *round, uint64_t most)
{
	uint64_t estimate = source->progress.estimate_ns;

	return estimate <= most && (estimate <= AIM_NS || percent_left(round) > HALF_PERCENT);
}

int source_pre_copy(struct source *source, struct error *e)
{
	uint64_t most = source->options.max_downtime_ms * NS_PER_MS;
	struct round round = {.left = 0};
	int r = source_errand(source, source_track, e);

	pages_set_fill(&source->due);
	for (unsigned number = 1; r == 0; number++) {
		source_enter(source, MIGRATE_PRE_COPY);
		r = copy_round(source, number, &round, e);
		if (r < 0)
			return r;
		if (source_shall_switch(source))
			return 1;
		if (short_enough(source, &round, most))
			return 0;
		if (number == ROUNDS_MAX)
			return source->options.auto_post_copy ? 1 : give_up(source, e);
		if (number == 1)
			continue;
		if (source->options.auto_post_copy && percent_left(&round) > PROGRESS_PERCENT)
			return 1;
		/* What is slowed down already may turn out to have been slowed down too little. */
		if (!source->options.auto_post_copy && percent_left(&round) > SLOW_PERCENT)
			r = throttle(source, &round, e);
	}
	return r;
}
