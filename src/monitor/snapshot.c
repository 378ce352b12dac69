/*
 * {"call": "snapshot_disks"}: the disks that the machine writes: [{"disk": N, "path": TEXT, "temporary": BOOL}, ...]. With a
 * descriptor, the reading end of a pipe: what the next bare snapshot has can be used while it is written (snapshot/marks.h).
 *
 * {"call": "snapshot_disk", "with": {"disk": N, "path": TEXT}}, with an overlay's descriptor: the next snapshot puts disk N
 * under it.
 *
 * {"call": "snapshot", "with": {"facts": {...}, "parent": ID, "bare": BOOL}}, with the descriptor of a new file: the machine is
 * saved into it while it runs on (snapshot/save.h). `parent` may be left out; with it the parent's table stands in the file
 * already. `bare`, without a parent: SNAPSHOT_BARE; and the event {"event": "saving", "early": BOOL} tells when the machine runs on,
 * and whether the file can be used from then on. The answer
 * comes when the file is written: {"id": ID, "stopped_us": N, "stored": PAGES, "zero": PAGES, "unchanged": PAGES}. The machine
 * does not see to it that the file gets its name: the caller does, once he has flushed it to disk. So when he leaves before
 * the answer nobody wants the file, and no more of it is written.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "monitor/private.h"
#include "snapshot/open.h"
#include "snapshot/save.h"

struct overlay {
	int fd; /* -1: none */
	char *path;
};

struct snapshotting {
	struct monitor *monitor;
	struct control_call *call; /* NULL: nobody waits any more */
	struct snapshot_save save; /* its child is 0 while only overlays have come */
	struct loop_watch *watch;
	uint8_t id[SNAPSHOT_ID_BYTES];
	uint64_t stopped_ns;
	struct overlay overlays[MACHINE_DISKS_MAX];
	int wants; /* for the next one, if it is bare; -1: none */
};

static struct snapshotting *get(struct monitor *monitor)
{
	struct snapshotting *s = monitor->snapshotting;

	if (s)
		return s;
	s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->monitor = monitor;
	s->save.socket = s->wants = -1;
	for (unsigned i = 0; i < MACHINE_DISKS_MAX; i++)
		s->overlays[i].fd = -1;
	monitor->snapshotting = s;
	return s;
}

static void keep_wants(struct snapshotting *s, int fd)
{
	if (s->wants >= 0)
		close(s->wants);
	s->wants = fd;
}

static void fail(struct snapshotting *s, const struct error *e)
{
	log_line(LOG_WARNING, "monitor", "%s", e->message);
	if (s->call)
		control_fail(s->call, e);
	s->call = NULL;
}

void monitor_snapshot_end(struct monitor *monitor)
{
	struct snapshotting *s = monitor->snapshotting;
	struct error e;

	if (!s)
		return;
	error_set(&e, ERROR_STATE, -ECANCELED, "%s ended before it was saved", monitor->options->name);
	if (s->call)
		fail(s, &e);
	loop_unwatch(monitor->loop, s->watch);
	if (s->save.socket >= 0)
		close(s->save.socket);
	for (unsigned i = 0; i < MACHINE_DISKS_MAX; i++) {
		if (s->overlays[i].fd >= 0)
			close(s->overlays[i].fd);
		free(s->overlays[i].path);
	}
	keep_wants(s, -1);
	free(s);
	monitor->snapshotting = NULL;
}

static void answer(struct snapshotting *s, const struct snapshot_counts *counts)
{
	char id[SNAPSHOT_ID_TEXT];
	json_t *result, *note;

	snapshot_id_text(s->id, id);
	result = json_pack("{s:s, s:I, s:I, s:I, s:I}", "id", id, "stopped_us", (json_int_t)(s->stopped_ns / NS_PER_US),
			   "stored", (json_int_t)counts->stored, "zero", (json_int_t)counts->zero, "unchanged",
			   (json_int_t)counts->unchanged);
	note = json_deep_copy(result);
	control_answer(s->call, result, -1);
	s->call = NULL;
	monitor_note(s->monitor, "saved", note);
}

static void child_ended(void *arg, uint32_t events)
{
	struct snapshotting *s = arg;
	struct snapshot_counts counts;
	struct error e;

	(void)events;
	loop_unwatch(s->monitor->loop, s->watch);
	s->watch = NULL;
	if (snapshot_save_end(&s->save, &counts, &e) < 0)
		fail(s, &e);
	else if (s->call)
		answer(s, &counts);
	snapshot_save_reap(&s->save);
	monitor_snapshot_end(s->monitor);
}

/* A child whose caller has left ends soon; whoever comes next waits for that. */
static void end_given_up(struct monitor *monitor)
{
	struct snapshotting *s = monitor->snapshotting;

	if (s && s->save.child && !s->call)
		child_ended(s, 0);
}

static int check(struct monitor *monitor, struct error *e)
{
	const char *name = monitor->options->name;
	enum machine_state state;

	end_given_up(monitor);
	if (!monitor->machine)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is just being started and can not be saved; wait a moment", name);
	if (monitor->snapshotting && monitor->snapshotting->save.child)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is being saved already; wait until that is done", name);
	if (monitor->move)
		return error_set(e, ERROR_STATE, -EBUSY, "%s is being moved and can not be saved; wait until it is there", name);
	state = machine_state(monitor->machine);
	if (state != MACHINE_RUNNING && state != MACHINE_PAUSED)
		return monitor_refuse(name, state, "saved", e);
	if (machine_is_stalled(monitor->machine))
		return error_set(e, ERROR_STATE, -EBUSY, "%s waits for room on the host's disk; make some first", name);
	return monitor_refuse_incomplete(monitor, "saved", e);
}

static int take_wants(struct monitor *monitor, struct control_call *call, struct error *e)
{
	int fd = control_take_passed(call);
	struct snapshotting *s;

	if (fd < 0)
		return 0;
	s = get(monitor);
	if (!s) {
		close(fd);
		return error_errno(e, -ENOMEM, "snapshot");
	}
	keep_wants(s, fd);
	return 0;
}

int monitor_snapshot_disks(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	const struct machine_config *config = &monitor->setup.config;
	json_t *list = json_array();
	int r = check(monitor, e);

	(void)with;
	if (r == 0)
		r = take_wants(monitor, call, e);
	for (unsigned i = 0; r == 0 && i < config->disk_count; i++) {
		const struct block_options *disk = &config->disks[i];
		const char *path = disk->overlay_path ? disk->overlay_path : disk->path;

		if (!disk->read_only)
			json_array_append_new(list, json_pack("{s:i, s:s, s:b}", "disk", (int)i, "path", path, "temporary",
							      disk->overlay && !disk->overlay_path));
	}
	if (r == 0)
		control_answer(call, list, -1);
	else
		json_decref(list);
	return r;
}

int monitor_snapshot_disk(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	const json_t *disk = json_object_get(with, "disk");
	const char *path = json_string_value(json_object_get(with, "path"));
	struct snapshotting *s;
	struct overlay *overlay;
	int r = check(monitor, e);

	if (r < 0)
		return r;
	if (!path || !json_is_integer(disk) || json_integer_value(disk) < 0 || json_integer_value(disk) >= MACHINE_DISKS_MAX)
		return error_set(e, ERROR_USAGE, -EINVAL, "snapshot_disk: disk is 0 to %d, path is a text",
				 MACHINE_DISKS_MAX - 1);
	s = get(monitor);
	path = s ? strdup(path) : NULL;
	if (!path)
		return error_errno(e, -ENOMEM, "snapshot");
	overlay = &s->overlays[json_integer_value(disk)];
	if (overlay->fd >= 0)
		close(overlay->fd);
	free(overlay->path);
	*overlay = (struct overlay){control_take_passed(call), (char *)path};
	if (overlay->fd < 0)
		return error_set(e, ERROR_USAGE, -EBADF, "snapshot_disk: no descriptor came along");
	control_answer(call, NULL, -1);
	return 0;
}

static bool parse_id(const char *text, uint8_t id[SNAPSHOT_ID_BYTES])
{
	return hex_is(text, SNAPSHOT_ID_TEXT - 1) && hex_read(id, text, SNAPSHOT_ID_BYTES);
}

/* The machine stands still. */
static char *make_facts(struct monitor *monitor, const json_t *given, bool running)
{
	json_t *facts = json_is_object(given) ? json_deep_copy(given) : json_object();
	const struct machine_config *config = &monitor->setup.config;
	const struct engine *engine = config->engine ? config->engine : engine_default(config->arch);
	char *flows = monitor_list_flows(monitor), *text;

	if (flows)
		json_object_set_new(facts, "flows", json_string(flows));
	free(flows);
	json_object_set_new(facts, "machine", json_string(monitor->options->name));
	json_object_set_new(facts, "engine", json_string(engine ? engine->name : ""));
	json_object_set_new(facts, "memory", json_integer((json_int_t)config->memory_bytes));
	json_object_set_new(facts, "cpus", json_integer(config->cpus));
	json_object_set_new(facts, "state", json_string(running ? "running" : "paused"));
	text = json_dumps(facts, JSON_COMPACT);
	json_decref(facts);
	return text;
}

static void caller_gone(struct control_call *call, void *arg)
{
	struct snapshotting *s = arg;

	(void)call;
	s->call = NULL;
	snapshot_save_give_up(&s->save);
}

static int freeze_disks(struct snapshotting *s, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < MACHINE_DISKS_MAX; i++) {
		struct overlay *overlay = &s->overlays[i];

		if (overlay->fd < 0)
			continue;
		r = machine_freeze_disk(s->monitor->machine, i, overlay->fd, overlay->path, e);
		if (r == 0)
			overlay->fd = -1;
	}
	return r;
}

/* The machine stands still. */
static int save(struct snapshotting *s, int fd, const struct snapshot_contents *given, const json_t *facts, bool running,
		struct error *e)
{
	struct machine *machine = s->monitor->machine;
	struct snapshot_contents contents = *given;
	char *text = make_facts(s->monitor, facts, running);
	struct state_writer w;
	int r;

	state_writer_init(&w);
	contents.facts = text;
	r = text ? machine_save_state(machine, &w, e) : error_errno(e, -ENOMEM, "snapshot");
	contents.wants = s->wants < 0 ? NULL : &s->wants;
	contents.memory = &machine_board(machine)->memory;
	contents.state = w.bytes;
	contents.state_length = w.length;
	/* Disks last: what fails before leaves them as they are. */
	if (r == 0)
		r = freeze_disks(s, e);
	if (r == 0)
		r = snapshot_save_begin(&s->save, fd, &contents, e);
	state_writer_finish(&w);
	free(text);
	return r;
}

static int hold_and_save(struct snapshotting *s, int fd, const struct snapshot_contents *contents, const json_t *facts,
			 struct error *e)
{
	struct machine *machine = s->monitor->machine;
	bool running = machine_state(machine) == MACHINE_RUNNING;
	uint64_t began = clock_host_ns();
	int r = running ? machine_hold(machine, e) : 0;

	if (r < 0)
		return r;
	r = save(s, fd, contents, facts, running, e);
	if (running)
		machine_let_go(machine);
	s->stopped_ns = running ? clock_host_ns() - began : 0;
	return r;
}

static int fill(struct snapshotting *s, const json_t *with, struct snapshot_contents *contents, struct error *e)
{
	const char *parent = json_string_value(json_object_get(with, "parent"));
	struct timespec now;

	if (parent && !parse_id(parent, contents->parent))
		return error_set(e, ERROR_USAGE, -EINVAL, "snapshot: parent is %d hexadecimal digits",
				 2 * SNAPSHOT_ID_BYTES);
	contents->bare = json_is_true(json_object_get(with, "bare"));
	if (parent && contents->bare)
		return error_set(e, ERROR_USAGE, -EINVAL, "snapshot: what is bare has no parent");
	if (getrandom(s->id, sizeof s->id, 0) != (ssize_t)sizeof s->id)
		return error_errno(e, -EIO, "snapshot: random numbers");
	memcpy(contents->id, s->id, sizeof contents->id);
	clock_gettime(CLOCK_REALTIME, &now);
	contents->created_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	return 0;
}

static void tell_saving(struct control_call *call, bool early)
{
	json_t *event = json_pack("{s:s, s:b}", "event", "saving", "early", early);

	control_tell_caller(call, event);
	json_decref(event);
}

static int begin(struct snapshotting *s, struct control_call *call, const json_t *with, int fd, struct error *e)
{
	struct snapshot_contents contents = {.memory = NULL};
	int r = fill(s, with, &contents, e);

	if (r == 0)
		r = hold_and_save(s, fd, &contents, json_object_get(with, "facts"), e);
	if (r == 0)
		r = loop_watch(s->monitor->loop, s->save.socket, EPOLLIN, child_ended, s, &s->watch, e);
	if (r < 0)
		return r;
	s->call = call;
	control_keep(call, caller_gone, s);
	if (contents.bare)
		tell_saving(call, s->wants >= 0);
	keep_wants(s, -1);
	return 0;
}

int monitor_snapshot(struct control_call *call, const json_t *with, struct error *e)
{
	struct monitor *monitor = control_opaque(call);
	int r = check(monitor, e), fd;
	struct snapshotting *s;

	if (r < 0)
		return r;
	fd = control_take_passed(call);
	if (fd < 0)
		return error_set(e, ERROR_USAGE, -EBADF, "snapshot: no descriptor came along");
	s = get(monitor);
	r = s ? begin(s, call, with, fd, e) : error_errno(e, -ENOMEM, "snapshot");
	close(fd);
	if (r < 0)
		monitor_snapshot_end(monitor);
	return r;
}
