#include "monitor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/socket.h"
#include "device/virtio/vsock.h"
#include "migrate/link.h"
#include "monitor/private.h"
#include "monitor/starter.h"

/* How long clients may take to fetch their last answer. */
#define LAST_ANSWER_MS 1000

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* ---- The folder ---- */

static void open_history(struct monitor *monitor)
{
	struct error e;

	if (registry_history_open(monitor->registry, monitor->options->name, &monitor->history, &e) < 0)
		log_line(LOG_WARNING, "monitor", "%s", e.message);
}

/* The lock before the rest of the folder: only who has it may touch that. */
static int take_folder(struct monitor *monitor, struct error *e)
{
	const char *name = monitor->options->name;
	int r;

	open_history(monitor); /* which may be put aside while the lock is free, and then only */
	r = registry_lock(monitor->registry, name, &monitor->lock, e);

	if (r == 0)
		r = registry_folder(monitor->registry, name, &monitor->folder, e);
	if (r == 0)
		r = registry_refuse_moved(name, monitor->folder, e);
	if (r == 0 && !monitor->options->arrival)
		r = registry_refuse_arriving(monitor->registry, name, monitor->folder, e);
	if (r == 0)
		r = registry_record(monitor->registry, name, &monitor->record, e);
	return r;
}

/* A monitor that was killed could not tell. */
static void note_death(struct monitor *monitor)
{
	const struct record *record = &monitor->record;

	if (record->state == MACHINE_RUNNING || record->state == MACHINE_PAUSED)
		monitor_note(monitor, "killed", json_pack("{s:i}", "monitor", (int)record->monitor));
}

/* What an earlier life left in the record goes. */
static void renew_record(struct monitor *monitor)
{
	note_death(monitor);
	monitor->record.monitor = getpid();
	monitor->record.foreground = monitor->options->foreground;
	monitor->record.stalled = false;
	monitor->record.exit_code = 0;
	*monitor->record.message = 0;
	monitor->record.state = MACHINE_CREATED;
	monitor->record.changed_s = (int64_t)time(NULL);
}

/* ---- The socket ---- */

static int listen_at_control(struct monitor *monitor, struct error *e)
{
	int r = socket_listen_at(monitor->folder, MONITOR_CONTROL, &monitor->listener, e);

	if (r == 0)
		r = loop_new(&monitor->loop, e);
	if (r == 0)
		r = control_server_new(&monitor->server, monitor->loop, monitor->listener, monitor_verbs, monitor, e);
	return r;
}

static void stop_listening(struct monitor *monitor)
{
	if (monitor->listener >= 0)
		(void)unlinkat(monitor->folder, MONITOR_CONTROL, 0);
}

/* ---- Signals between two waits of the machine ---- */

static void on_signal(void *opaque, int number)
{
	((struct monitor *)opaque)->signal = number;
}

static int hold_signals(struct monitor *monitor, struct error *e)
{
	int r = loop_new(&monitor->signal_loop, e);

	if (r == 0)
		r = signals_begin(&monitor->signals, monitor->signal_loop, on_signal, monitor, e);
	monitor->signals_held = r == 0;
	return r;
}

static void release_signals(struct monitor *monitor)
{
	if (monitor->signals_held)
		signals_end(&monitor->signals);
	monitor->signals_held = false;
}

static bool signal_came(struct monitor *monitor)
{
	return loop_run(monitor->signal_loop, 0) == -ETIMEDOUT && monitor->signal != 0;
}

/* ---- The machine's life ---- */

/* FNV-1a of the name, among the numbers of guests: the same at each start and on each host, and hardly ever another's. */
static uint32_t cid_of(const char *name)
{
	uint32_t hash = 0x811c9dc5;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 0x01000193;
	return VSOCK_CID_MIN + hash % (VSOCK_CID_MAX - VSOCK_CID_MIN + 1);
}

/* What a machine that is reached by its name is reached with. */
static void equip(struct monitor *monitor)
{
	struct machine_config *config = &monitor->setup.config;
	const char *name = monitor->options->name;

	config->loop = monitor->loop;
	config->loads = monitor->options->loads || monitor->options->arrival;
	config->name = name;
	config->power_button = true;
	if (!config->balloon)
		config->balloon_keeps = 0;
	config->balloon = true;
	if (!config->vsock) {
		registry_path(monitor->registry, name, MONITOR_VSOCK, monitor->vsock);
		config->vsock = monitor->vsock;
		config->vsock_cid = cid_of(name);
	}
	if (!config->console_log) {
		registry_path(monitor->registry, name, MONITOR_CONSOLE_LOG, monitor->console_log);
		config->console_log = monitor->console_log;
	}
	config->incoming = monitor->options->arrival != NULL;
}

static int make_machine(struct monitor *monitor, struct machine **machine, struct error *e)
{
	const struct monitor_hooks *hooks = &monitor->options->hooks;
	int r = hooks->configure(hooks->context, &monitor->setup, e);

	if (r < 0)
		return r;
	equip(monitor);
	r = machine_new(machine, &monitor->setup.config, e);
	if (r == 0 && hooks->load)
		r = hooks->load(hooks->context, *machine, e);
	monitor_begin_filling(monitor);
	return r;
}

void monitor_tell_starter(struct monitor *monitor, const struct error *failure)
{
	if (monitor->starter >= 0)
		starter_tell(monitor->starter, failure);
	close_one(&monitor->starter);
}

/* What asks for the machine finds it as soon as it runs. */
static int let_run(struct monitor *monitor, struct machine *machine, struct error *e)
{
	const struct monitor_hooks *hooks = &monitor->options->hooks;
	int r;

	if (monitor->stopping || signal_came(monitor))
		return error_set(e, ERROR_STATE, -ECANCELED, "%s was stopped before it ran", monitor->options->name);
	if (monitor->options->arrival && monitor_prepare_arrival(monitor, e) < 0)
		return -EIO;
	r = hooks->made ? hooks->made(hooks->context, monitor->folder, e) : 0;
	if (r < 0)
		return r;
	if (monitor->options->arrival)
		return monitor_let_arrive(monitor, machine, e);
	monitor->machine = machine;
	machine_on_change(machine, monitor_changed, monitor);
	/* Paused: its state was loaded. */
	return machine_state(machine) == MACHINE_PAUSED ? machine_resume(machine, e) : machine_start(machine, e);
}

static int start(struct monitor *monitor, struct machine *machine, struct error *e)
{
	const struct monitor_hooks *hooks = &monitor->options->hooks;
	int r = let_run(monitor, machine, e);

	if (r == 0 && monitor->filling)
		r = monitor_watch_filling(monitor, e);
	if (r < 0)
		return r;
	if (!monitor->filling)
		monitor_tell_starter(monitor, NULL);
	monitor_drop_lost(monitor);
	if (hooks->started)
		hooks->started(hooks->context, monitor->machine);
	monitor_keep_house(monitor);
	return 0;
}

/* Another host may need what is here: one signal does not end that, the next one does. */
static bool puts_off(struct monitor *monitor, int signal)
{
	struct error why;

	if (!signal || monitor->put_off || monitor_refuse_while_needed(monitor, "stopped", &why) == 0)
		return false;
	signals_forget();
	monitor->put_off = true;
	log_line(LOG_WARNING, "monitor", "SIG%s came, but %s; it ends afterwards, or by another signal", sigabbrev_np(signal),
		 why.message);
	monitor_note(monitor, "stop put off", json_pack("{s:s}", "message", why.message));
	return true;
}

/* A signal asks for an orderly end; when one was asked for already, for any. */
static int wait_for_end(struct monitor *monitor, struct machine_outcome *outcome, struct error *e)
{
	int timeout = monitor->setup.timeout_ms, signal, r;

	do {
		r = machine_wait(monitor->machine, timeout, outcome, e);
		signal = outcome->signal;
	} while (r == 0 && puts_off(monitor, signal));
	if (r == 0 && signal && !monitor->options->foreground && !monitor->stopping) {
		signals_forget();
		log_line(LOG_INFO, "monitor", "SIG%s came; %s is stopped", sigabbrev_np(signal), monitor->options->name);
		monitor_stop(monitor, MONITOR_STOP_MS);
		r = machine_wait(monitor->machine, timeout, outcome, e);
	}
	return r;
}

static int let_live(struct monitor *monitor, struct machine *machine, struct machine_outcome *outcome, struct error *e)
{
	const struct monitor_hooks *hooks = &monitor->options->hooks;
	int r = start(monitor, machine, e);
	struct error own;

	if (r < 0)
		return r;
	r = wait_for_end(monitor, outcome, e);
	/* After a signal, its time, or because the user left. */
	if (monitor_is_cut_off(monitor))
		monitor_abandon(monitor, MONITOR_LOST);
	machine_stop(monitor->machine);
	/* It ran, if not until all of its memory was there. */
	monitor_tell_starter(monitor, NULL);
	if (outcome->state != MACHINE_FAILED)
		outcome->state = MACHINE_STOPPED;
	if (hooks->ended && hooks->ended(hooks->context, monitor->machine, &own) < 0)
		log_line(LOG_ERROR, "monitor", "%s", own.message);
	return r;
}

/* While the machine is made. */
static int be_found(struct monitor *monitor, struct error *e)
{
	int r = monitor_greet(monitor, e);

	/* While others are answered already. */
	monitor_save_record(monitor);
	return r;
}

static int live(struct monitor *monitor, struct machine_outcome *outcome, struct error *e)
{
	struct machine *machine = NULL;
	int r = monitor->options->brief ? 0 : be_found(monitor, e);

	if (r == 0)
		r = make_machine(monitor, &machine, e);
	monitor_greet_end(monitor);
	if (r == 0)
		r = let_live(monitor, machine, outcome, e);
	monitor_snapshot_end(monitor);
	monitor_end_move(monitor);
	monitor_end_arrival(monitor);
	monitor_end_filling(monitor);
	monitor->machine = NULL;
	machine_free(machine);
	if (monitor->options->hooks.gone)
		monitor->options->hooks.gone(monitor->options->hooks.context);
	return r;
}

/* ---- The end ---- */

static json_t *end_details(const struct monitor *monitor)
{
	if (monitor->record.state == MACHINE_FAILED)
		return json_pack("{s:s}", "message", monitor->record.message);
	return json_pack("{s:i, s:b}", "exit_code", monitor->record.exit_code, "forced", monitor->forced);
}

static void conclude(struct monitor *monitor, int r, const struct machine_outcome *outcome, const struct error *e)
{
	const char *message = outcome->message;
	enum machine_state state = outcome->state;

	if (state == MACHINE_CREATED) {
		message = e->message;
		state = r == -ECANCELED ? MACHINE_STOPPED : MACHINE_FAILED;
	}
	monitor->record.monitor = 0;
	monitor->record.stalled = false;
	monitor->record.exit_code = outcome->exit_code;
	snprintf(monitor->record.message, sizeof monitor->record.message, "%.255s",
		 state == MACHINE_FAILED ? message : "");
	monitor_enter(monitor, state);
	monitor_flush_record(monitor);
	if (state == MACHINE_FAILED)
		log_line(LOG_ERROR, "monitor", "%s failed: %s", monitor->options->name, monitor->record.message);
	monitor_note(monitor, machine_state_name(state), end_details(monitor));
}

static void finish(struct monitor *monitor)
{
	if (monitor->loop) {
		loop_timer_cancel(monitor->loop, &monitor->housekeeping);
		loop_timer_cancel(monitor->loop, &monitor->patience);
		loop_timer_cancel(monitor->loop, &monitor->reminder);
	}
	close_one(&monitor->lock);
	if (monitor->server)
		monitor_answer_waiters(monitor, true);
	control_server_free(monitor->server, LAST_ANSWER_MS);
	release_signals(monitor);
	loop_free(monitor->signal_loop);
	loop_free(monitor->loop);
	close_one(&monitor->listener);
	close_one(&monitor->history);
	close_one(&monitor->folder);
	close_one(&monitor->starter);
	close_one(&monitor->request);
	close_one(&monitor->absent);
	close_one(&monitor->door);
}

/* Clients get their answers: who was told that it ended can remove it. */
noreturn void monitor_abandon(struct monitor *monitor, const char *why)
{
	struct machine_outcome outcome = {.state = MACHINE_FAILED};

	snprintf(outcome.message, sizeof outcome.message, "%s", why);
	monitor_note_arrival_done(monitor);
	stop_listening(monitor);
	(void)unlinkat(monitor->folder, LINK_DOOR, 0);
	conclude(monitor, 0, &outcome, NULL);
	close_one(&monitor->lock);
	monitor_answer_waiters(monitor, true);
	control_server_free(monitor->server, LAST_ANSWER_MS);
	_exit(EXIT_FAILURE);
}

int monitor_run(struct registry *registry, const struct monitor_options *options, struct machine_outcome *outcome,
		struct error *e)
{
	struct monitor monitor = {
		.options = options,
		.registry = registry,
		.folder = -1,
		.lock = -1,
		.listener = -1,
		.history = -1,
		.request = -1,
		.absent = -1,
		.door = -1,
		.starter = options->starter,
		.setup.timeout_ms = -1,
	};
	struct error own = {.kind = ERROR_NONE};
	int r = take_folder(&monitor, &own);
	bool taken = r == 0;

	*outcome = (struct machine_outcome){.state = MACHINE_CREATED};
	if (r == 0)
		r = hold_signals(&monitor, &own);
	if (r == 0)
		r = listen_at_control(&monitor, &own);
	if (taken)
		renew_record(&monitor);
	if (r == 0)
		r = live(&monitor, outcome, &own);
	stop_listening(&monitor);
	if (taken)
		conclude(&monitor, r, outcome, &own);
	if (r < 0)
		monitor_tell_starter(&monitor, &own);
	finish(&monitor);
	return r < 0 ? error_set(e, own.kind, r, "%s", own.message) : 0;
}
