#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/document.h"
#include "cli/progress.h"
#include "cli/snapshots.h"
#include "cli/verb.h"

enum { INSPECT_FORMAT, INSPECT_VERIFY, INSPECT_OPTIONS };

static int verify(const struct snapshot_chain *chain, struct error *e)
{
	struct progress progress;
	int r;

	progress_init(&progress, stderr);
	progress.doing = "reading";
	r = snapshot_chain_verify(chain, progress_bytes, &progress, e);
	progress_finish(&progress);
	return r;
}

static json_t *describe(const struct snapshot_chain *chain)
{
	const struct snapshot *newest = chain->files[0];
	uint64_t counts[4] = {0};
	json_t *tree = json_deep_copy(newest->facts);
	char id[SNAPSHOT_ID_TEXT], created[CLOCK_TEXT];

	for (uint64_t row = 0; row < newest->header.pages; row++)
		counts[snapshot_kind(newest, row)]++;
	json_object_del(tree, "document");
	json_object_del(tree, "flows");
	snapshot_id_text(newest->header.id, id);
	json_object_set_new(tree, "id", json_string(id));
	clock_seconds_text((int64_t)(newest->header.created_ns / NS_PER_SECOND), created);
	json_object_set_new(tree, "created", json_string(created));
	json_object_set_new(tree, "packed", json_boolean(newest->header.flags & SNAPSHOT_PACKED));
	json_object_set_new(tree, "chain", json_integer(chain->count));
	json_object_set_new(tree, "state_bytes", json_integer((json_int_t)newest->state_length));
	json_object_set_new(tree, "pages",
			    json_pack("{s:I, s:I, s:I}", "stored", (json_int_t)counts[SNAPSHOT_PAGE_HERE], "zero",
				      (json_int_t)counts[SNAPSHOT_PAGE_ZERO], "unchanged",
				      (json_int_t)counts[SNAPSHOT_PAGE_PARENT]));
	return tree;
}

/* Finishes the chain. */
static int tell(struct snapshot_chain *chain, const struct arguments *arguments, struct error *e)
{
	json_t *tree;
	int r = arguments->values[INSPECT_VERIFY].given ? verify(chain, e) : 0;

	if (r == 0) {
		tree = describe(chain);
		r = document_print(tree, (enum output_format)arguments->values[INSPECT_FORMAT].number, stdout, e);
		json_decref(tree);
	}
	snapshot_chain_finish(chain);
	return r;
}

static int inspect(struct named *named, const struct arguments *arguments, struct error *e)
{
	struct snapshot_chain chain;
	int r = snapshots_open(named->registry, named->name, arguments->operands[1], &chain, e);

	return r < 0 ? r : tell(&chain, arguments, e);
}

static int inspect_file(const struct arguments *arguments, struct error *e)
{
	const char *path = arguments->operands[0];
	struct snapshot_chain chain;
	int r = snapshot_chain_load(&chain, path, e);

	if (r == -ENOENT && !strchr(path, '/'))
		return error_set(e, ERROR_NOT_FOUND, -ENOENT,
				 "there is no file %s; of a machine's snapshots name one: doppel snapshot ls %s lists them", path,
				 path);
	return r < 0 ? r : tell(&chain, arguments, e);
}

static int run_inspect(const struct arguments *arguments, struct error *e)
{
	return arguments->operand_count == 1 ? inspect_file(arguments, e) : named_do(arguments, inspect, e);
}

static const struct option_spec inspect_options[INSPECT_OPTIONS] = {
	[INSPECT_FORMAT] = OPTION_FORMAT_ROW,
	[INSPECT_VERIFY] = {.name = "verify",
			    .letter = 'v',
			    .type = OPTION_FLAG,
			    .help = "read all of its memory too, and compare it with what was saved"},
};

static const struct verb_example inspect_examples[] = {
	{"doppel snapshot inspect web nightly --verify", "what it is, and whether it is whole"},
	{"doppel snapshot inspect web.snap", "what a file of doppel snapshot export has, before a machine is made of it"},
	{NULL, NULL},
};

const struct verb verb_snapshot_inspect = {
	.name = "snapshot inspect",
	.summary = "tell what a snapshot has, and whether it is whole",
	.operands = "NAME TAG | FILE",
	.operands_min = 1,
	.operands_max = 2,
	.operand_kind = OPERAND_MACHINE,
	.description = "Everything but the memory is read and checked in any case.",
	.examples = inspect_examples,
	.options = inspect_options,
	.option_count = INSPECT_OPTIONS,
	.run = run_inspect,
};
