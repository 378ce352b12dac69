#include <errno.h>
#include <unistd.h>

#include "cli/named.h"
#include "cli/verb.h"

/* For a monitor that frees a large machine on a busy host. */
#define REMOVE_PATIENCE_MS 60000

enum { REMOVE_FORCE, REMOVE_ALL, REMOVE_OPTIONS };

static int force_stop(struct named *named, struct error *e)
{
	json_t *with = json_pack("{s:i}", "timeout_ms", 0);
	int r = named_call(named, "stopped", "stop", with, REMOVE_PATIENCE_MS, NULL, e);

	named_close(named);
	return r;
}

static void note_removal(struct named *named)
{
	int fd;

	if (registry_history_open(named->registry, named->name, &fd, NULL) < 0)
		return;
	(void)!registry_history_add(fd, "removed", NULL, NULL);
	close(fd);
}

static int remove_one(struct named *named, void *context, struct error *e)
{
	const struct arguments *arguments = context;
	int r = 0;

	if (named_is_alive(&named->record) && arguments->values[REMOVE_FORCE].given)
		r = force_stop(named, e);
	else if (named_is_alive(&named->record))
		r = error_set(e, ERROR_STATE, -EBUSY, "%s is %s and can not be removed; doppel rm --force %s stops it first",
			      named->name, machine_state_name(named->record.state), named->name);
	if (r == 0)
		r = registry_remove(named->registry, named->name, e);
	if (r == 0)
		note_removal(named);
	return r;
}

static bool is_any(const struct record *record)
{
	(void)record;
	return true;
}

static int run(const struct arguments *arguments, struct error *e)
{
	return named_each(arguments, arguments->values[REMOVE_ALL].given,
			  arguments->values[REMOVE_FORCE].given ? is_any : named_is_at_rest, remove_one, (void *)arguments, e);
}

static const struct option_spec options[REMOVE_OPTIONS] = {
	[REMOVE_FORCE] = {.name = "force",
			  .letter = 'f',
			  .type = OPTION_FLAG,
			  .help = "switch off what still runs"},
	[REMOVE_ALL] = OPTION_ALL_ROW("all machines that are at rest; with --force those that are not, too"),
};

static const struct verb_example examples[] = {
	{"doppel rm web", "web and all that was made for it is gone, but doppel history web still tells of it"},
	{"doppel rm --force web", "the same while web still runs"},
	{NULL, NULL},
};

const struct verb verb_rm = {
	.name = "rm",
	.summary = "remove machines that are at rest",
	.operands = "[NAME...]",
	.operands_max = NAMED_MAX,
	.operand_kind = OPERAND_MACHINE,
	.description = "Removes the machine's configuration, logs, and the disks that were made for it. Its history stays. "
		       "Disks and folders that it was given stay too.",
	.examples = examples,
	.options = options,
	.option_count = REMOVE_OPTIONS,
	.run = run,
};
