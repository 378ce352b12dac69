#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/machine_disk.h"
#include "cli/progress.h"
#include "cli/restore_file.h"
#include "cli/snapshots.h"
#include "cli/stop.h"
#include "cli/verb.h"
#include "monitor/monitor.h"

/* For a monitor that frees a large machine on a busy host. */
#define STOP_PATIENCE_MS 60000

enum { RESTORE_FORCE, RESTORE_EAGER, RESTORE_NO_CHECK, RESTORE_NAME, RESTORE_OPTIONS };

struct restoring {
	struct named *named;
	struct snapshot_chain *chain;
	const char *tag;
	bool force, eager, check;
};

static int end(struct named *named, struct error *e)
{
	int r = named_call(named, "stopped", "stop", json_pack("{s:i}", "timeout_ms", 0), STOP_PATIENCE_MS, NULL, e);

	named_close(named);
	return r;
}

/* Nobody starts it meanwhile. */
static int return_disk(const struct restoring *restoring, struct error *e)
{
	const char *layer = snapshots_layer(restoring->chain->files[0]->facts);
	char folder[PATH_MAX];
	int lock, r;

	if (!layer)
		return 0;
	r = registry_lock(restoring->named->registry, restoring->named->name, &lock, e);
	if (r < 0)
		return r;
	registry_folder_path(restoring->named->registry, restoring->named->name, folder);
	r = machine_disk_return(folder, layer, e);
	close(lock);
	return r;
}

static int start(const struct restoring *restoring, struct error *e)
{
	const struct named *named = restoring->named;
	char option[PATH_MAX + 32];

	snprintf(option, sizeof option, "--restore%s=%s", restoring->eager ? "-eager" : "", restoring->chain->files[0]->name);
	return monitor_start_with(named->registry, named->name, option, NULL, e);
}

static int check_all(const struct restoring *restoring, const char *doing, struct error *e)
{
	struct progress progress;
	int r;

	progress_init(&progress, stderr);
	progress.doing = doing;
	r = snapshot_chain_verify(restoring->chain, progress.redraw ? progress_bytes : NULL, &progress, e);
	progress_finish(&progress);
	return r;
}

/* The machine runs on memory that is read when it is touched. That brings the rest into the host's cache, and tells whether it
 * is what was saved; if not, the guest must not go on. */
static int check_rest(const struct restoring *restoring, struct error *e)
{
	int r;

	if (restoring->eager || !restoring->check)
		return 0;
	r = check_all(restoring, "checking the rest", e);
	if (r < 0 && end(restoring->named, NULL) == 0)
		r = error_prefix(e, r, "%s was stopped again", restoring->named->name);
	return r;
}

static int go_on(const struct restoring *restoring, struct error *e)
{
	int r = return_disk(restoring, e);

	if (r == 0)
		r = start(restoring, e);
	return r < 0 ? r : check_rest(restoring, e);
}

/* Not for a snapshot that turns out to be damaged, where all of that is read anyway. */
static int end_running(const struct restoring *restoring, struct error *e)
{
	int r = restoring->eager ? check_all(restoring, "checking", e) : 0;

	return r < 0 ? r : end(restoring->named, e);
}

static int refuse_running(const struct restoring *restoring, struct error *e)
{
	const struct named *named = restoring->named;

	return error_set(e, ERROR_STATE, -EBUSY, "%s is %s; what it did since %s would be lost: doppel restore --force %s %s does so",
			 named->name, machine_state_name(named->record.state), restoring->tag, named->name, restoring->tag);
}

static int restore_from(const struct restoring *restoring, struct error *e)
{
	int r = 0;

	/* What will be checked anyway is so before the machine that runs is ended for it. */
	if (restoring->check || restoring->eager)
		r = snapshot_chain_keep_rows(restoring->chain, e);
	if (r == 0 && !named_is_at_rest(&restoring->named->record))
		r = restoring->force ? end_running(restoring, e) : refuse_running(restoring, e);
	return r < 0 ? r : go_on(restoring, e);
}

static int restore(struct named *named, const struct arguments *arguments, struct error *e)
{
	struct snapshot_chain chain;
	const struct restoring restoring = {
		.named = named,
		.chain = &chain,
		.tag = arguments->operands[1],
		.force = arguments->values[RESTORE_FORCE].given,
		.eager = arguments->values[RESTORE_EAGER].given,
		.check = !arguments->values[RESTORE_NO_CHECK].given,
	};
	int r = snapshots_open(named->registry, named->name, restoring.tag, &chain, e);

	if (r < 0)
		return r;
	r = restore_from(&restoring, e);
	snapshot_chain_finish(&chain);
	snapshots_sweep(named->registry, named->name);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	const char *name = arguments->values[RESTORE_NAME].text;

	if (name && arguments->operand_count == 1)
		return restore_file(arguments->operands[0], name, arguments->values[RESTORE_EAGER].given, e);
	if (name)
		return error_set(e, ERROR_USAGE, -EINVAL, "--name is for a machine made of a file: doppel restore FILE --name %s",
				 name);
	if (arguments->operand_count == 1)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "which snapshot is meant? doppel snapshot ls %s lists them; a machine made of a file needs --name",
				 arguments->operands[0]);
	return named_do(arguments, restore, e);
}

static const struct option_spec options[RESTORE_OPTIONS] = {
	[RESTORE_FORCE] = {.name = "force",
			   .letter = 'f',
			   .type = OPTION_FLAG,
			   .help = "end the machine first, if it runs; what it did since is lost"},
	[RESTORE_EAGER] = {.name = "eager",
			   .letter = 'e',
			   .type = OPTION_FLAG,
			   .help = "read and check all of its memory before it goes on"},
	[RESTORE_NO_CHECK] = {.name = "no-check",
			      .letter = 'n',
			      .type = OPTION_FLAG,
			      .help = "return as soon as it runs, and leave what it has not touched yet unchecked"},
	[RESTORE_NAME] = {.name = "name",
			  .letter = 'N',
			  .type = OPTION_STRING,
			  .placeholder = "NEW",
			  .help = "make a machine of this name of a FILE that doppel snapshot export wrote"},
};

static const struct verb_example examples[] = {
	{"doppel restore web nightly", "web, which has ended, goes on as it was then"},
	{"doppel restore --force web nightly", "the same while it runs"},
	{"doppel restore web.snap --name web2", "web2 goes on as the machine did that was exported, maybe on another host"},
	{NULL, NULL},
};

const struct verb verb_restore = {
	.name = "restore",
	.summary = "let a machine go on from a snapshot",
	.operands = "NAME TAG | FILE",
	.operands_min = 1,
	.operands_max = 2,
	.operand_kind = OPERAND_MACHINE,
	.description =
		"The machine runs within milliseconds, on memory that is read from the snapshot when it is touched; meanwhile the "
		"rest is read and checked, and a machine whose memory turns out to be damaged is stopped. With --eager all of it is "
		"read before, and checked before a machine that runs is ended. The guest goes on amid "
		"what it did; only its wall clock tells that time has passed, and connections to others are lost.\n\n"
		"What was written to its disk since then is dropped.\n\n"
		"With --name, a new machine is made of a file of doppel snapshot export: all of it is checked, and unpacked into the "
		"machine's folder, before the machine runs.",
	.examples = examples,
	.options = options,
	.option_count = RESTORE_OPTIONS,
	.run = run,
};
