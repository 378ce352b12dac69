#include "migrate/destination.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/threads.h"
#include "board/ram.h"
#include "migrate/disks.h"
#include "migrate/errand.h"
#include "migrate/inventory.h"
#include "migrate/pages.h"

/* A source that says nothing for so long is not waited for any more. It may be flushing a file to a slow disk. */
#define IDLE_MS        30000
#define STATE_MAX      (256 * MIB)

struct destination {
	struct machine *machine;
	struct destination_options options;
	int fd, wake;
	struct stream stream;
	struct errands errands;
	pthread_t thread;
	bool threaded;

	/* The thread's own. */
	struct pages_set filled, named;
	struct pages_counts counts;
	struct disks disks;
	json_t *inventory;
	uint8_t *state;
	size_t state_length, state_room;
	bool run;
	int result;
	struct error why;

	bool concluded; /* the owner's: it was told the end */
};

static struct memory *memory_of(const struct destination *d)
{
	return &machine_board(d->machine)->memory;
}

/* ---- Reservation ---- */

/* Disks that are copied are this side's from the start. */
static int take_copies(struct destination *d, struct error *e)
{
	int r = disks_refresh(d->machine, true, e);

	if (r == 0)
		disks_own(d->machine, true);
	return r < 0 ? r : disks_init(&d->disks, d->machine, false, e);
}

static int reserve(void *arg, struct error *e)
{
	struct destination *d = arg;
	bool copied = json_object_get(d->inventory, "disks") != NULL;
	int r = inventory_check(d->machine, d->inventory, d->options.token, e);

	if (r == 0 && copied)
		r = take_copies(d, e);
	/* What was laid out for a start of its own goes. */
	if (r == 0)
		ram_clear(memory_of(d));
	return r;
}

static int take_inventory(struct destination *d, struct error *e)
{
	struct stream_frame frame;
	int r = stream_expect(&d->stream, STREAM_INVENTORY, IDLE_MS, &frame, e);

	if (r < 0)
		return r;
	d->inventory = json_loadb((const char *)frame.bytes, frame.length, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(d->inventory))
		return error_set(e, ERROR_FAILED, -EPROTO, "the machine's inventory is no JSON object");
	r = errand_run(&d->errands, reserve, d, e);
	return r < 0 ? r : stream_send(&d->stream, STREAM_RESERVED, NULL, 0, e);
}

/* ---- Copying ---- */

static int add_state(struct destination *d, const struct stream_frame *frame, struct error *e)
{
	size_t whole = d->state_length + frame->length;

	if (whole > STATE_MAX)
		return error_set(e, ERROR_FAILED, -EPROTO, "the machine's state is longer than %llu MiB",
				 (unsigned long long)(STATE_MAX / MIB));
	if (whole > d->state_room) {
		size_t room = 2 * whole;
		uint8_t *grown = realloc(d->state, room);

		if (!grown)
			return error_errno(e, -ENOMEM, "the state of a machine");
		d->state = grown;
		d->state_room = room;
	}
	memcpy(d->state + d->state_length, frame->bytes, frame->length);
	d->state_length = whole;
	return 0;
}

static int check_totals(struct destination *d, const struct stream_frame *frame, struct error *e)
{
	uint64_t pages = d->counts.data + d->counts.zero, due = memory_size(memory_of(d)) >> GUEST_PAGE_SHIFT;
	le64_t totals[3];

	memcpy(totals, frame->bytes, sizeof totals);
	if (le64_get(totals[0]) != pages || le64_get(totals[1]) != d->state_length || le64_get(totals[2]) > 1)
		return error_set(e, ERROR_FAILED, -EPROTO, "the other side sent %llu pages and %llu bytes of state, %llu and %zu came",
				 (unsigned long long)le64_get(totals[0]), (unsigned long long)le64_get(totals[1]),
				 (unsigned long long)pages, d->state_length);
	if (pages_set_count(&d->named) != due)
		return error_set(e, ERROR_FAILED, -EPROTO, "of %llu pages of memory %llu were never told of",
				 (unsigned long long)due, (unsigned long long)(due - pages_set_count(&d->named)));
	d->run = le64_get(totals[2]) == 1;
	return 0;
}

/* 1: that was the last. */
static int take_frame(struct destination *d, const struct stream_frame *frame, struct error *e)
{
	int r;

	switch (frame->kind) {
	case STREAM_PAGES:
		return pages_receive(frame, memory_of(d), &d->filled, &d->named, &d->counts, e);
	case STREAM_DISK:
		return disks_receive(&d->disks, frame, e);
	case STREAM_ROUND:
		r = disks_sync(&d->disks, e);
		return r < 0 ? r : stream_send_bytes(&d->stream, STREAM_ROUND, frame->bytes, frame->length, e);
	case STREAM_STATE:
		return add_state(d, frame, e);
	case STREAM_FINISH:
		r = check_totals(d, frame, e);
		if (r == 0)
			r = disks_sync(&d->disks, e);
		return r < 0 ? r : 1;
	default:
		return error_set(e, ERROR_FAILED, -EPROTO, "the other side sent a frame \"%s\" amid the copy",
				 stream_kind_name(frame->kind));
	}
}

static int copy(struct destination *d, struct error *e)
{
	struct stream_frame frame;
	int r = 0;

	while (r == 0) {
		r = stream_receive(&d->stream, IDLE_MS, &frame, e);
		if (r == 0)
			r = take_frame(d, &frame, e);
	}
	return r < 0 ? r : 0;
}

/* ---- Commitment ---- */

static int load(void *arg, struct error *e)
{
	struct destination *d = arg;
	int r = d->disks.count ? 0 : disks_refresh(d->machine, false, e);

	return r < 0 ? r : machine_load_state(d->machine, d->state, d->state_length, e);
}

static int take(void *arg, struct error *e)
{
	struct destination *d = arg;
	int r = d->options.hooks.take(d->options.hooks.opaque, e);

	if (r == 0)
		disks_own(d->machine, true);
	return r;
}

static int await_commit(struct destination *d, struct error *e)
{
	struct stream_frame frame;
	int r = errand_run(&d->errands, load, d, e);

	if (r == 0)
		r = stream_send(&d->stream, STREAM_READY, NULL, 0, e);
	if (r == 0)
		r = stream_expect(&d->stream, STREAM_COMMIT, IDLE_MS, &frame, e);
	if (r == 0 && memcmp(frame.bytes, d->options.token, MIGRATE_TOKEN_TEXT - 1) != 0)
		r = error_set(e, ERROR_FAILED, -EPROTO, "the token is another machine's");
	return r < 0 ? r : errand_run(&d->errands, take, d, e);
}

/* ---- The thread ---- */

static int receive(struct destination *d, struct error *e)
{
	int r = take_inventory(d, e);

	if (r == 0)
		r = copy(d, e);
	return r < 0 ? r : await_commit(d, e);
}

static int conclude(void *arg, struct error *e)
{
	struct destination *d = arg;

	(void)e;
	d->concluded = true;
	d->options.hooks.over(d->options.hooks.opaque, d->result, d->run, &d->why);
	return 0;
}

static void *destination_main(void *arg)
{
	struct destination *d = arg;

	d->result = receive(d, &d->why);
	if (d->result < 0)
		stream_abort(&d->stream, &d->why);
	/* The machine runs before the source hears of it; should that word be lost, the source asks. */
	(void)!errand_run(&d->errands, conclude, d, NULL);
	if (d->result == 0)
		(void)!stream_send_bytes(&d->stream, STREAM_DONE, d->options.token, MIGRATE_TOKEN_TEXT - 1, NULL);
	return NULL;
}

static int prepare(struct destination *d, struct error *e)
{
	int r;

	d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->wake < 0)
		return error_errno(e, -errno, "receiving a machine");
	stream_init(&d->stream, d->fd, d->wake);
	d->stream.sent = d->stream.received = DESTINATION_FRAMES;
	r = pages_set_init(&d->filled, memory_of(d), e);
	if (r == 0)
		r = pages_set_init(&d->named, memory_of(d), e);
	return r;
}

int destination_new(struct destination **out, struct machine *machine, int fd, const struct destination_options *options,
		    struct error *e)
{
	struct destination *d = calloc(1, sizeof *d);
	int r;

	if (!d) {
		close(fd);
		return error_errno(e, -ENOMEM, "receiving a machine");
	}
	*d = (struct destination){.machine = machine, .options = *options, .fd = fd, .wake = -1};
	errands_init(&d->errands, machine_loop(machine));
	r = prepare(d, e);
	if (r == 0) {
		r = thread_start(&d->thread, THREAD_MOVER, "mover", destination_main, d);
		d->threaded = r == 0;
		if (r < 0)
			(void)error_errno(e, r, "a thread for receiving a machine");
	}
	if (r < 0)
		destination_free(d);
	else
		*out = d;
	return r;
}

void destination_free(struct destination *d)
{
	const uint64_t one = 1;

	if (!d)
		return;
	errands_close(&d->errands);
	/* One that is taken only has its last word to say. */
	if (d->wake >= 0 && !d->concluded)
		(void)!write(d->wake, &one, sizeof one);
	if (d->threaded)
		pthread_join(d->thread, NULL);
	errands_finish(&d->errands);
	pages_set_finish(&d->filled);
	pages_set_finish(&d->named);
	disks_finish(&d->disks);
	stream_finish(&d->stream);
	json_decref(d->inventory);
	free(d->state);
	if (d->wake >= 0)
		close(d->wake);
	close(d->fd);
	free(d);
}
