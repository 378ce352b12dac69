/* The process of a machine with a name: `doppel monitor NAME`, started by monitor_start. */
#include "monitor/monitor.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/machine_document.h"
#include "cli/monitor.h"
#include "cli/plan.h"
#include "cli/run_options.h"
#include "cli/run_walls.h"
#include "cli/verb.h"
#include "memory/absent.h"
#include "snapshot/folder.h"
#include "snapshot/load.h"

/* Descriptors that monitor_start_arrival hands on (monitor/start.c). */
#define LINK_FD   4
#define BALLOT_FD 5

enum { MONITOR_STARTER, MONITOR_RESTORE, MONITOR_EAGER, MONITOR_ARRIVAL, MONITOR_OPTIONS };

struct session {
	struct registry *registry;
	const char *name;
	const char *restore, *restore_eager; /* path of a snapshot; at most one is not NULL */
	const struct clone_source *source; /* of a clone; or NULL */
	int starter; /* -1: none */
	char folder[PATH_MAX];
	struct arguments arguments; /* of the verb run, by its document */
	struct plan plan;
	struct filling *filling; /* of a machine that goes on before its memory is there */
	char *lost; /* connections that the snapshot had; NULL: none */
	struct keeper keeper; /* of sockets outside of its folder, which it cannot remove behind its walls */
};

static int configure(void *context, struct monitor_setup *setup, struct error *e)
{
	struct session *session = context;
	int r = machine_document_load(session->registry, session->name, &session->arguments, e);

	if (r < 0)
		return r;
	registry_folder_path(session->registry, session->name, session->folder);
	r = plan_make(&session->plan, &session->arguments, session->folder, e);
	setup->config = session->plan.config;
	setup->config.console = CONSOLE_NONE;
	run_walls_begin(&session->arguments);
	return r < 0 ? r : run_walls_keep_sockets(&session->keeper, &session->plan, e);
}

static int load_chain(struct session *session, const struct snapshot_chain *chain, struct machine *machine,
		      const struct snapshot_load_options *options, struct error *e)
{
	const char *lost = json_string_value(json_object_get(chain->files[0]->facts, "flows"));

	session->lost = lost ? strdup(lost) : NULL;
	return snapshot_load(chain, machine, options, e);
}

static int load_opened(struct session *session, struct snapshot *snapshot, struct machine *machine,
		       const struct snapshot_load_options *options, struct error *e)
{
	struct snapshot_chain chain = {.count = 0};
	int r = snapshot_chain_add(&chain, snapshot, e);

	if (r == 0)
		r = load_chain(session, &chain, machine, options, e);
	snapshot_chain_finish(&chain);
	return r;
}

/* With memory that comes when it is touched. 1: that can not be here, and nothing is done. */
static int load_early(struct session *session, struct machine *machine, const struct snapshot_load_options *options,
		      struct error *e)
{
	struct filling_source source = {.absent = -1, .wants = session->source->wants};
	struct snapshot_load_options early = *options;
	struct snapshot *snapshot;
	int r, file;

	if (options->eager || !filling_can(&machine_board(machine)->memory) ||
	    absent_open(&source.absent, NULL) < 0)
		return 1;
	file = fcntl(session->source->file, F_DUPFD_CLOEXEC, 0);
	if (file < 0 || snapshot_open_early(&snapshot, file, "what is being saved", NULL) < 0) {
		close(source.absent);
		return 1;
	}
	early.source = &source;
	early.filling = &session->filling;
	r = load_opened(session, snapshot, machine, &early, e);
	if (!session->filling)
		close(source.absent);
	close(session->source->file);
	monitor_copy_ignore(session->starter);
	return r;
}

/* 1: it may not be done, or can not. */
static int try_early(struct session *session, enum monitor_copy_news news, struct machine *machine,
		     const struct snapshot_load_options *options, struct error *e)
{
	int r = news == MONITOR_COPY_EARLY && session->source->wants >= 0 ? load_early(session, machine, options, e) : 1;

	if (r == 1 && session->source->wants >= 0)
		close(session->source->wants);
	return r;
}

static int load_file(struct session *session, struct machine *machine, const struct snapshot_load_options *options,
		     struct error *e)
{
	enum monitor_copy_news news;
	struct snapshot *snapshot = NULL;
	int r = monitor_copy_wait(session->starter, &news, e);

	if (r == 0)
		r = try_early(session, news, machine, options, e);
	if (r <= 0)
		return r;
	r = news == MONITOR_COPY_THERE ? 0 : monitor_copy_wait(session->starter, &news, e);
	if (r == 0)
		r = snapshot_open(&snapshot, session->source->file, "what was saved", e);
	return r < 0 ? r : load_opened(session, snapshot, machine, options, e);
}

static int load(void *context, struct machine *machine, struct error *e)
{
	struct session *session = context;
	const char *path = session->restore_eager ? session->restore_eager : session->restore;
	/* What is locked in the host's memory can not be mapped from a file. */
	const struct snapshot_load_options options = {
		.eager = session->restore_eager || session->plan.config.place.dedicated,
	};
	struct snapshot_chain chain;
	int r;

	if (session->source && !session->source->chain)
		return load_file(session, machine, &options, e);
	if (session->source)
		return load_chain(session, session->source->chain, machine, &options, e);
	r = path ? snapshot_chain_load(&chain, path, e) : 0;
	if (r < 0 || !path)
		return r;
	r = load_chain(session, &chain, machine, &options, e);
	snapshot_chain_finish(&chain);
	return r;
}

static const char *lost(void *context)
{
	return ((const struct session *)context)->lost;
}

static struct filling *filling(void *context)
{
	return ((struct session *)context)->filling;
}

static int made(void *context, int folder, struct error *e)
{
	const struct session *session = context;

	keeper_arm(&session->keeper);
	return run_walls_put_up(&session->arguments, folder, e);
}

static void gone(void *context)
{
	keeper_end(&((struct session *)context)->keeper);
}

/* The monitor's exit code, or a negative errno. */
static int live(struct session *session, const struct monitor_arrival *arrival, struct error *e)
{
	const struct clone_source *source = session->source;
	const struct monitor_options options = {
		.name = session->name,
		.arrival = arrival,
		.starter = session->starter,
		.loads = session->restore || session->restore_eager || source,
		.brief = source && (!source->chain || snapshot_is_mapped(source->chain)),
		.hooks = {.configure = configure, .load = load, .lost = lost, .filling = filling, .made = made, .gone = gone, .context = session},
	};
	struct machine_outcome outcome;
	int r;

	log_set_level(LOG_INFO);
	/* It was started as /proc/self/exe. */
	(void)prctl(PR_SET_NAME, "doppel");
	r = monitor_run(session->registry, &options, &outcome, e);
	free(session->lost);
	plan_finish(&session->plan);
	arguments_finish(&session->arguments);
	return r < 0 ? r : outcome.exit_code;
}

static int run(const struct arguments *arguments, struct error *e)
{
	const struct option_value *starter = &arguments->values[MONITOR_STARTER];
	struct session session = {.name = arguments->operands[0],
				  .restore = arguments->values[MONITOR_RESTORE].text,
				  .restore_eager = arguments->values[MONITOR_EAGER].text,
				  .starter = starter->given ? (int)starter->number : -1,
				  .plan = PLAN_NONE};
	struct monitor_arrival arrival = {.link = LINK_FD, .ballot = BALLOT_FD};
	bool arrives = arguments->values[MONITOR_ARRIVAL].given;
	int r = registry_open(&session.registry, e);

	if (r < 0)
		return r;
	if (arrives)
		snprintf(arrival.token, sizeof arrival.token, "%s", arguments->values[MONITOR_ARRIVAL].text);
	r = live(&session, arrives ? &arrival : NULL, e);
	registry_close(session.registry);
	return r;
}

int monitor_clone(struct registry *registry, const struct clone_source *source, const char *name, int starter)
{
	struct session session = {
		.registry = registry, .name = name, .source = source, .starter = starter, .plan = PLAN_NONE};
	struct error e;
	int r = live(&session, NULL, &e);

	if (r < 0)
		log_line(LOG_ERROR, "monitor", "%s", e.message);
	return r < 0 ? 1 : r;
}

static const struct option_spec monitor_options[MONITOR_OPTIONS] = {
	[MONITOR_STARTER] = {.name = "starter",
			     .letter = 's',
			     .type = OPTION_INTEGER,
			     .placeholder = "FD",
			     .minimum = 3,
			     .maximum = INT_MAX,
			     .help = "a socket at which somebody waits to hear that the machine runs"},
	[MONITOR_RESTORE] = {.name = "restore",
			     .letter = 'r',
			     .type = OPTION_PATH,
			     .placeholder = "FILE",
			     .help = "the machine goes on from this snapshot"},
	[MONITOR_EAGER] = {.name = "restore-eager",
			   .letter = 'e',
			   .type = OPTION_PATH,
			   .placeholder = "FILE",
			   .help = "the same, but all of it is read and checked before"},
	[MONITOR_ARRIVAL] = {.name = "arrival",
			     .letter = 'a',
			     .type = OPTION_STRING,
			     .placeholder = "TOKEN",
			     .help = "the machine arrives by a connection, descriptor 4, with a ballot, 5"},
};

static const struct verb_example examples[] = {
	{"doppel monitor web", "runs web in this process, without a terminal"},
	{NULL, NULL},
};

const struct verb verb_monitor = {
	.name = "monitor",
	.summary = "run a machine that was created, in this process",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_MACHINE,
	.description = "What doppel start starts. A service manager may run it itself.",
	.examples = examples,
	.options = monitor_options,
	.option_count = MONITOR_OPTIONS,
	.run = run,
};
