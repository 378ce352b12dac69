/* The verbs ls and ps: the machines of this host, as their records tell without asking their monitors. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/table.h"
#include "cli/verb.h"
#include "registry/registry.h"

enum { LS_TABLE, LS_STATE = LS_TABLE + TABLE_OPTIONS, LS_OPTIONS, PS_ALL = LS_OPTIONS, PS_OPTIONS };

static const char *state_word(size_t index)
{
	return index <= MACHINE_FAILED ? machine_state_name((enum machine_state)index) : NULL;
}

#define STATE_ROW                                                                                                 \
	[LS_STATE] = {.name = "state",                                                                            \
		      .letter = 's',                                                                              \
		      .type = OPTION_ENUM,                                                                        \
		      .repeatable = true,                                                                         \
		      .placeholder = "STATE",                                                                     \
		      .word = state_word,                                                                         \
		      .help = "only machines in this state"}

static const struct option_spec ls_options[LS_OPTIONS] = {TABLE_OPTION_ROWS(LS_TABLE), STATE_ROW};
static const struct option_spec ps_options[PS_OPTIONS] = {
	TABLE_OPTION_ROWS(LS_TABLE),
	STATE_ROW,
	[PS_ALL] = {.name = "all", .letter = 'a', .type = OPTION_FLAG, .help = "those that do not run too, as ls"},
};

static const struct column columns[] = {
	{.key = "name"},
	{.key = "state"},
	{.key = "cpus", .type = COLUMN_COUNT},
	{.key = "memory", .type = COLUMN_BYTES},
	{.key = "image"},
	{.key = "since", .type = COLUMN_SECONDS},
	{.key = "created", .programs = true},
	{.key = "pid", .type = COLUMN_COUNT, .programs = true},
	{.key = "foreground", .type = COLUMN_YES_NO, .programs = true},
	{.key = "stalled", .type = COLUMN_YES_NO, .programs = true},
	{.key = "exit_code", .type = COLUMN_COUNT, .programs = true},
	{.key = "note"},
};

static const enum text_tint state_tints[] = {
	[MACHINE_CREATED] = TINT_NONE, [MACHINE_RUNNING] = TINT_GOOD, [MACHINE_PAUSED] = TINT_DOUBTFUL,
	[MACHINE_STOPPED] = TINT_NONE, [MACHINE_FAILED] = TINT_BAD,
};

static void add_time(struct table *table, int64_t seconds)
{
	char text[CLOCK_TEXT];

	clock_seconds_text(seconds, text);
	if (*text)
		table_text(table, text);
	else
		table_nothing(table);
}

/* A number that only some states have. */
static void add_number(struct table *table, bool known, uint64_t number)
{
	if (known)
		table_number(table, number);
	else
		table_nothing(table);
}

static void add_note(struct table *table, const struct record *record)
{
	char text[32] = "";

	if (record->state == MACHINE_STOPPED && record->exit_code)
		snprintf(text, sizeof text, "ended with status %d", record->exit_code);
	if (record->state == MACHINE_FAILED)
		table_text(table, record->message);
	else if (record->stalled)
		table_text(table, "waits for room on the host's disk");
	else
		table_text(table, text);
}

static void add(struct table *table, const struct record *record, int64_t now)
{
	table_text(table, record->name);
	table_tinted(table, machine_state_name(record->state), state_tints[record->state]);
	add_number(table, record->cpus > 0, record->cpus);
	add_number(table, record->memory_bytes > 0, record->memory_bytes);
	table_text(table, record->image);
	add_number(table, record->changed_s > 0 && record->changed_s <= now, (uint64_t)(now - record->changed_s));
	add_time(table, record->created_s);
	add_number(table, record->monitor > 0, (uint64_t)record->monitor);
	table_number(table, record->foreground);
	table_number(table, record->stalled);
	add_number(table, record->state == MACHINE_STOPPED, (uint64_t)record->exit_code);
	add_note(table, record);
}

/* A bit a state. */
static unsigned states_wanted(const struct arguments *arguments, unsigned otherwise)
{
	unsigned wanted = 0;
	const char *word;
	size_t cursor = 0;

	while ((word = arguments_next(arguments, LS_STATE, &cursor)))
		for (size_t i = 0; state_word(i); i++)
			wanted |= strcmp(word, state_word(i)) == 0 ? 1u << i : 0;
	return wanted ? wanted : otherwise;
}

/* Which machines the operands mean; all without any. */
static int names_wanted(struct registry *registry, const struct arguments *arguments,
			char (**names)[REGISTRY_NAME_SIZE], struct error *e)
{
	int r = 0;

	*names = calloc(arguments->operand_count + 1, sizeof **names);
	if (!*names)
		return error_errno(e, -ENOMEM, "the names of machines");
	for (size_t i = 0; r == 0 && i < arguments->operand_count; i++)
		r = registry_find(registry, arguments->operands[i], (*names)[i], e);
	return r;
}

static bool is_wanted(const char *name, const char (*names)[REGISTRY_NAME_SIZE], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return count == 0;
}

static int fill(struct table *table, struct registry *registry, const struct arguments *arguments, unsigned states,
		struct error *e)
{
	char(*names)[REGISTRY_NAME_SIZE] = NULL;
	struct record *records = NULL;
	size_t count = 0;
	int r = names_wanted(registry, arguments, &names, e);

	if (r == 0)
		r = registry_list(registry, &records, &count, e);
	for (size_t i = 0; r == 0 && i < count; i++)
		if (states >> records[i].state & 1 &&
		    is_wanted(records[i].name, (const char(*)[REGISTRY_NAME_SIZE])names, arguments->operand_count))
			add(table, &records[i], (int64_t)time(NULL));
	free(records);
	free(names);
	return r;
}

static int list(const struct arguments *arguments, unsigned states, struct error *e)
{
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	struct registry *registry = NULL;
	int r = table ? registry_open(&registry, e) : error_errno(e, -ENOMEM, "a table");

	if (r == 0)
		r = fill(table, registry, arguments, states_wanted(arguments, states), e);
	if (r == 0)
		r = table_show(table, &arguments->values[LS_TABLE], e);
	registry_close(registry);
	table_free(table);
	return r < 0 ? error_prefix(e, r, "%s", arguments->verb->name) : 0;
}

static int run_ls(const struct arguments *arguments, struct error *e)
{
	return list(arguments, UINT32_MAX, e);
}

static int run_ps(const struct arguments *arguments, struct error *e)
{
	bool all = arguments->values[PS_ALL].given || arguments->operand_count;

	return list(arguments, all ? UINT32_MAX : 1u << MACHINE_RUNNING | 1u << MACHINE_PAUSED, e);
}

static const struct verb_example ls_examples[] = {
	{"doppel ls", "all machines that have a name"},
	{"doppel ls --state failed", "those that need a look"},
	{"doppel ls --format json | jq -r '.[] | select(.memory > 2147483648) | .name'",
	 "names of those with more than 2 GiB"},
	{NULL, NULL},
};

static const struct verb_example ps_examples[] = {
	{"doppel ps", "the machines that run now"},
	{"doppel ps -q", "only their names, for a script"},
	{NULL, NULL},
};

const struct verb verb_ls = {
	.name = "ls",
	.summary = "list all machines that have a name",
	.operands = "[NAME...]",
	.operands_max = 1024,
	.operand_kind = OPERAND_MACHINE,
	.description =
		"Prints a line for each machine: state, CPUs, memory, what it was made from, and for how long it has been in "
		"this state. No machine is asked: that a monitor was killed shows all the same, as failed.",
	.examples = ls_examples,
	.options = ls_options,
	.option_count = LS_OPTIONS,
	.run = run_ls,
};

const struct verb verb_ps = {
	.name = "ps",
	.summary = "list the machines that run or are paused",
	.operands = "[NAME...]",
	.operands_max = 1024,
	.operand_kind = OPERAND_MACHINE_LIVE,
	.description = "As ls, but without an operand only machines that run or are paused.",
	.examples = ps_examples,
	.options = ps_options,
	.option_count = PS_OPTIONS,
	.run = run_ps,
};
