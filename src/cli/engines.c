#include <errno.h>
#include <stdio.h>

#include "cli/table.h"
#include "cli/verb.h"
#include "engine/engine.h"

enum { ENGINES_TABLE, ENGINES_OPTIONS = ENGINES_TABLE + TABLE_OPTIONS };

static const struct option_spec options[ENGINES_OPTIONS] = {
	TABLE_OPTION_ROWS(ENGINES_TABLE),
};

static const struct column columns[] = {
	{.key = "name"},
	{.key = "arch"},
	{.key = "usable", .type = COLUMN_YES_NO},
	{.key = "preferred", .type = COLUMN_YES_NO},
	{.key = "summary"},
	{.key = "remedy", .joined = true},
};

static void add(struct table *table, const struct engine *engine)
{
	struct engine_report report = {.usable = false};

	engine->probe(&report);
	table_tinted(table, engine->name, report.usable ? TINT_GOOD : TINT_BAD);
	table_text(table, engine_arch_name(engine->arch));
	table_number(table, report.usable);
	table_number(table, report.preferred);
	table_text(table, report.summary);
	table_text(table, report.remedy);
}

static int run(const struct arguments *arguments, struct error *e)
{
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	int r;

	if (!table)
		return error_errno(e, -ENOMEM, "engines");
	for (const struct engine *const *engine = engines; *engine; engine++)
		add(table, *engine);
	r = table_show(table, &arguments->values[ENGINES_TABLE], e);
	table_free(table);
	return r;
}

static const struct verb_example examples[] = {
	{"doppel engines", "tells which engines run here, and how well"},
	{"doppel engines --format json", "the same for a program"},
	{NULL, NULL},
};

const struct verb verb_engines = {
	.name = "engines",
	.summary = "list what can execute guests on this host",
	.operands = "",
	.description =
		"An engine executes the virtual CPUs of one architecture. Each is asked to measure whether it "
		"works on this host; the first that is preferred is used unless run is told otherwise.",
	.examples = examples,
	.options = options,
	.option_count = ENGINES_OPTIONS,
	.run = run,
};
