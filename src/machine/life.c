/* The states of a machine's life, and what the guest asks for on its way. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "device/virtio/button.h"
#include "device/virtio/vsock.h"
#include "host/code.h"
#include "machine/private.h"
#include "machine/signals.h"
#include "machine/steal.h"

/* Time that is stolen from a vCPU which was idle until now is told so much later at most. */
#define TICK_RAREST_NS (32 * STEAL_EVERY_NS)

int machine_check_state(const struct machine *machine, const char *what, unsigned allowed, struct error *e)
{
	if (allowed & IN(machine->state))
		return 0;
	return error_set(e, ERROR_STATE, -EBUSY, "%s is %s and can not be %s now", machine->name,
			 machine_state_name(machine->state), what);
}

void machine_on_change(struct machine *machine, void (*fn)(void *opaque, enum machine_change change), void *opaque)
{
	machine->changed = fn;
	machine->changed_opaque = opaque;
}

void machine_tell(struct machine *machine, enum machine_change change)
{
	if (machine->changed)
		machine->changed(machine->changed_opaque, change);
}

static void enter(struct machine *machine, enum machine_state state)
{
	machine->state = state;
	machine_tell(machine, MACHINE_CHANGED_STATE);
}

/* The guest's terminal follows the host's. Returns whether there is one to follow. */
static bool follow_size(struct machine *machine)
{
	uint16_t columns, rows;

	if (!machine->terminal || !console_size(machine->console, &columns, &rows))
		return false;
	if (columns != machine->columns || rows != machine->rows) {
		machine->columns = columns;
		machine->rows = rows;
		virtio_terminal_resize(machine->terminal, columns, rows);
	}
	return true;
}

static uint64_t used_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * UINT64_C(1000000000) + (uint64_t)used.tv_nsec;
}

static void rest_if_due(struct machine *machine)
{
	if (!machine->restless && rest_is_due(&machine->rest, clock_host_ns(), used_ns()))
		crew_rest(machine->crew);
}

/* Code that ran once, as at the start, need not count as this process's for long. */
static void grow_still(struct machine *machine)
{
	if (machine->tick_ns >= TICK_RAREST_NS)
		return;
	machine->tick_ns *= 2;
	if (machine->tick_ns >= TICK_RAREST_NS)
		host_code_rest();
}

/* While nothing needs it, ever more rarely: a host with hundreds of idle machines shall sleep too. */
void machine_tick(void *opaque)
{
	struct machine *machine = opaque;
	bool busy = crew_tick(machine->crew), watched = follow_size(machine);

	if (busy || watched)
		machine->tick_ns = STEAL_EVERY_NS;
	else
		grow_still(machine);
	rest_if_due(machine);
	loop_timer_set(machine->loop, &machine->tick, clock_host_ns() + machine->tick_ns);
}

/* Ticks may be rare, and a person waits. */
void machine_resized(void *opaque)
{
	struct machine *machine = opaque;

	if (machine->state == MACHINE_RUNNING && !machine->stalled && !machine->stranded)
		machine_tick(machine);
}

static void stop_time(struct machine *machine)
{
	clock_stop(&machine->board->clock);
	loop_timer_cancel(machine->loop, &machine->tick);
	alarm_run(&machine->alarm, false);
	console_hold(machine->console, true);
}

/* All out of guest code, and time stands still. */
static void halt(struct machine *machine)
{
	crew_park(machine->crew);
	stop_time(machine);
}

static void go_on(struct machine *machine)
{
	console_hold(machine->console, false);
	clock_start(&machine->board->clock);
	alarm_run(&machine->alarm, true);
	machine->tick_ns = STEAL_EVERY_NS;
	rest_begin(&machine->rest, clock_host_ns(), used_ns());
	machine_tick(machine);
	machine->stalled = false;
	crew_release(machine->crew);
}

/* Nothing moves any more: all that the guest could observe stands still. */
static void make_quiet(struct machine *machine)
{
	halt(machine);
	machine_pause_devices(machine);
}

int machine_disk_failure(struct machine *machine, unsigned index)
{
	return index < MACHINE_DISKS_MAX ? atomic_exchange(&machine->disk_failures[index], 0) : 0;
}

static bool any_failure(struct machine *machine)
{
	for (unsigned i = 0; i < MACHINE_DISKS_MAX; i++)
		if (atomic_load(&machine->disk_failures[i]))
			return true;
	return false;
}

void machine_mind_disks(void *opaque)
{
	struct machine *machine = opaque;
	bool full = atomic_load(&machine->full_disks) > 0;

	if (any_failure(machine))
		machine_tell(machine, MACHINE_CHANGED_DISK);
	if (machine->state != MACHINE_RUNNING || machine->stranded || full == machine->stalled)
		return;
	log_line(LOG_WARNING, "machine", full ? "%s stands still until the host has room for its disks" : "%s goes on",
		 machine->name);
	if (full)
		halt(machine);
	else
		go_on(machine);
	machine->stalled = full;
	machine_tell(machine, MACHINE_CHANGED_STALL);
}

bool machine_is_stalled(const struct machine *machine)
{
	return machine->stalled;
}

void machine_strand(struct machine *machine, bool on)
{
	if (machine->state != MACHINE_RUNNING || on == machine->stranded)
		return;
	machine->stranded = on;
	if (machine->stalled)
		return;
	if (on) {
		crew_ask(machine->crew);
		stop_time(machine);
	} else {
		go_on(machine);
		machine_mind_disks(machine);
		bell_ring(&machine->bell);
	}
}

void machine_pause_devices(struct machine *machine)
{
	if (machine->devices_paused)
		return;
	/* The worker is to do what it is asked, now. */
	if (machine->quota)
		quota_suspend(machine->quota, true);
	for (unsigned i = 0; i < machine->board->device_count; i++)
		device_pause(machine->board->devices[i]);
	machine->devices_paused = true;
}

static void resume_devices(struct machine *machine)
{
	if (!machine->devices_paused)
		return;
	for (unsigned i = 0; i < machine->board->device_count; i++)
		device_resume(machine->board->devices[i]);
	quota_suspend(machine->quota, false);
	machine->devices_paused = false;
}

static void let_run(struct machine *machine)
{
	resume_devices(machine);
	machine->state = MACHINE_RUNNING;
	go_on(machine);
}

static void fail(struct machine *machine, const char *message)
{
	snprintf(machine->message, sizeof machine->message, "%.255s", message);
	enter(machine, MACHINE_FAILED);
}

int machine_power_on(struct machine *machine, struct error *e)
{
	struct error own;
	int r;

	machine_pause_devices(machine);
	r = board_reset(machine->board, &own);
	if (r == 0)
		r = crew_state_loaded(machine->crew, &own);
	if (r < 0)
		fail(machine, own.message);
	return r < 0 ? error_set(e, own.kind, r, "%s", own.message) : 0;
}

void machine_raise(struct machine *machine, const struct event *event)
{
	pthread_mutex_lock(&machine->lock);
	if (machine->event.kind == EVENT_NONE)
		machine->event = *event;
	pthread_mutex_unlock(&machine->lock);
	crew_ask(machine->crew);
	bell_ring(&machine->bell);
}

bool machine_has_event(struct machine *machine)
{
	bool there;

	pthread_mutex_lock(&machine->lock);
	there = machine->event.kind != EVENT_NONE;
	pthread_mutex_unlock(&machine->lock);
	return there;
}

/* Acts on what the guest did before it became quiet. */
static void act(struct machine *machine)
{
	struct event event;

	pthread_mutex_lock(&machine->lock);
	event = machine->event;
	machine->event.kind = EVENT_NONE;
	pthread_mutex_unlock(&machine->lock);
	switch (event.kind) {
	case EVENT_NONE:
		break;
	case EVENT_OFF:
		machine->exit_code = event.exit_code;
		enter(machine, MACHINE_STOPPED);
		break;
	case EVENT_RESET:
		log_guest(LOG_INFO, "machine", "%s is reset by its guest", machine->name);
		if (machine_power_on(machine, NULL) == 0)
			machine_tell(machine, MACHINE_CHANGED_RESET);
		break;
	case EVENT_FAILED:
		fail(machine, event.message);
		break;
	}
}

static bool has_ended(const struct machine *machine)
{
	return machine->state == MACHINE_STOPPED || machine->state == MACHINE_FAILED;
}

static bool wait_is_over(struct machine *machine)
{
	return machine->left || machine->signal || (has_ended(machine) && console_drained(machine->console));
}

static void settle(struct machine *machine)
{
	if (machine->state != MACHINE_RUNNING || machine->stranded || !machine_has_event(machine))
		return;
	make_quiet(machine);
	act(machine);
	if (machine->state == MACHINE_RUNNING)
		let_run(machine);
}

void machine_attend(void *opaque)
{
	struct machine *machine = opaque;

	settle(machine);
	if (wait_is_over(machine))
		loop_quit(machine->loop);
}

void machine_leave(void *opaque)
{
	struct machine *machine = opaque;

	machine->left = true;
	loop_quit(machine->loop);
}

static void on_signal(void *opaque, int number)
{
	struct machine *machine = opaque;

	machine->signal = number;
	loop_quit(machine->loop);
}

static size_t uart_receive(void *line, const uint8_t *bytes, size_t length)
{
	return uart16550_receive(line, bytes, length);
}

static void uart_on_room(void *line, void (*room)(void *opaque), void *opaque)
{
	uart16550_on_room(line, room, opaque);
}

static size_t terminal_receive(void *line, const uint8_t *bytes, size_t length)
{
	return virtio_terminal_receive(line, bytes, length);
}

static void terminal_on_room(void *line, void (*room)(void *opaque), void *opaque)
{
	virtio_terminal_on_room(line, room, opaque);
}

static int start_console(struct machine *machine, struct error *e)
{
	const struct console_line uart = {uart_receive, uart_on_room, machine->board->uart};
	const struct console_line terminal = {terminal_receive, terminal_on_room, machine->terminal};

	return console_start(machine->console, machine->terminal ? &terminal : &uart, e);
}

int machine_await_helpers(struct machine *machine, struct error *e)
{
	return machine->vsock ? virtio_vsock_await(machine->vsock, e) : 0;
}

/* A helper process meets no guest before it is behind its walls, so the guest need not wait for that. */
static int begin_to_run(struct machine *machine, struct error *e)
{
	struct error own;
	int r;

	let_run(machine);
	machine_tell(machine, MACHINE_CHANGED_STATE);
	r = machine_await_helpers(machine, &own);
	if (r == 0)
		return 0;
	make_quiet(machine);
	fail(machine, own.message);
	return error_set(e, own.kind, r, "%s", own.message);
}

int machine_start(struct machine *machine, struct error *e)
{
	int r = machine_check_state(machine, "started", IN(MACHINE_CREATED), e);

	if (r == 0)
		r = start_console(machine, e);
	if (r < 0)
		return r;
	return begin_to_run(machine, e);
}

/* Paused, though nobody was told. `what` it is to be, for messages. */
static int halt_running(struct machine *machine, const char *what, struct error *e)
{
	int r = machine_check_state(machine, what, IN(MACHINE_RUNNING), e);

	if (r < 0)
		return r;
	make_quiet(machine);
	act(machine);
	if (has_ended(machine))
		return machine_check_state(machine, what, 0, e);
	machine->state = MACHINE_PAUSED;
	return 0;
}

int machine_pause(struct machine *machine, struct error *e)
{
	int r = halt_running(machine, "paused", e);

	if (r == 0)
		machine_tell(machine, MACHINE_CHANGED_STATE);
	return r;
}

int machine_resume(struct machine *machine, struct error *e)
{
	int r = machine_check_state(machine, "resumed", IN(MACHINE_PAUSED), e);

	if (r == 0) /* the first time when its state was loaded */
		r = start_console(machine, e);
	if (r < 0)
		return r;
	return begin_to_run(machine, e);
}

int machine_hold(struct machine *machine, struct error *e)
{
	return halt_running(machine, "held", e);
}

void machine_let_go(struct machine *machine)
{
	let_run(machine);
}

int machine_press_power(struct machine *machine, struct error *e)
{
	int r = machine_check_state(machine, "asked to power off", IN(MACHINE_RUNNING), e);

	if (r < 0)
		return r;
	if (machine->board->type->press_power)
		machine->board->type->press_power(machine->board);
	else if (machine->button)
		virtio_button_press(machine->button);
	else
		return error_set(e, ERROR_STATE, -ENODEV, "%s has no power button", machine->name);
	return 0;
}

void machine_stop(struct machine *machine)
{
	if (machine->state == MACHINE_RUNNING) {
		make_quiet(machine);
		act(machine);
	}
	if (has_ended(machine))
		return;
	machine->exit_code = 0;
	enter(machine, MACHINE_STOPPED);
}

static void describe(const struct machine *machine, struct machine_outcome *outcome)
{
	*outcome = (struct machine_outcome){
		.state = machine->state,
		.detached = machine->left,
		.signal = machine->signal,
	};
	if (machine->state == MACHINE_STOPPED)
		outcome->exit_code = machine->exit_code;
	else if (machine->signal)
		outcome->exit_code = 128 + machine->signal;
	memcpy(outcome->message, machine->message, sizeof outcome->message);
}

static int ms_until(uint64_t end)
{
	uint64_t now = clock_host_ns();

	return now < end ? (int)((end - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

int machine_wait(struct machine *machine, int timeout_ms, struct machine_outcome *outcome, struct error *e)
{
	uint64_t end = clock_host_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	struct signals_watch signals;
	int r = machine_check_state(machine, "waited for", ~IN(MACHINE_CREATED), e);

	if (r == 0)
		r = signals_begin(&signals, machine->loop, on_signal, machine, e);
	if (r < 0)
		return r;
	machine->left = false;
	machine->signal = 0;
	settle(machine);
	while (r == 0 && !wait_is_over(machine))
		r = loop_run(machine->loop, timeout_ms < 0 ? -1 : ms_until(end));
	signals_end(&signals);
	if (r == -ETIMEDOUT && wait_is_over(machine))
		r = 0;
	describe(machine, outcome);
	if (r == -ETIMEDOUT)
		return error_set(e, ERROR_TIMEOUT, r, "%s did not end within %d ms", machine->name, timeout_ms);
	return r < 0 ? error_errno(e, r, "%s: the event loop", machine->name) : 0;
}
