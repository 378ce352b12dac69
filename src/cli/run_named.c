#include "cli/run_named.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "cli/create.h"
#include "cli/run_net.h"
#include "cli/run_options.h"
#include "cli/run_profile.h"
#include "monitor/monitor.h"

/* Of a process of its own nobody waits, and nobody looks. */
static int check_detached(const struct arguments *arguments, struct error *e)
{
	for (size_t i = 0; i < RUN_OPTIONS; i++)
		if (run_options[i].scope == SCOPE_RUN && arguments->values[i].given && i != RUN_DETACH)
			return error_set(e, ERROR_USAGE, -EINVAL, "--%s and --detach do not go together; leave one of them out",
					 run_options[i].name);
	return 0;
}

int run_detached(const struct arguments *arguments, const struct settings *settings, struct error *e)
{
	const struct creation creation = {settings, arguments, arguments->values[RUN_NAME].text, false};
	char name[REGISTRY_NAME_SIZE];
	struct registry *registry = NULL;
	int r = check_detached(arguments, e);

	if (r == 0)
		r = registry_open(&registry, e);
	if (r < 0)
		return r;
	r = create_machine(&creation, registry, name, e);
	if (r == 0) {
		r = monitor_start(registry, name, NULL, e);
		if (r < 0)
			(void)!registry_remove(registry, name, NULL);
		else
			puts(name);
	}
	registry_close(registry);
	return r;
}

/* ---- On this terminal ---- */

struct session {
	const struct arguments *arguments;
	struct plan plan;
	uint64_t started_ns;
};

static int configure(void *context, struct monitor_setup *setup, struct error *e)
{
	struct session *session = context;
	const struct option_value *timeout = &session->arguments->values[RUN_TIMEOUT];
	int r = plan_make(&session->plan, session->arguments, NULL, e);

	setup->config = session->plan.config;
	setup->timeout_ms = timeout->given ? (int)timeout->number : -1;
	session->started_ns = clock_host_ns();
	return r;
}

static void started(void *context, struct machine *machine)
{
	(void)context;
	if (machine_console_path(machine))
		fprintf(stderr, "doppel: the console is %s\n", machine_console_path(machine));
	run_net_tell(machine);
}

static int ended(void *context, struct machine *machine, struct error *e)
{
	const struct session *session = context;

	return run_finish_profile(session->arguments, machine, session->started_ns, e);
}

int run_finish_profile(const struct arguments *arguments, struct machine *machine, uint64_t started_ns, struct error *e)
{
	const struct option_value *values = arguments->values;

	if (!values[RUN_PROFILE].text)
		return 0;
	machine_stop(machine);
	return run_profile_write(machine, values[RUN_PROFILE].text, values[RUN_SYMBOLS].text,
				 (double)(clock_host_ns() - started_ns) / 1e9, e);
}

/* What a killed monitor left of a machine that was to be removed anyway is in nobody's way. */
static void clear_leftover(struct registry *registry, const char *name)
{
	struct record record;

	if (registry_record(registry, name, &record, NULL) == 0 && record.foreground && !record.monitor)
		(void)!registry_remove(registry, name, NULL);
}

int run_named(const struct arguments *arguments, const struct settings *settings, struct machine_outcome *outcome,
	      struct error *e)
{
	const struct creation creation = {settings, arguments, arguments->values[RUN_NAME].text, true};
	struct session session = {.arguments = arguments, .plan = PLAN_NONE};
	char name[REGISTRY_NAME_SIZE];
	const struct monitor_options options = {
		.name = name,
		.foreground = true,
		.starter = -1,
		.hooks = {configure, started, ended, &session},
	};
	struct registry *registry;
	int r = registry_open(&registry, e);

	if (r < 0)
		return r;
	clear_leftover(registry, creation.name);
	r = create_machine(&creation, registry, name, e);
	if (r == 0) {
		r = monitor_run(registry, &options, outcome, e);
		(void)!registry_remove(registry, name, NULL);
	}
	plan_finish(&session.plan);
	registry_close(registry);
	return r;
}
