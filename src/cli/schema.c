#include "config/schema.h"

#include <errno.h>
#include <stdio.h>

#include "cli/machine_document.h"
#include "cli/verb.h"

static int run(const struct arguments *arguments, struct error *e)
{
	json_t *schema = schema_make(&machine_kind);
	int r = schema && json_dumpf(schema, stdout, JSON_INDENT(2)) == 0 && fputc('\n', stdout) != EOF ? 0 : -EIO;

	(void)arguments;
	json_decref(schema);
	return r < 0 ? error_errno(e, r, "schema") : 0;
}

static const struct verb_example examples[] = {
	{"doppel schema > machine.schema.json", "for an editor that checks and completes documents while they are written"},
	{NULL, NULL},
};

const struct verb verb_schema = {
	.name = "schema",
	.summary = "print the JSON Schema of a machine's document",
	.operands = "",
	.description =
		"Prints what may stand in a document that doppel create and doppel run take with --file, as a JSON Schema "
		"(draft 2020-12). It is made of the table that the options come from.",
	.examples = examples,
	.run = run,
};
