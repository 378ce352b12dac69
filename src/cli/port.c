#include <errno.h>

#include "cli/named.h"
#include "cli/table.h"
#include "cli/verb.h"

#define PATIENCE_MS 10000

enum { PORT_TABLE, PORT_OPTIONS = PORT_TABLE + TABLE_OPTIONS };

static const struct column columns[] = {
	{.key = "protocol"},
	{.key = "address"},
	{.key = "host_port", .type = COLUMN_COUNT, .names = true},
	{.key = "guest_port", .type = COLUMN_COUNT},
};

static void add_row(struct table *table, const json_t *port)
{
	const char *protocol = json_string_value(json_object_get(port, "protocol"));
	const char *address = json_string_value(json_object_get(port, "address"));

	table_text(table, protocol ? protocol : "");
	table_text(table, address ? address : "");
	table_number(table, (uint64_t)json_integer_value(json_object_get(port, "host_port")));
	table_number(table, (uint64_t)json_integer_value(json_object_get(port, "guest_port")));
}

static int show(const json_t *ports, const struct option_value *options, struct error *e)
{
	struct table *table = table_new(columns, sizeof columns / sizeof *columns);
	int r;

	if (!table)
		return error_errno(e, -ENOMEM, "port");
	for (size_t i = 0; i < json_array_size(ports); i++)
		add_row(table, json_array_get(ports, i));
	r = table_show(table, options, e);
	table_free(table);
	return r;
}

static int show_ports(struct named *named, void *context, struct error *e)
{
	const struct arguments *arguments = context;
	json_t *tree = NULL;
	int r = named_call(named, "asked for its ports", "inspect", NULL, PATIENCE_MS, &tree, e);

	if (r == 0)
		r = show(json_object_get(tree, "ports"), &arguments->values[PORT_TABLE], e);
	json_decref(tree);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	return named_each(arguments, false, NULL, show_ports, (void *)arguments, e);
}

static const struct option_spec options[PORT_OPTIONS] = {TABLE_OPTION_ROWS(PORT_TABLE)};

static const struct verb_example examples[] = {
	{"doppel port web", "which ports of this host lead to web"},
	{NULL, NULL},
};

const struct verb verb_port = {
	.name = "port",
	.summary = "list the ports of this host that lead to a machine",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_MACHINE_LIVE,
	.description = "Published ports with the ports of the host that were really taken.",
	.examples = examples,
	.options = options,
	.option_count = PORT_OPTIONS,
	.run = run,
};
