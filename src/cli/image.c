#include "image/image.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "cli/progress.h"
#include "cli/table.h"
#include "cli/verb.h"

enum { LS_FORMAT, LS_OPTIONS };

static const struct option_spec ls_options[LS_OPTIONS] = {
	[LS_FORMAT] = OPTION_FORMAT_ROW,
};

static const struct column columns[] = {
	{.key = "name"},    {.key = "arch"}, {.key = "state"}, {.key = "size", .type = COLUMN_BYTES},
	{.key = "version"}, {.key = "made"}, {.key = "about"},
};

static const enum text_tint state_tints[IMAGE_STATES] = {
	[IMAGE_ABSENT] = TINT_NONE,
	[IMAGE_READY] = TINT_GOOD,
	[IMAGE_STALE] = TINT_DOUBTFUL,
	[IMAGE_DAMAGED] = TINT_BAD,
};

/* ISO 8601 in UTC, to the minute; empty for 0. */
static void format_time(int64_t seconds, char *out, size_t size)
{
	time_t time = (time_t)seconds;
	struct tm parts;

	out[0] = '\0';
	if (seconds > 0 && gmtime_r(&time, &parts))
		strftime(out, size, "%Y-%m-%dT%H:%MZ", &parts);
}

static int add(struct table *table, const struct image_recipe *recipe, struct error *e)
{
	struct image_status status;
	char made[32];
	int r = image_status(recipe, &status, e);

	if (r < 0)
		return r;
	format_time(status.made, made, sizeof made);
	table_text(table, recipe->name);
	table_text(table, recipe->architecture);
	table_tinted(table, image_state_words[status.state], state_tints[status.state]);
	table_number(table, status.bytes);
	table_text(table, status.version);
	table_text(table, made);
	table_text(table, recipe->help);
	return 0;
}

static int run_ls(const struct arguments *arguments, struct error *e)
{
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	int r = 0;

	if (!table)
		return error_errno(e, -ENOMEM, "image ls");
	for (const struct image_recipe *const *recipe = image_recipes; r == 0 && *recipe; recipe++)
		r = add(table, *recipe, e);
	if (r == 0)
		r = table_print(table, (enum output_format)arguments->values[LS_FORMAT].number, stdout, e);
	table_free(table);
	return r < 0 ? error_prefix(e, r, "image ls") : 0;
}

static int pull(const char *name, struct error *e)
{
	const struct image_recipe *recipe = image_recipe_find(name, e);
	struct image_status status;
	char size[TABLE_BYTES_SIZE];
	bool fresh = false;
	int r = -ENOENT;

	if (recipe)
		r = progress_pull(recipe, &fresh, e);
	if (r == 0)
		r = image_status(recipe, &status, e);
	if (r < 0)
		return r;
	table_format_bytes(status.bytes, size);
	printf("%s: %s, kernel %s, %s\n", name, fresh ? "ready" : "ready already", status.version, size);
	return 0;
}

static int run_pull(const struct arguments *arguments, struct error *e)
{
	int r = pull(arguments->operands[0], e);

	return r < 0 ? error_prefix(e, r, "image pull") : 0;
}

static int run_rm(const struct arguments *arguments, struct error *e)
{
	const char *name = arguments->operands[0];
	const struct image_recipe *recipe = image_recipe_find(name, e);
	char size[TABLE_BYTES_SIZE];
	uint64_t bytes = 0;
	int r = recipe ? image_remove(recipe, &bytes, e) : -ENOENT;

	if (r < 0)
		return error_prefix(e, r, "image rm");
	table_format_bytes(bytes, size);
	printf("%s: removed, %s free again\n", name, size);
	return 0;
}

static const struct verb_example ls_examples[] = {
	{"doppel image ls", "tells which images there are, and which of them are here"},
	{NULL, NULL},
};
static const struct verb_example pull_examples[] = {
	{"doppel image pull debian-tiny", "obtains a Debian kernel and makes a small system around it"},
	{NULL, NULL},
};
static const struct verb_example rm_examples[] = {
	{"doppel image rm debian-tiny", "gives its room back; a later pull makes it anew"},
	{NULL, NULL},
};

static const struct verb verb_ls = {
	.name = "image ls",
	.summary = "list the images there are, and which of them are here",
	.operands = "",
	.description =
		"An image is absent, ready, stale (made by another version of Doppel) or damaged; a pull makes "
		"any of them ready. The files of each image that is here are verified.",
	.examples = ls_examples,
	.options = ls_options,
	.option_count = LS_OPTIONS,
	.run = run_ls,
};

static const struct verb verb_pull = {
	.name = "image pull",
	.summary = "obtain an image, or mend it",
	.operands = "IMAGE",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_IMAGE,
	.description =
		"Obtains the packages of an image with apt from the mirror that this host uses, verifies "
		"their signatures, and makes the image. An interrupted pull goes on where it was. An image that "
		"is ready is left alone, without asking the network.",
	.examples = pull_examples,
	.run = run_pull,
};

static const struct verb verb_rm = {
	.name = "image rm",
	.summary = "delete an image and what it was made from",
	.operands = "IMAGE",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_IMAGE,
	.description =
		"Deletes all that pulls of this image left in the cache. Status 3 when there is nothing of it.",
	.examples = rm_examples,
	.run = run_rm,
};

static const struct verb *const image_verbs[] = {&verb_ls, &verb_pull, &verb_rm, NULL};

const struct verb verb_image = {
	.name = "image",
	.summary = "list, obtain and delete guest images",
	.operands = "",
	.description =
		"An image is a kernel and an initial file system that doppel run boots by name. It is made on this "
		"host out of Debian packages and kept in the cache directory.",
	.verbs = image_verbs,
};
