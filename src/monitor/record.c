#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "monitor/private.h"

#define HOUSEKEEPING_NS UINT64_C(5000000000)
#define LOG_BYTES_MAX   ((off_t)(4 * MIB))

static void add_history(struct monitor *monitor, const struct timespec *when, const char *event, const json_t *details)
{
	char *text = details ? json_dumps(details, JSON_COMPACT) : NULL;
	struct error e;

	if (monitor->history >= 0 && registry_history_add_at(monitor->history, when, event, text, &e) < 0)
		log_line(LOG_WARNING, "monitor", "%s", e.message);
	free(text);
}

static void tell(struct monitor *monitor, const struct timespec *when, const char *event, const json_t *details)
{
	char time[CLOCK_TEXT];
	json_t *object;

	clock_text(when, time);
	object = json_pack("{s:s, s:s, s:s}", "time", time, "machine", monitor->options->name, "event", event);
	if (object && details)
		json_object_update(object, (json_t *)details);
	if (object && monitor->server)
		control_tell(monitor->server, object);
	json_decref(object);
}

static struct timespec time_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now;
}

void monitor_tell(struct monitor *monitor, const char *event, json_t *details)
{
	const struct timespec now = time_now();

	tell(monitor, &now, event, details);
	json_decref(details);
}

static void note_at(struct monitor *monitor, const struct timespec *when, const char *event, const json_t *details)
{
	add_history(monitor, when, event, details);
	tell(monitor, when, event, details);
}

void monitor_note(struct monitor *monitor, const char *event, json_t *details)
{
	const struct timespec now = time_now();

	note_at(monitor, &now, event, details);
	json_decref(details);
}

void monitor_save_record(struct monitor *monitor)
{
	struct error e;
	bool was_old = monitor->record_is_old;

	if (monitor->orphaned)
		return;
	monitor->record_is_old = registry_write_record(monitor->folder, &monitor->record, &e) < 0;
	monitor->record_is_young = !monitor->record_is_old;
	if (monitor->record_is_old && !was_old)
		log_line(LOG_WARNING, "monitor", "%s; what doppel ps tells may be old until that works again", e.message);
}

void monitor_flush_record(struct monitor *monitor)
{
	struct error e;

	if (monitor->record_is_young && !monitor->orphaned && registry_flush_record(monitor->folder, &e) < 0)
		log_line(LOG_WARNING, "monitor", "%s", e.message);
	monitor->record_is_young = false;
}

void monitor_enter(struct monitor *monitor, enum machine_state state)
{
	monitor->record.state = state;
	monitor->record.changed_s = (int64_t)time(NULL);
	monitor_save_record(monitor);
}

static const char *event_of(enum machine_state before, enum machine_state now)
{
	if (now == MACHINE_PAUSED)
		return "paused";
	return before == MACHINE_PAUSED ? "resumed" : "started";
}

/* Ends are told when all of the machine is gone. */
static void state_changed(struct monitor *monitor)
{
	enum machine_state before = monitor->record.state, now = machine_state(monitor->machine);
	/* Of the change itself: writing the record takes a moment, and the vCPUs may run already. */
	const struct timespec when = time_now();

	if (now == MACHINE_STOPPED || now == MACHINE_FAILED)
		return;
	monitor->record.stalled = false;
	/* Writing it would lengthen the moment in which the machine stands still. */
	if (monitor_refuse_while_moving(monitor, "", NULL) < 0)
		return;
	monitor_enter(monitor, now);
	note_at(monitor, &when, event_of(before, now), NULL);
	monitor_answer_waiters(monitor, false);
}

static void stall_changed(struct monitor *monitor)
{
	monitor->record.stalled = machine_is_stalled(monitor->machine);
	monitor_save_record(monitor);
	monitor_note(monitor, monitor->record.stalled ? "stalled" : "unstalled", NULL);
}

static void disks_failed(struct monitor *monitor)
{
	for (unsigned i = 0; i < MACHINE_DISKS_MAX; i++) {
		int code = machine_disk_failure(monitor->machine, i);

		if (code < 0)
			monitor_note(monitor, "disk failed",
				     json_pack("{s:i, s:s}", "disk", (int)i, "error",
					       code == -ESTALE ? "its image was cut while in use" : strerror(-code)));
	}
}

void monitor_changed(void *opaque, enum machine_change change)
{
	struct monitor *monitor = opaque;

	switch (change) {
	case MACHINE_CHANGED_STATE:
		state_changed(monitor);
		break;
	case MACHINE_CHANGED_RESET:
		monitor_note(monitor, "reset", NULL);
		break;
	case MACHINE_CHANGED_STALL:
		stall_changed(monitor);
		break;
	case MACHINE_CHANGED_DISK:
		disks_failed(monitor);
		break;
	}
}

/* A machine that nobody can find any more shall not run on in the dark. */
static void look_for_folder(struct monitor *monitor)
{
	struct stat stat;

	if (monitor->orphaned || fstat(monitor->folder, &stat) < 0 || stat.st_nlink > 0)
		return;
	monitor->orphaned = true;
	log_line(LOG_ERROR, "monitor", "the folder of %s was removed; the machine is stopped", monitor->options->name);
	monitor_note(monitor, "folder removed", NULL);
	monitor_stop(monitor, MONITOR_STOP_MS);
}

/* The log is a file that guests, too, may cause to grow. */
static void look_at_log(void)
{
	struct stat stat;

	if (fstat(STDERR_FILENO, &stat) == 0 && S_ISREG(stat.st_mode) && stat.st_size > LOG_BYTES_MAX &&
	    ftruncate(STDERR_FILENO, 0) == 0)
		log_line(LOG_WARNING, "monitor", "the log was cut off: it was longer than 4 MiB");
}

static void keep_house(void *arg)
{
	struct monitor *monitor = arg;

	look_for_folder(monitor);
	if (monitor->record_is_old)
		monitor_save_record(monitor);
	monitor_flush_record(monitor);
	if (!monitor->options->foreground)
		look_at_log();
	loop_timer_set(monitor->loop, &monitor->housekeeping, clock_host_ns() + HOUSEKEEPING_NS);
}

void monitor_keep_house(struct monitor *monitor)
{
	monitor->housekeeping = (struct loop_timer){.fn = keep_house, .arg = monitor};
	loop_timer_set(monitor->loop, &monitor->housekeeping, clock_host_ns() + HOUSEKEEPING_NS);
}
