#include "cli/verb.h"

#include <string.h>

const struct verb *const verbs[] = {
	/* clang-format off */
	&verb_run,
	&verb_create,
	&verb_start,
	&verb_stop,
	&verb_restart,
	&verb_pause,
	&verb_resume,
	&verb_rm,
	&verb_ls,
	&verb_ps,
	&verb_top,
	&verb_profile,
	&verb_inspect,
	&verb_console,
	&verb_logs,
	&verb_exec,
	&verb_cp,
	&verb_port,
	&verb_set,
	&verb_snapshot,
	&verb_restore,
	&verb_clone,
	&verb_wait,
	&verb_events,
	&verb_history,
	&verb_migrate,
	&verb_receive,
	&verb_image,
	&verb_disk,
	&verb_schema,
	&verb_engines,
	&verb_doctor,
	&verb_help,
	&verb_version,
	NULL,
	/* clang-format on */
};

const char *const operand_names[OPERAND_KINDS] = {
	[OPERAND_IMAGE] = "image ls --quiet",
	[OPERAND_MACHINE] = "ls --quiet",
	[OPERAND_MACHINE_LIVE] = "ps --quiet",
	[OPERAND_MACHINE_RUNNING] = "ps --quiet --state running",
	[OPERAND_MACHINE_PAUSED] = "ps --quiet --state paused",
	[OPERAND_MACHINE_OVER] = "ls --quiet --state created --state stopped --state failed",
};

const char *const output_format_words[] = {[FORMAT_TABLE] = "table",
					   [FORMAT_JSON] = "json",
					   [FORMAT_YAML] = "yaml",
					   [FORMAT_CSV] = "csv",
					   NULL};

bool verb_takes(const struct verb *verb, size_t option)
{
	return option < verb->option_count && verb->options[option].scope <= verb->scope;
}

const char *verb_word(const struct verb *verb)
{
	const char *space = strrchr(verb->name, ' ');

	return space ? space + 1 : verb->name;
}

const struct verb *verb_find(const struct verb *const *table, const char *word)
{
	for (; *table; table++)
		if (strcmp(verb_word(*table), word) == 0)
			return *table;
	return NULL;
}
