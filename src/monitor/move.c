/* A machine that moves away: the calls "migrate", "migrate ask" and what belongs to them. docs/internals/migrate.md. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "migrate/source.h"
#include "monitor/private.h"

struct move {
	struct monitor *monitor;
	struct source *source; /* NULL: it ended in doubt */
	struct control_call *call; /* kept; NULL when its client has left */
	struct registry_move record;
	struct migrate_progress progress; /* of a source that ended */
	enum migrate_stage told;
};

/* ---- Hooks of the source ---- */

static int fence(void *opaque, enum source_fence which, struct error *e)
{
	struct move *move = opaque;

	if (which == SOURCE_FENCE_NONE)
		return registry_clear_move(move->monitor->folder, e);
	move->record.gone = which == SOURCE_FENCE_LATE || which == SOURCE_FENCE_GONE;
	move->record.late = which == SOURCE_FENCE_LATE || which == SOURCE_FENCE_LATE_DOUBT;
	return registry_write_move(move->monitor->folder, &move->record, e);
}

static void went_on(void *opaque)
{
	struct move *move = opaque;
	struct migrate_progress progress;

	source_progress(move->source, &progress);
	if (progress.stage == move->told && progress.stage != MIGRATE_PRE_COPY && !progress.post_copy)
		return;
	move->told = progress.stage;
	monitor_tell(move->monitor, "moving", migrate_progress_json(&progress));
}

static void forget(void *arg)
{
	struct move *move = arg;
	struct monitor *monitor = move->monitor;

	source_free(move->source);
	move->source = NULL;
	if (monitor->in_doubt || monitor->move != move)
		return;
	monitor->move = NULL;
	free(move);
	/* Whoever wanted to end it meanwhile has his turn. */
	if (monitor->put_off && !monitor->moved)
		monitor_stop(monitor, MONITOR_STOP_MS);
}

static json_t *details(const struct move *move)
{
	json_t *object = migrate_progress_json(&move->progress);

	json_object_set_new(object, "to", json_string(move->record.to));
	return object;
}

static void answer(struct move *move, json_t *result)
{
	if (move->call)
		control_answer(move->call, json_incref(result), -1);
	move->call = NULL;
	json_decref(result);
}

static void fail(struct move *move, const struct error *why)
{
	if (move->call)
		control_fail(move->call, why);
	move->call = NULL;
}

static void gone(struct move *move)
{
	struct monitor *monitor = move->monitor;

	log_line(LOG_INFO, "monitor", "%s was moved to %s", monitor->options->name, move->record.to);
	monitor_note(monitor, "moved", details(move));
	answer(move, details(move));
	monitor->moved = true;
	machine_stop(monitor->machine);
	loop_quit(monitor->loop);
}

static void in_doubt(struct move *move, const struct error *why)
{
	struct monitor *monitor = move->monitor;
	struct error told;

	(void)error_set(&told, ERROR_TIMEOUT, -ETIMEDOUT,
			"%.200s; the machine stands still, as it may be running there: doppel migrate %s %.80s --recover asks",
			why->message, monitor->options->name, move->record.to);
	log_line(LOG_ERROR, "monitor", "%s", told.message);
	monitor_note(monitor, "move in doubt", json_pack("{s:s}", "message", why->message));
	fail(move, &told);
}

/* The source stays: it has the memory. */
static void cut_off(struct move *move, const struct error *why)
{
	struct monitor *monitor = move->monitor;
	struct error told;

	(void)error_set(&told, ERROR_FAILED, -EPIPE,
			"%.200s; %.63s is at %.80s but lacks %llu M of its memory and stands still there: doppel migrate %.63s %.80s "
			"--recover goes on",
			why->message, monitor->options->name, move->record.to,
			(unsigned long long)(move->progress.left * GUEST_PAGE_SIZE / MIB), monitor->options->name, move->record.to);
	log_line(LOG_ERROR, "monitor", "%s", told.message);
	monitor_note(monitor, "move cut off", json_pack("{s:s}", "message", why->message));
	fail(move, &told);
}

static void over(void *opaque, enum source_end end, const struct error *why)
{
	struct move *move = opaque;
	struct monitor *monitor = move->monitor;

	source_progress(move->source, &move->progress);
	monitor->in_doubt = end == SOURCE_IN_DOUBT;
	switch (end) {
	case SOURCE_MOVED:
		gone(move);
		break;
	case SOURCE_STAYED:
		monitor_note(monitor, "not moved", json_pack("{s:s}", "message", why->message));
		fail(move, why);
		break;
	case SOURCE_IN_DOUBT:
		in_doubt(move, why);
		break;
	case SOURCE_CUT:
		cut_off(move, why);
		return;
	}
	if (loop_post(monitor->loop, forget, move) < 0)
		log_line(LOG_WARNING, "monitor", "no memory to end the move of %s", monitor->options->name);
}

/* ---- Calls ---- */

static void client_left(struct control_call *call, void *arg)
{
	struct move *move = arg;

	(void)call;
	move->call = NULL;
}

static int begin(struct move *move, struct control_call *call, const struct source_options *options, struct error *e)
{
	int fd = control_take_passed(call), r;

	if (fd < 0) {
		source_links_close(&options->links);
		return error_set(e, ERROR_USAGE, -EINVAL, "migrate: a connection to the destination has to be passed");
	}
	r = source_new(&move->source, move->monitor->machine, fd, options, e);
	if (r < 0)
		return r;
	move->call = call;
	control_keep(call, client_left, move);
	return 0;
}

/* The connection that came first of those that wait, or -1. */
static int take_link(struct monitor *monitor)
{
	int fd = monitor->link_count ? monitor->links[0] : -1;

	if (fd >= 0)
		memmove(monitor->links, monitor->links + 1, --monitor->link_count * sizeof *monitor->links);
	return fd;
}

static void drop_links(struct monitor *monitor)
{
	while (monitor->link_count)
		close(monitor->links[--monitor->link_count]);
}

/* One connection more to the destination, for the next call that needs some. {"first": true}: those before it are not needed. */
int monitor_migrate_link(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	int fd = control_take_passed(call);

	if (json_is_true(json_object_get(with, "first")))
		drop_links(monitor);
	if (fd < 0)
		return error_set(e, ERROR_USAGE, -EINVAL, "migrate: a connection to the destination has to be passed");
	if (monitor->link_count == MONITOR_LINKS) {
		close(fd);
		return error_set(e, ERROR_USAGE, -EMFILE, "migrate: %d connections at most", MONITOR_LINKS);
	}
	monitor->links[monitor->link_count++] = fd;
	control_answer(call, NULL, -1);
	return 0;
}

static uint64_t number(const json_t *with, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(with, key));

	return value > 0 ? (uint64_t)value : 0;
}

/* All but the first of them came before. */
static void take_page_links(struct monitor *monitor, unsigned connections, struct source_links *links)
{
	while (links->page_count + 1 < connections && links->page_count < LINK_PAGES_MAX && monitor->link_count)
		links->pages[links->page_count++] = take_link(monitor);
}

static int check(const struct monitor *monitor, struct error *e)
{
	enum machine_state state;

	if (!monitor->machine)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is just being started and can not be moved; wait a moment",
				 monitor->options->name);
	if (monitor->move)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is being moved already", monitor->options->name);
	state = machine_state(monitor->machine);
	if (state != MACHINE_RUNNING && state != MACHINE_PAUSED)
		return monitor_refuse(monitor->options->name, state, "moved", e);
	if (monitor->snapshotting)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is just being saved and can not be moved; wait a moment",
				 monitor->options->name);
	return monitor->stopping ? error_set(e, ERROR_STATE, -EBUSY, "%s is being stopped", monitor->options->name) : 0;
}

/* Unless it is told, what is worth it. */
static enum pack_when compression_of(const json_t *with)
{
	const char *text = json_string_value(json_object_get(with, "compress"));

	if (!text || strcmp(text, "auto") == 0)
		return PACK_WORTH;
	return strcmp(text, "zstd") == 0 ? PACK_ALWAYS : PACK_NEVER;
}

static struct move *move_new(struct monitor *monitor, const char *token, const char *to)
{
	struct move *move = calloc(1, sizeof *move);

	if (!move)
		return NULL;
	*move = (struct move){.monitor = monitor, .told = MIGRATE_STAGES};
	snprintf(move->record.token, sizeof move->record.token, "%s", token);
	snprintf(move->record.to, sizeof move->record.to, "%s", to);
	return move;
}

/* {"offer": text for the destination, "token", "to": as the user wrote it, "offline", "disks", "compress" (auto, zstd, none),
 * "max_downtime_ms", "bandwidth", "connections"}, and a connection. Answered when it is over. */
int monitor_migrate(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	const char *offer = json_string_value(json_object_get(with, "offer"));
	const char *token = json_string_value(json_object_get(with, "token"));
	const char *to = json_string_value(json_object_get(with, "to"));
	struct source_options options = {
		.offer = offer,
		.offline = json_is_true(json_object_get(with, "offline")),
		.compress = compression_of(with),
		.disks = json_is_true(json_object_get(with, "disks")),
		.max_downtime_ms = (unsigned)number(with, "max_downtime_ms"),
		.bandwidth = number(with, "bandwidth"),
		.post_copy = json_is_true(json_object_get(with, "post_copy")),
		.auto_post_copy = json_is_true(json_object_get(with, "auto_post_copy")),
		.name = monitor->options->name,
		.links = {.faults = -1, .main = -1},
		.hooks = {fence, went_on, over, NULL},
	};
	struct move *move;
	int r = check(monitor, e);

	if (r == 0)
		r = monitor_refuse_incomplete(monitor, "moved", e);
	if (r == 0 && (!offer || !to || !migrate_token_valid(token)))
		r = error_set(e, ERROR_USAGE, -EINVAL, "migrate: offer, token and to are texts");
	if (r < 0)
		return r;
	memcpy(options.token, token, sizeof options.token);
	options.hooks.opaque = move = move_new(monitor, token, to);
	if (move && (options.post_copy || options.auto_post_copy))
		options.links.faults = take_link(monitor);
	if (move)
		take_page_links(monitor, (unsigned)number(with, "connections"), &options.links);
	r = move ? begin(move, call, &options, e) : error_errno(e, -ENOMEM, "migrate");
	if (r < 0) {
		free(move);
		return r;
	}
	monitor->move = move;
	monitor_note(monitor, "moving", json_pack("{s:s}", "to", to));
	return 0;
}

/* A connection to the destination of a move that is in doubt. Answered when it is not any more. */
int monitor_migrate_ask(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	struct source_options options = {.ask = true,
					 .name = monitor->options->name,
					 .links = {.faults = -1, .main = -1},
					 .hooks = {fence, went_on, over, monitor->move}};

	(void)with;
	if (!monitor->in_doubt || monitor->move->source)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is not in doubt: doppel inspect %s tells how it is",
				 monitor->options->name, monitor->options->name);
	memcpy(options.token, monitor->move->record.token, sizeof options.token);
	/* Should it be there, memory follows at once. */
	if (monitor->move->progress.post_copy) {
		if (monitor->link_count < 2)
			return error_set(e, ERROR_USAGE, -EINVAL, "migrate: two connections more have to be passed before");
		options.links.main = take_link(monitor);
		options.links.faults = take_link(monitor);
	}
	return begin(monitor->move, call, &options, e);
}

/* The link of a post-copy broke: two connections that were passed before take its place. Answered when all memory is there. */
int monitor_migrate_recover(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	struct move *move = monitor->move;
	int main_fd, faults_fd, r;

	(void)with;
	if (!move || !move->source || move->call)
		return error_set(e, ERROR_STATE, -EBUSY, "no move of %s was cut off", monitor->options->name);
	if (monitor->link_count < 2)
		return error_set(e, ERROR_USAGE, -EINVAL, "migrate: two connections have to be passed before");
	main_fd = take_link(monitor);
	faults_fd = take_link(monitor);
	r = source_rejoin(move->source, main_fd, faults_fd, e);
	if (r < 0) {
		close(main_fd);
		close(faults_fd);
		return r;
	}
	move->call = call;
	control_keep(call, client_left, move);
	return 0;
}

static int check_moving(const struct monitor *monitor, struct error *e)
{
	if (monitor->move && monitor->move->source)
		return 0;
	return error_set(e, ERROR_STATE, -EBUSY, "%s is not being moved", monitor->options->name);
}

int monitor_migrate_status(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	struct migrate_progress progress;
	int r = monitor->in_doubt ? 0 : check_moving(monitor, e);

	(void)with;
	if (r < 0)
		return r;
	progress = monitor->move->progress;
	if (monitor->move->source)
		source_progress(monitor->move->source, &progress);
	control_answer(call, migrate_progress_json(&progress), -1);
	return 0;
}

int monitor_migrate_cancel(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	int r = check_moving(monitor, e);

	(void)with;
	if (r == 0)
		r = source_cancel(monitor->move->source, e);
	if (r == 0)
		control_answer(call, NULL, -1);
	return r;
}

/* A connection more to the destination comes along. */
int monitor_migrate_post_copy(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	int fd = control_take_passed(call), r = check_moving(monitor, e);

	(void)with;
	if (r == 0 && fd < 0)
		return error_set(e, ERROR_USAGE, -EINVAL, "migrate: a connection to the destination has to be passed");
	if (r == 0)
		r = source_to_post_copy(monitor->move->source, fd, e);
	if (r == 0)
		control_answer(call, NULL, -1);
	else if (fd >= 0)
		close(fd);
	return r;
}

/* {"bandwidth": bytes a second, 0 for no limit} */
int monitor_migrate_bandwidth(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	int r = check_moving(monitor, e);

	if (r < 0)
		return r;
	source_set_bandwidth(monitor->move->source, number(with, "bandwidth"));
	control_answer(call, NULL, -1);
	return 0;
}

/* ---- For the rest of the monitor ---- */

int monitor_refuse_while_moving(const struct monitor *monitor, const char *what, struct error *e)
{
	const struct move *move = monitor->move;

	if (monitor->in_doubt)
		return error_set(e, ERROR_STATE, -EBUSY,
				 "%s may be running at %.80s and can not be %s here; doppel migrate %s %.80s --recover asks",
				 monitor->options->name, move->record.to, what, monitor->options->name, move->record.to);
	if (move && move->source && source_holds_machine(move->source))
		return error_set(e, ERROR_STATE, -EBUSY, "%s is just being given to %.80s and can not be %s; wait a moment",
				 monitor->options->name, move->record.to, what);
	return 0;
}

static int refuse_while_serving(const struct monitor *monitor, const char *what, struct error *e)
{
	struct migrate_progress progress;

	if (!monitor->move || !monitor->move->source)
		return 0;
	source_progress(monitor->move->source, &progress);
	if (!progress.post_copy || progress.stage != MIGRATE_ACTIVATION)
		return 0;
	return error_set(e, ERROR_STATE, -EBUSY,
			 "%s is at %.80s, which needs memory that is here, and can not be %s here; doppel rm --force %s gives it up",
			 monitor->options->name, monitor->move->record.to, what, monitor->options->name);
}

int monitor_refuse_while_needed(const struct monitor *monitor, const char *what, struct error *e)
{
	int r = refuse_while_serving(monitor, what, e);

	return r < 0 ? r : monitor_refuse_while_moving(monitor, what, e);
}

bool monitor_keep_from_moving(struct monitor *monitor)
{
	struct error e;

	if (monitor->in_doubt)
		return false;
	return !monitor->move || !monitor->move->source || source_cancel(monitor->move->source, &e) == 0;
}

void monitor_end_move(struct monitor *monitor)
{
	struct move *move = monitor->move;

	drop_links(monitor);
	if (!move)
		return;
	source_free(move->source);
	move->source = NULL;
	monitor->move = NULL;
	free(move);
}
