#include "base/clock.h"
#include "base/log.h"
#include "guest/client.h"
#include "monitor/private.h"

#define REMINDER_NS UINT64_C(3000000000)

static void end_now(struct monitor *monitor)
{
	if (monitor_is_cut_off(monitor))
		monitor_abandon(monitor, MONITOR_LOST);
	machine_stop(monitor->machine);
	loop_quit(monitor->loop);
}

static void out_of_patience(void *arg)
{
	struct monitor *monitor = arg;

	monitor->forced = true;
	monitor_note(monitor, "forced", NULL);
	end_now(monitor);
}

/* Guests that know no power button may have our program. */
static void ask_program(struct monitor *monitor)
{
	struct error e;

	if (machine_dial_guest(monitor->machine, &monitor->request, &e) < 0 ||
	    guest_ask_power_off(monitor->request, &e) < 0)
		log_line(LOG_INFO, "monitor", "%s", e.message);
}

/* A guest that was still starting may not have heard it. */
static void ask(void *arg)
{
	struct monitor *monitor = arg;
	struct error e;

	if (monitor->reminders++ == 1)
		ask_program(monitor);
	if (machine_press_power(monitor->machine, &e) < 0)
		log_line(LOG_WARNING, "monitor", "%s", e.message);
	loop_timer_set(monitor->loop, &monitor->reminder, clock_host_ns() + REMINDER_NS);
}

/* A guest that stands still hears nothing. */
static void let_it_hear(struct monitor *monitor)
{
	struct error e;

	if (machine_state(monitor->machine) == MACHINE_PAUSED && machine_resume(monitor->machine, &e) < 0)
		log_line(LOG_WARNING, "monitor", "%s", e.message);
}

void monitor_stop(struct monitor *monitor, int timeout_ms)
{
	uint64_t deadline = clock_host_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	bool first = !monitor->stopping;

	monitor->stopping = true;
	if (monitor->arriving)
		loop_quit(monitor->loop);
	if (!monitor->machine) /* it will not be started */
		return;
	if (!monitor_keep_from_moving(monitor) || timeout_ms == 0 || monitor_is_cut_off(monitor)) {
		end_now(monitor);
		return;
	}
	monitor->patience.fn = out_of_patience;
	monitor->patience.arg = monitor;
	if (first || deadline < monitor->patience.deadline_ns)
		loop_timer_set(monitor->loop, &monitor->patience, deadline);
	if (!first)
		return;
	monitor_note(monitor, "stopping", NULL);
	let_it_hear(monitor);
	monitor->reminder = (struct loop_timer){.fn = ask, .arg = monitor};
	ask(monitor);
}
