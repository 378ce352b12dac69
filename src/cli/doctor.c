#include <errno.h>
#include <stdio.h>

#include "cli/check.h"
#include "cli/table.h"
#include "cli/verb.h"
#include "engine/engine.h"

enum { DOCTOR_TABLE, DOCTOR_OPTIONS = DOCTOR_TABLE + TABLE_OPTIONS };

static const struct option_spec options[DOCTOR_OPTIONS] = {
	TABLE_OPTION_ROWS(DOCTOR_TABLE),
};

static const struct column columns[] = {
	{.key = "status"},
	{.key = "check", .names = true},
	{.key = "finding"},
	{.key = "remedy", .joined = true},
};

static const struct {
	const char *name;
	enum text_tint tint;
} levels[] = {
	[FINDING_OK] = {"ok", TINT_GOOD},
	[FINDING_WARN] = {"warn", TINT_DOUBTFUL},
	[FINDING_MISSING] = {"missing", TINT_BAD},
};

static void add(struct table *table, const char *name, const struct finding *finding)
{
	table_tinted(table, levels[finding->level].name, levels[finding->level].tint);
	table_text(table, name);
	table_text(table, finding->text);
	table_text(table, finding->remedy);
}

/* An engine that works but is not preferred is worth a warning only when it knows a remedy. */
static bool add_engine(struct table *table, const struct engine *engine)
{
	struct engine_report report = {.usable = false};
	struct finding finding;
	char name[32];

	engine->probe(&report);
	finding_set(&finding, report.usable ? *report.remedy ? FINDING_WARN : FINDING_OK : FINDING_MISSING,
		    report.remedy, "%s", report.summary);
	snprintf(name, sizeof name, "engine %s", engine->name);
	add(table, name, &finding);
	return report.usable;
}

/* Fills the table; what is lacking for any guest at all, or NULL. */
static const char *examine(struct table *table)
{
	const char *lacking = NULL;
	bool any_engine = false;

	for (const struct check *check = checks; check->name; check++) {
		struct finding finding = {.level = FINDING_OK};

		check->look(&finding);
		add(table, check->name, &finding);
		if (check->required && finding.level == FINDING_MISSING)
			lacking = check->name;
	}
	for (const struct engine *const *engine = engines; *engine; engine++)
		any_engine |= add_engine(table, *engine);
	return any_engine ? lacking : "an engine";
}

static int run(const struct arguments *arguments, struct error *e)
{
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	const char *lacking;
	int r;

	if (!table)
		return error_errno(e, -ENOMEM, "doctor");
	lacking = examine(table);
	r = table_show(table, &arguments->values[DOCTOR_TABLE], e);
	table_free(table);
	if (r == 0 && lacking)
		return error_set(
			e, ERROR_FAILED, -ENODEV,
			"doctor: this host can not run a guest: %s is missing; see the remedy on its line",
			lacking);
	return r;
}

static const struct verb_example examples[] = {
	{"doppel doctor", "tells what this host offers and lacks, one line each"},
	{"doppel doctor --format json | jq '.[] | select(.status != \"ok\")'", "only what could be better"},
	{NULL, NULL},
};

const struct verb verb_doctor = {
	.name = "doctor",
	.summary = "tell what this host offers and lacks for running guests",
	.operands = "",
	.description =
		"Looks at the processor, the kernel, memory, devices and the tools that obtain images, and prints one "
		"line each: ok, warn or missing, what was found, and the remedy. Nothing is changed.\n\n"
		"Whether /dev/kvm is real is measured, for about 50 milliseconds: some hosts emulate it.\n\n"
		"Ends with status 1 when no guest can run here at all.",
	.examples = examples,
	.options = options,
	.option_count = DOCTOR_OPTIONS,
	.run = run,
};
