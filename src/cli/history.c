#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/document.h"
#include "cli/table.h"
#include "cli/verb.h"
#include "registry/registry.h"

enum { HISTORY_FORMAT, HISTORY_OPTIONS };

/* All entries, {"time", "machine", "event", ...}, as an array. */
struct gathered {
	const char *machine;
	json_t *entries;
};

static void gather(void *context, const char *line)
{
	struct gathered *gathered = context;
	json_t *entry = json_loads(line, 0, NULL);

	if (entry)
		json_object_set_new(entry, "machine", json_string(gathered->machine));
	json_array_append_new(gathered->entries, entry);
}

/* A whole name comes first, also that of a machine that is gone; then beginnings of names that are there. */
static int read_one(struct registry *registry, const char *text, json_t *entries, struct error *e)
{
	char name[REGISTRY_NAME_SIZE];
	struct gathered gathered = {text, entries};
	int r = registry_history_read(registry, text, gather, &gathered, e);

	if (r != -ENOENT)
		return r;
	r = registry_find(registry, text, name, e);
	if (r == -ENOENT)
		r = registry_history_find(registry, text, name, e);
	gathered.machine = name;
	return r < 0 ? r : registry_history_read(registry, name, gather, &gathered, e);
}

static int read_all(struct registry *registry, json_t *entries, struct error *e)
{
	char (*names)[REGISTRY_NAME_SIZE];
	size_t count;
	int r = registry_history_names(registry, &names, &count, e);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < count; i++)
		r = read_one(registry, names[i], entries, e);
	free(names);
	return r;
}

static const char *text_of(const json_t *entry, const char *key)
{
	const char *text = json_string_value(json_object_get(entry, key));

	return text ? text : "";
}

static int by_time(const void *a, const void *b)
{
	const json_t *const *one = a, *const *other = b;

	return strcmp(text_of(*one, "time"), text_of(*other, "time"));
}

/* A new array in the order of time. */
static json_t *sorted(const json_t *entries)
{
	size_t count = json_array_size(entries);
	json_t **order = calloc(count + 1, sizeof *order), *out = json_array();

	for (size_t i = 0; order && i < count; i++)
		order[i] = json_array_get(entries, i);
	if (order)
		qsort(order, count, sizeof *order, by_time);
	for (size_t i = 0; order && i < count; i++)
		json_array_append(out, order[i]);
	free(order);
	return out;
}

static const struct column columns[] = {
	{.key = "time"}, {.key = "machine"}, {.key = "event"}, {.key = "details"},
};

/* What an entry has besides its first three columns: "exit_code=3 forced=true". */
static void add_details(struct table *table, json_t *entry)
{
	char text[512] = "";
	size_t used = 0;
	const char *key;
	json_t *value;

	json_object_foreach(entry, key, value) {
		char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		int length = 0;

		if (shown && strcmp(key, "time") != 0 && strcmp(key, "machine") != 0 && strcmp(key, "event") != 0)
			length = snprintf(text + used, sizeof text - used, "%s%s=%s", used ? " " : "", key, shown);
		free(shown);
		used += (size_t)length < sizeof text - used ? (size_t)length : sizeof text - used - 1;
	}
	table_text(table, text);
}

static int print_table(const json_t *entries, enum output_format format, struct error *e)
{
	struct table *table = table_new(columns, sizeof columns / sizeof *columns);
	int r;

	if (!table)
		return error_errno(e, -ENOMEM, "history");
	for (size_t i = 0; i < json_array_size(entries); i++) {
		json_t *entry = json_array_get(entries, i);

		for (unsigned c = 0; c < 3; c++)
			table_text(table, text_of(entry, columns[c].key));
		add_details(table, entry);
	}
	r = table_print(table, format, false, stdout, e);
	table_free(table);
	return r;
}

static int print(const json_t *entries, enum output_format format, struct error *e)
{
	json_t *in_order = sorted(entries);
	int r;

	if (format == FORMAT_JSON || format == FORMAT_YAML)
		r = document_print(in_order, format, stdout, e);
	else
		r = print_table(in_order, format, e);
	json_decref(in_order);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	struct registry *registry;
	json_t *entries = json_array();
	int r = registry_open(&registry, e);

	if (r == 0 && arguments->operand_count == 0)
		r = read_all(registry, entries, e);
	for (size_t i = 0; r == 0 && i < arguments->operand_count; i++)
		r = read_one(registry, arguments->operands[i], entries, e);
	if (r == 0)
		r = print(entries, (enum output_format)arguments->values[HISTORY_FORMAT].number, e);
	json_decref(entries);
	registry_close(registry);
	return r;
}

static const struct option_spec options[HISTORY_OPTIONS] = {
	[HISTORY_FORMAT] = OPTION_FORMAT_ROW,
};

static const struct verb_example examples[] = {
	{"doppel history web", "what was done to web, and when, also after it was removed"},
	{"doppel history", "the same of all machines that ever were"},
	{NULL, NULL},
};

const struct verb verb_history = {
	.name = "history",
	.summary = "tell what was done to machines, also after they are gone",
	.operands = "[NAME...]",
	.operands_max = NAMED_MAX,
	.operand_kind = OPERAND_MACHINE,
	.description = "The oldest first. A machine that was removed is named in full.",
	.examples = examples,
	.options = options,
	.option_count = HISTORY_OPTIONS,
	.run = run,
};
