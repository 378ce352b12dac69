#include <errno.h>
#include <stdio.h>

#include "cli/document.h"
#include "cli/named.h"
#include "cli/verb.h"
#include "monitor/monitor.h"

#define PATIENCE_MS 10000

enum { INSPECT_FORMAT, INSPECT_OPTIONS };

/* From its monitor, or what its record says. */
static int describe(struct named *named, json_t **out, struct error *e)
{
	if (named_is_alive(&named->record) &&
	    named_call(named, "inspected", "inspect", NULL, PATIENCE_MS, out, NULL) == 0)
		return 0;
	*out = monitor_describe(&named->record);
	return *out ? 0 : error_errno(e, -ENOMEM, "inspect");
}

static int inspect(struct named *named, const struct arguments *arguments, struct error *e)
{
	json_t *tree = NULL;
	int r = describe(named, &tree, e);

	named_close(named);
	if (r == 0)
		r = document_print(tree, (enum output_format)arguments->values[INSPECT_FORMAT].number, stdout, e);
	json_decref(tree);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	return named_do(arguments, inspect, e);
}

static const struct option_spec options[INSPECT_OPTIONS] = {
	[INSPECT_FORMAT] = OPTION_FORMAT_ROW,
};

static const struct verb_example examples[] = {
	{"doppel inspect web", "all that is known about web"},
	{"doppel inspect web --format json | jq -r .state", "its state, for a script"},
	{NULL, NULL},
};

const struct verb verb_inspect = {
	.name = "inspect",
	.summary = "tell all about a machine",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_MACHINE,
	.description = "What its monitor tells; of a machine at rest, what is left of it.",
	.examples = examples,
	.options = options,
	.option_count = INSPECT_OPTIONS,
	.run = run,
};
