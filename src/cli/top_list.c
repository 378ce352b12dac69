/* The list of machines, and the page of one. */
#include <stdlib.h>
#include <string.h>

#include "base/types.h"
#include "cli/figures.h"
#include "cli/top.h"
#include "engine/engine.h"

const char *const top_orders[] = {
	[TOP_CPU] = "cpu",     [TOP_MEMORY] = "memory", [TOP_DISK] = "disk", [TOP_NETWORK] = "network",
	[TOP_EXITS] = "exits", [TOP_NAME] = "name",     [TOP_ORDERS] = NULL,
};

/* What machines are ordered by: the sum of two figures. */
static const struct {
	const char *group, *first, *second;
} measures[TOP_ORDERS] = {
	[TOP_CPU] = {"cpu", "percent", ""},       [TOP_MEMORY] = {"memory", "resident", ""},
	[TOP_DISK] = {"disk", "read", "written"}, [TOP_NETWORK] = {"network", "in", "out"},
	[TOP_EXITS] = {"exits", "total", ""},     [TOP_NAME] = {"", "", ""},
};

struct ranked {
	json_t *figures;
	double measure;
	size_t index; /* by name */
};

static int compare(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	if (x->measure > y->measure || x->measure < y->measure)
		return x->measure > y->measure ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

json_t *top_list(const struct watch *watch, enum top_order order)
{
	size_t count = watch_count(watch);
	struct ranked *ranked = calloc(count + 1, sizeof *ranked);
	json_t *list = json_array();

	for (size_t i = 0; ranked && i < count; i++) {
		json_t *figures = figures_of(watch_machine(watch, i));

		ranked[i] = (struct ranked){figures, 0, i};
		ranked[i].measure = figures_number(figures, measures[order].group, measures[order].first) +
				    figures_number(figures, measures[order].group, measures[order].second);
	}
	if (ranked)
		qsort(ranked, count, sizeof *ranked, compare);
	for (size_t i = 0; ranked && i < count; i++)
		json_array_append_new(list, ranked[i].figures);
	free(ranked);
	return list;
}

/* Behind name and state, and before the note, what `sources` says. */
static const struct column columns[] = {
	{.key = "name"},
	{.key = "state"},
	{.key = "cpu_percent", .type = COLUMN_REAL},
	{.key = "resident", .type = COLUMN_BYTES},
	{.key = "given", .type = COLUMN_BYTES},
	{.key = "balloon", .type = COLUMN_BYTES},
	{.key = "shared", .type = COLUMN_BYTES, .programs = true},
	{.key = "read", .type = COLUMN_BYTES},
	{.key = "written", .type = COLUMN_BYTES},
	{.key = "in", .type = COLUMN_BYTES},
	{.key = "out", .type = COLUMN_BYTES},
	{.key = "exits", .type = COLUMN_COUNT},
	{.key = "note"},
};

#define FIRST_SOURCE 2
static const struct {
	const char *group, *key;
} sources[] = {
	{"cpu", "percent"},   {"memory", "resident"}, {"memory", "given"}, {"memory", "ballooned"},
	{"memory", "shared"}, {"disk", "read"},       {"disk", "written"}, {"network", "in"},
	{"network", "out"},   {"exits", "total"},
};
_Static_assert(ARRAY_SIZE(columns) == FIRST_SOURCE + ARRAY_SIZE(sources) + 1, "a source for each figure");

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void add_row(struct table *table, const json_t *figures)
{
	const char *trouble = text_of(figures, "trouble");

	table_text(table, text_of(figures, "name"));
	table_text(table, text_of(figures, "state"));
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		const json_t *value = json_object_get(json_object_get(figures, sources[i].group), sources[i].key);

		if (!json_is_number(value))
			table_nothing(table);
		else if (columns[FIRST_SOURCE + i].type == COLUMN_REAL)
			table_real(table, json_number_value(value));
		else
			table_number(table, (uint64_t)(json_number_value(value) + 0.5));
	}
	if (!*trouble && json_is_true(json_object_get(figures, "stalled")))
		trouble = "waits for room on the host's disk";
	table_tinted(table, trouble, TINT_BAD);
}

struct table *top_table(const json_t *figures)
{
	struct table *table = table_new(columns, ARRAY_SIZE(columns));

	for (size_t i = 0; table && i < json_array_size(figures); i++)
		add_row(table, json_array_get(figures, i));
	return table;
}
