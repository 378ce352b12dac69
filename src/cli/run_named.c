#include "cli/run_named.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "cli/create.h"
#include "cli/run_net.h"
#include "cli/run_options.h"
#include "cli/run_profile.h"
#include "cli/run_walls.h"
#include "host/keeper.h"
#include "monitor/monitor.h"
#include "wall/self.h"

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
	const struct creation creation = {settings, arguments, arguments->values[RUN_NAME].text, false, NULL};
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
	struct run_profile profile;
	struct keeper keeper; /* removes the machine, which its process behind walls cannot do */
	const char *name;
	uint64_t started_ns;
};

static int configure(void *context, struct monitor_setup *setup, struct error *e)
{
	struct session *session = context;
	const struct option_value *timeout = &session->arguments->values[RUN_TIMEOUT];
	int r = plan_make(&session->plan, session->arguments, NULL, e);

	if (r == 0)
		r = run_profile_open(&session->profile, session->arguments, e);
	setup->config = session->plan.config;
	setup->timeout_ms = timeout->given ? (int)timeout->number : -1;
	session->started_ns = clock_host_ns();
	return r;
}

static int made(void *context, int folder, struct error *e)
{
	struct session *session = context;

	keeper_arm(&session->keeper);
	return run_walls_put_up(session->arguments, folder, e);
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

	return run_profile_write(&session->profile, machine, session->started_ns, e);
}

/* What a killed monitor left of a machine that was to be removed anyway is in nobody's way. */
static void clear_leftover(struct registry *registry, const char *name)
{
	struct record record;

	if (registry_record(registry, name, &record, NULL) == 0 && record.foreground && !record.monitor)
		(void)!registry_remove(registry, name, NULL);
}

/* In the keeper. */
static void remove_machine(void *context)
{
	const struct session *session = context;
	struct registry *registry;

	if (registry_open(&registry, NULL) < 0)
		return;
	(void)!registry_remove(registry, session->name, NULL);
	registry_close(registry);
}

static int run_created(struct registry *registry, const struct monitor_options *options, struct session *session,
		       struct machine_outcome *outcome, struct error *e)
{
	int r = 0;
	bool walls = run_walls_wanted(session->arguments);

	if (walls)
		r = keeper_start(&session->keeper, "doppel-keeper", remove_machine, session, e);
	if (r == 0)
		r = monitor_run(registry, options, outcome, e);
	/* It was armed if the walls are up. */
	keeper_end(&session->keeper);
	if (!wall_self_is_up())
		(void)!registry_remove(registry, session->name, NULL);
	return r;
}

int run_named(const struct arguments *arguments, const struct settings *settings, struct machine_outcome *outcome,
	      struct error *e)
{
	const struct creation creation = {settings, arguments, arguments->values[RUN_NAME].text, true, NULL};
	struct session session = {.arguments = arguments, .plan = PLAN_NONE, .profile = RUN_PROFILE_NONE};
	char name[REGISTRY_NAME_SIZE];
	const struct monitor_options options = {
		.name = name,
		.foreground = true,
		.starter = -1,
		.hooks = {.configure = configure,
			  .made = made,
			  .started = started,
			  .ended = ended,
			  .context = &session},
	};
	struct registry *registry;
	int r = registry_open(&registry, e);

	if (r < 0)
		return r;
	clear_leftover(registry, creation.name);
	r = create_machine(&creation, registry, name, e);
	session.name = name;
	if (r == 0)
		r = run_created(registry, &options, &session, outcome, e);
	run_profile_finish(&session.profile);
	plan_finish(&session.plan);
	registry_close(registry);
	return r;
}
