#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "cli/verb.h"
#include "engine/engine.h"

enum { VERSION_FORMAT, VERSION_OPTIONS };

static const struct option_spec options[VERSION_OPTIONS] = {
	[VERSION_FORMAT] = OPTION_FORMAT_ROW,
};

static int print_json(struct error *e)
{
	json_t *names = json_array(), *version = NULL;
	int r = -ENOMEM;

	for (const struct engine *const *engine = engines; names && *engine; engine++)
		json_array_append_new(names, json_string((*engine)->name));
	version = json_pack("{s:s, s:O}", "version", DOPPEL_VERSION, "engines", names);
	if (version)
		r = json_dumpf(version, stdout, JSON_INDENT(2)) < 0 ? -EIO : 0;
	putchar('\n');
	json_decref(version);
	json_decref(names);
	return r < 0 ? error_errno(e, r, "version") : 0;
}

static int run(const struct arguments *arguments, struct error *e)
{
	if (arguments->values[VERSION_FORMAT].number == FORMAT_JSON)
		return print_json(e);
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
	.description = "Prints the version. As JSON the engines of this build are named too.",
	.examples = examples,
	.options = options,
	.option_count = VERSION_OPTIONS,
	.run = run,
};
