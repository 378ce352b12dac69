#include "migrate/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/threads.h"
#include "migrate/inventory.h"
#include "migrate/source_private.h"

/* The destination makes the machine meanwhile: with an image, that copies files. */
#define RESERVATION_MS 120000
#define PIECE          ((size_t)MIB)

int migrate_token(char out[MIGRATE_TOKEN_TEXT], struct error *e)
{
	uint8_t bytes[MIGRATE_TOKEN];

	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		return error_errno(e, -errno, "random numbers");
	hex_write(out, bytes, sizeof bytes);
	return 0;
}

bool migrate_token_valid(const char *text)
{
	return text && hex_is(text, MIGRATE_TOKEN_TEXT - 1);
}

/* ---- Steps ---- */

int source_errand(struct source *source, errand_fn *fn, struct error *e)
{
	return errand_run(&source->errands, fn, source, e);
}

static int tell(void *arg, struct error *e)
{
	struct source *source = arg;

	(void)e;
	source->options.hooks.went_on(source->options.hooks.opaque);
	return 0;
}

/* Whoever looks on is told after the fact; nothing depends on it. */
void source_enter(struct source *source, enum migrate_stage stage)
{
	pthread_mutex_lock(&source->lock);
	source->progress.stage = stage;
	source->progress.total_ns = clock_host_ns() - source->began_ns;
	pthread_mutex_unlock(&source->lock);
	(void)!source_errand(source, tell, NULL);
}

/* What an older destination does not say it does not understand. */
static void read_answer(struct source *source, const struct stream_frame *frame)
{
	json_t *answer = json_loadb((const char *)frame->bytes, frame->length, JSON_REJECT_DUPLICATES, NULL);

	source->takes_flows = json_is_true(json_object_get(answer, "flows"));
	source->takes_links = json_is_true(json_object_get(answer, "links"));
	json_decref(answer);
}

static int be_answered(struct source *source, struct error *e)
{
	struct stream_frame frame;
	int r = stream_greet(&source->stream, true, e);

	if (r == 0)
		r = stream_send_bytes(&source->stream, STREAM_OFFER, source->offer, strlen(source->offer), e);
	if (r == 0)
		r = stream_expect(&source->stream, STREAM_ANSWER, RESERVATION_MS, &frame, e);
	if (r == 0)
		read_answer(source, &frame);
	return r;
}

static int send_inventory(void *arg, struct error *e)
{
	struct source *source = arg;
	json_t *inventory = inventory_of(source->machine, source->options.disks);
	char *text;

	if (source->takes_links)
		json_object_set_new(inventory, "links", json_integer(source->options.links.page_count));
	text = inventory ? json_dumps(inventory, JSON_COMPACT) : NULL;
	disks_mark(source->machine, source->options.token, true);
	json_decref(inventory);
	free(source->offer);
	source->offer = text;
	return text ? 0 : error_errno(e, -ENOMEM, "an inventory of the machine");
}

/* What was asked for and the destination can not is told before anything is sent. */
static int agree(struct source *source, const struct stream_frame *frame, struct error *e)
{
	bool wanted = source->options.post_copy || source->options.auto_post_copy;
	le64_t can = le64_put(0);

	memcpy(&can, frame->bytes, frame->length == sizeof can ? sizeof can : 0);
	pthread_mutex_lock(&source->lock);
	source->can_post_copy = le64_get(can) & STREAM_CAN_POST_COPY;
	pthread_mutex_unlock(&source->lock);
	if (source->options.compress == PACK_ALWAYS && source->stream.version < 2)
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "the destination's doppel is older and knows no compression; move it without --compress");
	if (wanted && !(le64_get(can) & STREAM_CAN_POST_COPY))
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "the destination can not take this machine before its memory: its memory is locked there, or its "
				 "doppel or kernel does not know how; move it without post-copy");
	if (source->stream.version > 1)
		source->sender.packer = source->packer;
	if (source->takes_links)
		source_call_carriers(source);
	return wanted ? source_join(source, e) : 0;
}

static int reserve(struct source *source, struct error *e)
{
	struct stream_frame frame;
	int r;

	source_enter(source, MIGRATE_RESERVATION);
	r = source_errand(source, send_inventory, e);
	if (r == 0)
		r = stream_send_bytes(&source->stream, STREAM_INVENTORY, source->offer, strlen(source->offer), e);
	r = r < 0 ? r : stream_expect(&source->stream, STREAM_RESERVED, RESERVATION_MS, &frame, e);
	return r < 0 ? r : agree(source, &frame, e);
}

static int fence_doubt(void *arg, struct error *e)
{
	struct source *source = arg;
	enum source_fence which = source->progress.post_copy ? SOURCE_FENCE_LATE_DOUBT : SOURCE_FENCE_DOUBT;
	int r = source->options.hooks.fence(source->options.hooks.opaque, which, e);

	source->fenced = r == 0;
	return r;
}

static int fence_gone(void *arg, struct error *e)
{
	struct source *source = arg;

	return source->options.hooks.fence(source->options.hooks.opaque, SOURCE_FENCE_GONE, e);
}

static int send_state(struct source *source, struct error *e)
{
	int r = 0;

	for (size_t at = 0; r == 0 && at < source->state.length; at += PIECE) {
		size_t left = source->state.length - at;

		r = stream_send_bytes(&source->stream, STREAM_STATE, source->state.bytes + at, left < PIECE ? left : PIECE, e);
	}
	return r;
}

static int finish(struct source *source, struct error *e)
{
	const le64_t totals[] = {le64_put(source->progress.pages + source->progress.zeros),
				 le64_put(source->state.length),
				 le64_put((source->was_running ? STREAM_FINISH_RUNS : 0) |
					  (source->progress.post_copy ? STREAM_FINISH_LATE : 0))};
	struct stream_frame frame;
	int r = stream_send_bytes(&source->stream, STREAM_FINISH, totals, sizeof totals, e);

	return r < 0 ? r : stream_expect(&source->stream, STREAM_READY, -1, &frame, e);
}

/* Disks have to be there when the machine runs, memory has not. */
static int send_rest(struct source *source, struct error *e)
{
	int r;

	if (!source->progress.post_copy)
		return source_send_due(source, e);
	r = disks_send(&source->disks, &source->stream, source_pace, source, e);
	return r < 0 ? r : source_begin_serving(source, e);
}

/* Before the machine stands still, it is noted that it may be about to go: that costs no downtime. */
static int stop_and_copy(struct source *source, bool late, struct error *e)
{
	int r = late ? source_join(source, e) : 0;

	if (r < 0)
		return r;
	pthread_mutex_lock(&source->lock);
	source->progress.post_copy = late;
	pthread_mutex_unlock(&source->lock);

	source_enter(source, MIGRATE_STOP_AND_COPY);
	r = source_errand(source, fence_doubt, e);
	if (r == 0)
		r = source_errand(source, source_hold, e);
	if (r == 0)
		r = send_rest(source, e);
	if (r == 0)
		r = send_state(source, e);
	if (r == 0)
		r = flow_list_send(&source->flows, &source->stream, e);
	return r < 0 ? r : finish(source, e);
}

/* From here on nobody but the destination can say whose it is. */
static int pass_point(struct source *source, struct error *e)
{
	int r = 0;

	pthread_mutex_lock(&source->lock);
	if (source->cancelled)
		r = error_set(e, ERROR_STATE, -ECANCELED, "the move was cancelled");
	else
		source->committed = true;
	source->progress.stage = MIGRATE_COMMITMENT;
	pthread_mutex_unlock(&source->lock);
	if (r == 0)
		source->end = SOURCE_IN_DOUBT;
	return r;
}

/* Nothing of what this side does from now on reaches a disk. */
static int give_disks(void *arg, struct error *e)
{
	struct source *source = arg;

	(void)e;
	disks_own(source->machine, false);
	return 0;
}

static int commit(struct source *source, struct error *e)
{
	struct stream_frame frame;
	int r = source_errand(source, give_disks, e);

	if (r == 0)
		r = pass_point(source, e);
	if (r == 0)
		r = stream_send_bytes(&source->stream, STREAM_COMMIT, source->options.token, MIGRATE_TOKEN_TEXT - 1, e);
	if (r == 0)
		r = stream_expect(&source->stream, STREAM_DONE, -1, &frame, e);
	if (r == 0 && memcmp(frame.bytes, source->options.token, MIGRATE_TOKEN_TEXT - 1) != 0)
		r = error_set(e, ERROR_FAILED, -EPROTO, "the other side speaks of another machine");
	if (r < 0)
		return r;
	source->end = SOURCE_MOVED;
	pthread_mutex_lock(&source->lock);
	source->progress.downtime_ns = clock_host_ns() - source->stopped_ns;
	pthread_mutex_unlock(&source->lock);
	return 0;
}

static int move(struct source *source, struct error *e)
{
	int r;

	source_enter(source, MIGRATE_ASKING);
	r = be_answered(source, e);
	if (r == 0)
		r = reserve(source, e);
	if (r == 0 && source->options.post_copy)
		r = 1;
	else if (r == 0 && !source->options.offline)
		r = source_pre_copy(source, e);
	if (r >= 0)
		r = stop_and_copy(source, r > 0, e);
	return r < 0 ? r : commit(source, e);
}

static int ask(struct source *source, struct error *e)
{
	int r;

	source->end = SOURCE_IN_DOUBT;
	source->progress.post_copy = source->options.links.main >= 0;
	source->fenced = source->held = source->was_running = true;
	r = stream_ask(&source->stream, source->options.token, e);
	if (r < 0)
		return r;
	source->end = r ? SOURCE_MOVED : SOURCE_STAYED;
	return r ? 0
		 : error_set(e, ERROR_FAILED, -ECONNABORTED,
			     "the destination did not take the machine; it goes on here");
}

/* ---- The thread ---- */

int source_conclude(void *arg, struct error *e)
{
	struct source *source = arg;

	(void)e;
	source->options.hooks.over(source->options.hooks.opaque, source->end,
				   source->end == SOURCE_MOVED ? NULL : &source->why);
	return 0;
}

static void end(struct source *source, int r)
{
	struct error own;

	if (source->end == SOURCE_MOVED) {
		source_enter(source, MIGRATE_ACTIVATION);
		if (source->progress.post_copy)
			source_serve(source, source->options.ask);
		if (source->end == SOURCE_CUT) /* the machine ends here before */
			return;
		/* Without it the doubt stays on disk, which keeps the machine from running here as well. */
		(void)!source_errand(source, fence_gone, &own);
	} else if (source->end == SOURCE_STAYED) {
		if (r < 0 && !source->options.ask)
			stream_abort(&source->stream, &source->why);
		if (source_errand(source, source_give_back, &own) < 0 && own.kind != ERROR_NONE)
			(void)error_set(&source->why, own.kind, -EIO, "%.240s; and %.200s", source->why.message, own.message);
	} else {
		/* Whoever hears the verdict has a machine that stands still, and nothing else. */
		(void)!source_errand(source, source_let_go, &own);
	}
	(void)!source_errand(source, source_conclude, &own);
}

static void *source_main(void *arg)
{
	struct source *source = arg;
	int r;

	source->began_ns = clock_host_ns();
	r = source->options.ask ? ask(source, &source->why) : move(source, &source->why);
	end(source, r);
	return NULL;
}

/* ---- The owner's side ---- */

static int prepare(struct source *source, struct error *e)
{
	const struct memory *memory = &machine_board(source->machine)->memory;
	int r;

	source->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (source->wake < 0 || !source->offer)
		return error_errno(e, source->wake < 0 ? -errno : -ENOMEM, "moving a machine");
	stream_init(&source->stream, source->fd, source->wake);
	r = pages_set_init(&source->due, memory, e);
	if (r == 0)
		r = pages_set_init(&source->fresh, memory, e);
	if (r == 0 && source->options.disks)
		r = disks_init(&source->disks, source->machine, true, e);
	if (r == 0)
		r = pages_sender_init(&source->sender, &source->stream, e);
	if (r == 0)
		r = pages_sender_init(&source->fault_sender, &source->faults, e);
	if (r == 0 && source->options.compress)
		r = packer_new(&source->packer, source->options.compress, e);
	source->sender.pace = source_pace;
	source->sender.enough = source_shall_switch;
	source->sender.opaque = source;
	return r;
}

static int begin(struct source *source, struct error *e)
{
	int r = source_carriers_begin(source, e);

	if (r < 0)
		return r;
	r = thread_start(&source->thread, THREAD_MOVER, "mover", source_main, source);
	source->threaded = r == 0;
	if (r == 0) {
		r = thread_start(&source->server, THREAD_MOVER, "server", source_server_main, source);
		source->served = r == 0;
	}
	return r < 0 ? error_errno(e, r, "a thread for moving a machine") : 0;
}

void source_links_close(const struct source_links *links)
{
	const int fds[] = {links->faults, links->main};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	for (unsigned i = 0; i < links->page_count; i++)
		close(links->pages[i]);
}

static void close_links(struct source *source)
{
	const int fds[] = {source->fd, source->faults.fd};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	source->options.links.main = source->next_main;
	source->options.links.faults = source->next_faults;
	source_links_close(&source->options.links);
}

int source_new(struct source **out, struct machine *machine, int fd, const struct source_options *options, struct error *e)
{
	struct source *source = calloc(1, sizeof *source);
	int r;

	if (!source) {
		close(fd);
		source_links_close(&options->links);
		return error_errno(e, -ENOMEM, "moving a machine");
	}
	source->machine = machine;
	source->options = *options;
	source->offer = strdup(options->offer ? options->offer : "");
	source->fd = fd;
	source->faults.fd = -1;
	source->next_main = options->links.main;
	source->next_faults = options->links.faults;
	snprintf(source->name, sizeof source->name, "%s", options->name ? options->name : "");
	if (!source->options.max_downtime_ms)
		source->options.max_downtime_ms = MIGRATE_DOWNTIME_MS;
	pthread_mutex_init(&source->lock, NULL);
	pthread_cond_init(&source->changed, NULL);
	errands_init(&source->errands, machine_loop(machine));
	state_writer_init(&source->state);
	limit_set(&source->limit, options->bandwidth, 0, STREAM_DATA_MAX, clock_host_ns());
	r = prepare(source, e);
	if (r == 0)
		r = begin(source, e);
	if (r < 0)
		source_free(source);
	else
		*out = source;
	return r;
}

static void wake(const struct source *source)
{
	const uint64_t one = 1;

	(void)!write(source->wake, &one, sizeof one);
}

void source_free(struct source *source)
{
	if (!source)
		return;
	errands_close(&source->errands);
	pthread_mutex_lock(&source->lock);
	source->closing = true;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
	if (source->wake >= 0)
		wake(source);
	if (source->threaded)
		pthread_join(source->thread, NULL);
	if (source->served)
		pthread_join(source->server, NULL);
	source_carriers_end(source);
	/* The machine ends before the move did. */
	if (source->fenced && source->end == SOURCE_STAYED)
		(void)!source->options.hooks.fence(source->options.hooks.opaque, SOURCE_FENCE_NONE, NULL);
	errands_finish(&source->errands);
	pages_sender_finish(&source->sender);
	pages_sender_finish(&source->fault_sender);
	packer_free(source->packer);
	pages_set_finish(&source->due);
	pages_set_finish(&source->fresh);
	disks_finish(&source->disks);
	flow_list_finish(&source->flows);
	state_writer_finish(&source->state);
	stream_finish(&source->stream);
	stream_finish(&source->faults);
	if (source->wake >= 0)
		close(source->wake);
	close_links(source);
	pthread_cond_destroy(&source->changed);
	pthread_mutex_destroy(&source->lock);
	free(source->offer);
	free(source);
}

int source_cancel(struct source *source, struct error *e)
{
	int r = 0;

	pthread_mutex_lock(&source->lock);
	if (source->committed || source->options.ask)
		r = error_set(e, ERROR_STATE, -EBUSY, "it is too late: the machine is just being given away");
	else
		source->cancelled = true;
	pthread_mutex_unlock(&source->lock);
	if (r == 0)
		wake(source);
	return r;
}

void source_set_bandwidth(struct source *source, uint64_t bytes_per_second)
{
	pthread_mutex_lock(&source->lock);
	limit_set(&source->limit, bytes_per_second, 0, STREAM_DATA_MAX, clock_host_ns());
	pthread_mutex_unlock(&source->lock);
}

void source_progress(struct source *source, struct migrate_progress *out)
{
	pthread_mutex_lock(&source->lock);
	*out = source->progress;
	if (out->stage != MIGRATE_ACTIVATION || (out->post_copy && !source->complete))
		out->total_ns = clock_host_ns() - source->began_ns;
	pthread_mutex_unlock(&source->lock);
}

bool source_holds_machine(const struct source *source)
{
	return source->held;
}
