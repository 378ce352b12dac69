#include <errno.h>
#include <stdio.h>

#include "cli/disk.h"
#include "cli/table.h"

enum { INFO_TABLE, INFO_IMAGE_FORMAT = INFO_TABLE + TABLE_OPTIONS, INFO_OPTIONS };

static const struct option_spec info_options[INFO_OPTIONS] = {
	TABLE_OPTION_ROWS(INFO_TABLE),
	[INFO_IMAGE_FORMAT] = DISK_FORMAT_ROW("format of the images; without it, by name and contents"),
};

static const struct column info_columns[] = {
	{.key = "file"},
	{.key = "format"},
	{.key = "size", .type = COLUMN_BYTES},
	{.key = "used", .type = COLUMN_BYTES},
	{.key = "cluster", .type = COLUMN_BYTES},
	{.key = "clusters", .type = COLUMN_COUNT},
	{.key = "compressed", .type = COLUMN_COUNT},
	{.key = "compression"},
	{.key = "snapshots", .type = COLUMN_COUNT},
	{.key = "state"},
	{.key = "backing"},
};

static const char *const format_names[] = {[BLOCK_FORMAT_AUTO] = "", [BLOCK_RAW] = "raw", [BLOCK_QCOW2] = "qcow2"};

static void add_state(struct table *table, const struct block_description *description)
{
	if (description->corrupt)
		table_tinted(table, "damaged", TINT_BAD);
	else if (description->dirty)
		table_tinted(table, "not closed", TINT_DOUBTFUL);
	else
		table_tinted(table, "good", TINT_GOOD);
}

static int add_info(struct table *table, const char *path, enum block_format format, struct error *e)
{
	struct block_description description;
	int r = block_describe(path, format, &description, e);

	if (r < 0)
		return r;
	table_text(table, path);
	table_text(table, format_names[description.format]);
	table_number(table, description.size);
	table_number(table, description.file_bytes);
	table_number(table, description.cluster_size);
	table_number(table, description.clusters_allocated);
	table_number(table, description.clusters_compressed);
	table_text(table,
		   description.format == BLOCK_QCOW2 ? disk_compression_words[description.compression] : "");
	table_number(table, description.snapshots);
	add_state(table, &description);
	table_text(table, description.backing);
	return 0;
}

static int run_info(const struct arguments *arguments, struct error *e)
{
	struct table *table = table_new(info_columns, ARRAY_SIZE(info_columns));
	const struct option_value *values = arguments->values;
	int r = table ? 0 : error_errno(e, -ENOMEM, "no memory");

	for (size_t i = 0; r == 0 && i < arguments->operand_count; i++)
		r = add_info(table, arguments->operands[i], disk_format(&values[INFO_IMAGE_FORMAT]), e);
	if (r == 0)
		r = table_show(table, &values[INFO_TABLE], e);
	table_free(table);
	return r < 0 ? error_prefix(e, r, "disk info") : 0;
}

enum { CHECK_TABLE, CHECK_IMAGE_FORMAT = CHECK_TABLE + TABLE_OPTIONS, CHECK_REPAIR, CHECK_OPTIONS };

static const struct option_spec check_options[CHECK_OPTIONS] = {
	TABLE_OPTION_ROWS(CHECK_TABLE),
	[CHECK_IMAGE_FORMAT] = DISK_FORMAT_ROW("format of the images; without it, by name and contents"),
	[CHECK_REPAIR] = {.name = "repair",
			  .letter = 'r',
			  .type = OPTION_FLAG,
			  .help = "put right what can be without losing data"},
};

static const struct column check_columns[] = {
	{.key = "file"},
	{.key = "state"},
	{.key = "corruptions", .type = COLUMN_COUNT},
	{.key = "leaks", .type = COLUMN_COUNT},
	{.key = "repaired", .type = COLUMN_COUNT},
};

static int add_check(struct table *table, const char *path, const struct option_value *values,
		     uint64_t *corruptions, struct error *e)
{
	struct block_check_result result;
	int r = block_check(path, disk_format(&values[CHECK_IMAGE_FORMAT]), values[CHECK_REPAIR].given, &result,
			    e);

	if (r < 0)
		return r;
	table_text(table, path);
	if (result.corruptions)
		table_tinted(table, "damaged", TINT_BAD);
	else if (result.leaked_clusters)
		table_tinted(table, "leaking", TINT_DOUBTFUL);
	else
		table_tinted(table, "good", TINT_GOOD);
	table_number(table, result.corruptions);
	table_number(table, result.leaked_clusters);
	table_number(table, result.repaired);
	*corruptions += result.corruptions;
	return 0;
}

static int run_check(const struct arguments *arguments, struct error *e)
{
	struct table *table = table_new(check_columns, ARRAY_SIZE(check_columns));
	const struct option_value *values = arguments->values;
	uint64_t corruptions = 0;
	int r = table ? 0 : error_errno(e, -ENOMEM, "no memory");

	for (size_t i = 0; r == 0 && i < arguments->operand_count; i++)
		r = add_check(table, arguments->operands[i], values, &corruptions, e);
	if (r == 0)
		r = table_show(table, &values[CHECK_TABLE], e);
	table_free(table);
	if (r == 0 && corruptions)
		r = error_set(e, ERROR_FAILED, -EIO, "something is damaged; %s",
			      values[CHECK_REPAIR].given ? "what is left can not be repaired without losing data"
							 : "doppel disk check --repair may mend it");
	return r < 0 ? error_prefix(e, r, "disk check") : 0;
}

static const struct verb_example info_examples[] = {
	{"doppel disk info work.qcow2", "tells its size, what it takes of the host, and what it stands over"},
	{"doppel disk info work.qcow2 --format json", "the same for a program"},
	{NULL, NULL},
};
static const struct verb_example check_examples[] = {
	{"doppel disk check work.qcow2", "tells whether its tables agree with each other"},
	{"doppel disk check work.qcow2 --repair", "and mends them where they do not"},
	{NULL, NULL},
};

const struct verb verb_disk_info = {
	.name = "disk info",
	.summary = "tell what disk images are",
	.operands = "FILE...",
	.operands_min = 1,
	.operands_max = 64,
	.description =
		"Tells the format and size of images, what they take of the host's disk, and what they stand over. An "
		"image that a machine uses is told as it was last written back.",
	.examples = info_examples,
	.options = info_options,
	.option_count = INFO_OPTIONS,
	.run = run_info,
};

const struct verb verb_disk_check = {
	.name = "disk check",
	.summary = "verify the tables of disk images, and repair them",
	.operands = "FILE...",
	.operands_min = 1,
	.operands_max = 64,
	.description =
		"Counts every reference to every cluster of a qcow2 image. A leak is room that nobody uses, as a "
		"machine that was killed may leave it: harmless. A corruption is a cluster that could be given away "
		"while in use, or a reference that leads nowhere: the status is 1 then. No machine may write the "
		"image meanwhile.",
	.examples = check_examples,
	.options = check_options,
	.option_count = CHECK_OPTIONS,
	.run = run_check,
};
