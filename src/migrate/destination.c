#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/threads.h"
#include "board/ram.h"
#include "migrate/destination_private.h"
#include "migrate/inventory.h"

#define STATE_MAX      (256 * MIB)

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
	json_int_t links;
	int r = inventory_check(d->machine, d->inventory, d->options.token, e);

	if (r == 0 && copied)
		r = take_copies(d, e);
	/* What was laid out for a start of its own goes. */
	if (r == 0)
		ram_clear(destination_memory(d));
	if (r < 0)
		return r;
	d->can_be_late = destination_can_be_late(d);
	links = json_integer_value(json_object_get(d->inventory, "links"));
	return links > 0 ? destination_begin_porters(d, (unsigned)(links & UINT16_MAX), e) : 0;
}

static int say_reserved(struct destination *d, struct error *e)
{
	const le64_t can = le64_put(d->can_be_late ? STREAM_CAN_POST_COPY : 0);

	return stream_send_bytes(&d->stream, STREAM_RESERVED, &can, d->stream.version > 1 ? sizeof can : 0, e);
}

static int take_inventory(struct destination *d, struct error *e)
{
	struct stream_frame frame;
	int r = stream_expect(&d->stream, STREAM_INVENTORY, DESTINATION_IDLE_MS, &frame, e);

	if (r < 0)
		return r;
	d->inventory = json_loadb((const char *)frame.bytes, frame.length, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(d->inventory))
		return error_set(e, ERROR_FAILED, -EPROTO, "the machine's inventory is no JSON object");
	r = errand_run(&d->errands, reserve, d, e);
	return r < 0 ? r : say_reserved(d, e);
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

static uint64_t told_of(struct destination *d)
{
	uint64_t pages = d->counts.data + d->counts.zero;

	pthread_mutex_lock(&d->lock);
	pages += d->carried.data + d->carried.zero;
	pthread_mutex_unlock(&d->lock);
	return pages;
}

static int check_totals(struct destination *d, const struct stream_frame *frame, struct error *e)
{
	uint64_t pages = told_of(d), due = memory_size(destination_memory(d)) >> GUEST_PAGE_SHIFT, flags;
	le64_t totals[3];

	memcpy(totals, frame->bytes, sizeof totals);
	flags = le64_get(totals[2]);
	if (le64_get(totals[0]) != pages || le64_get(totals[1]) != d->state_length ||
	    flags > (d->stream.version > 1 ? STREAM_FINISH_RUNS | STREAM_FINISH_LATE : STREAM_FINISH_RUNS))
		return error_set(e, ERROR_FAILED, -EPROTO,
				 "the other side sent %llu pages and %llu bytes of state, %llu and %zu came",
				 (unsigned long long)le64_get(totals[0]), (unsigned long long)le64_get(totals[1]),
				 (unsigned long long)pages, d->state_length);
	pages_set_add(&d->target.named, &d->target.lacking);
	if (pages_set_count(&d->target.named) != due)
		return error_set(e, ERROR_FAILED, -EPROTO, "of %llu pages of memory %llu were never told of",
				 (unsigned long long)due,
				 (unsigned long long)(due - pages_set_count(&d->target.named)));
	d->run = flags & STREAM_FINISH_RUNS;
	if (flags & STREAM_FINISH_LATE)
		return destination_begin_late(d, e);
	/* What is here is the machine's from now on. */
	destination_end_porters(d);
	return 0;
}

/* 1: that was the last. */
static int take_frame(struct destination *d, const struct stream_frame *frame, struct error *e)
{
	int r;

	switch (frame->kind) {
	case STREAM_PAGES:
		return pages_receive(frame, &d->target, &d->counts, e);
	case STREAM_MISSING:
		return pages_receive_missing(frame, &d->target.lacking, e);
	case STREAM_DISK:
		return disks_receive(&d->disks, frame, e);
	case STREAM_FLOWS:
		return flow_list_receive(&d->flows, frame, e);
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
		r = unpacker_receive(&d->unpacker, &d->stream, DESTINATION_IDLE_MS, &frame, e);
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
		r = stream_expect(&d->stream, STREAM_COMMIT, DESTINATION_IDLE_MS, &frame, e);
	if (r == 0 && memcmp(frame.bytes, d->options.token, MIGRATE_TOKEN_TEXT - 1) != 0)
		r = error_set(e, ERROR_FAILED, -EPROTO, "the token is another machine's");
	if (r == 0)
		r = destination_decide(d, e);
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
	int r;

	d->result = receive(d, &d->why);
	if (d->result < 0) {
		destination_release(d);
		stream_abort(&d->stream, &d->why);
	}
	/* The machine runs before the source hears of it; should that word be lost, the source asks. */
	(void)!errand_run(&d->errands, conclude, d, NULL);
	if (d->result < 0)
		return NULL;
	r = stream_send_bytes(&d->stream, STREAM_DONE, d->options.token, MIGRATE_TOKEN_TEXT - 1, &d->why);
	if (d->late)
		destination_be_late(d, r);
	return NULL;
}

static int prepare(struct destination *d, struct error *e)
{
	d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->wake < 0)
		return error_errno(e, -errno, "receiving a machine");
	stream_init(&d->stream, d->fd, d->wake);
	d->stream.sent = d->stream.received = DESTINATION_FRAMES;
	return pages_target_init(&d->target, destination_memory(d), e);
}

static int begin(struct destination *d, struct error *e)
{
	int r = thread_start(&d->thread, THREAD_MOVER, "mover", destination_main, d);

	d->threaded = r == 0;
	if (r == 0 && d->options.door >= 0) {
		r = thread_start(&d->attendant, THREAD_MOVER, "attendant", destination_attend, d);
		d->attended = r == 0;
	}
	return r < 0 ? error_errno(e, r, "a thread for receiving a machine") : 0;
}

/* On the owner's loop, for whatever was new since the last time. */
static void tell_news(void *arg)
{
	struct destination *d = arg;

	d->options.hooks.news(d->options.hooks.opaque);
}

static void close_all(int fd, const struct destination_options *options)
{
	close(fd);
	if (options->absent >= 0)
		close(options->absent);
	if (options->door >= 0)
		close(options->door);
}

int destination_new(struct destination **out, struct machine *machine, int fd, const struct destination_options *options,
		    struct error *e)
{
	struct destination *d = calloc(1, sizeof *d);
	int r;

	if (!d) {
		close_all(fd, options);
		return error_errno(e, -ENOMEM, "receiving a machine");
	}
	*d = (struct destination){.machine = machine, .options = *options, .fd = fd, .wake = -1, .faults.fd = -1, .next_fd = -1};
	d->news = (struct bell){.loop = machine_loop(machine), .fn = tell_news, .arg = d};
	pthread_mutex_init(&d->lock, NULL);
	thread_condition_init(&d->changed);
	errands_init(&d->errands, machine_loop(machine));
	r = prepare(d, e);
	if (r == 0)
		r = begin(d, e);
	if (r < 0)
		destination_free(d);
	else
		*out = d;
	return r;
}

unsigned destination_drop_flows(struct destination *d)
{
	return flow_list_reset(&d->flows, d->machine);
}

/* One that is taken, and has all of its memory, only has its last word to say. */
static void wake_threads(struct destination *d)
{
	const uint64_t one = 1;
	bool in_peace = d->concluded && d->result == 0;

	pthread_mutex_lock(&d->lock);
	in_peace = in_peace && (!d->late || d->phase == DESTINATION_COMPLETE);
	d->closing = true;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	if (in_peace && d->threaded) {
		pthread_join(d->thread, NULL);
		d->threaded = false;
	}
	if (d->wake >= 0)
		(void)!write(d->wake, &one, sizeof one);
}

void destination_free(struct destination *d)
{
	if (!d)
		return;
	errands_close(&d->errands);
	destination_release(d);
	wake_threads(d);
	if (d->threaded)
		pthread_join(d->thread, NULL);
	if (d->attended)
		pthread_join(d->attendant, NULL);
	destination_end_porters(d);
	bell_silence(&d->news);
	errands_finish(&d->errands);
	pages_target_finish(&d->target);
	unpacker_finish(&d->unpacker);
	unpacker_finish(&d->fault_unpacker);
	disks_finish(&d->disks);
	flow_list_finish(&d->flows);
	stream_finish(&d->stream);
	stream_finish(&d->faults);
	json_decref(d->inventory);
	free(d->state);
	if (d->wake >= 0)
		close(d->wake);
	if (d->faults.fd >= 0)
		close(d->faults.fd);
	if (d->next_fd >= 0)
		close(d->next_fd);
	close_all(d->fd, &d->options);
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	free(d);
}
