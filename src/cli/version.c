#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "cli/document.h"
#include "cli/verb.h"
#include "engine/engine.h"

enum { VERSION_FORMAT, VERSION_OPTIONS };

static const struct option_spec options[VERSION_OPTIONS] = {
	[VERSION_FORMAT] = OPTION_FORMAT_ROW,
};

static int print_tree(enum output_format format, struct error *e)
{
	json_t *names = json_array(), *version = NULL;
	int r;

	for (const struct engine *const *engine = engines; names && *engine; engine++)
		json_array_append_new(names, json_string((*engine)->name));
	version = json_pack("{s:s, s:O}", "version", DOPPEL_VERSION, "engines", names);
	r = version ? document_print(version, format, stdout, e) : error_errno(e, -ENOMEM, "version");
	json_decref(version);
	json_decref(names);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	enum output_format format = (enum output_format)arguments->values[VERSION_FORMAT].number;

	if (format != FORMAT_TABLE)
		return print_tree(format, e);
	printf("doppel %s\n", DOPPEL_VERSION);
	return 0;
}

static const struct verb_example examples[] = {
	{"doppel version", "prints the name and the version, one line"},
	{NULL, NULL},
};

const struct verb verb_version = {
	.name = "version",
	.summary = "tell which Doppel this is",
	.operands = "",
	.description = "Prints the version. For programs the engines of this build are named too.",
	.examples = examples,
	.options = options,
	.option_count = VERSION_OPTIONS,
	.run = run,
};
