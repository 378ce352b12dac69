#include <errno.h>
#include <stdio.h>

#include "cli/disk.h"
#include "cli/progress.h"
#include "cli/table.h"

enum {
	CONVERT_NEW,
	CONVERT_FROM = CONVERT_NEW + DISK_NEW_OPTIONS,
	CONVERT_COMPRESS,
	CONVERT_ANYWHERE,
	CONVERT_PREALLOCATE,
	CONVERT_OPTIONS,
};

static const struct option_spec options[CONVERT_OPTIONS] = {
	DISK_NEW_ROWS,
	[CONVERT_FROM] = {.name = "from-format",
			  .letter = 'F',
			  .type = OPTION_ENUM,
			  .placeholder = "FORMAT",
			  .words = disk_format_words,
			  .help = "format of the image to copy; without it, by name and contents"},
	[CONVERT_COMPRESS] = {.name = "compress",
			      .letter = 'C',
			      .type = OPTION_FLAG,
			      .help = "compress the clusters of the new qcow2 image"},
	[CONVERT_ANYWHERE] = {.name = "backing-anywhere",
			      .letter = 'a',
			      .type = OPTION_FLAG,
			      .help = "backing files of the image may lie outside of its folder"},
	[CONVERT_PREALLOCATE] = {.name = "preallocate",
				 .letter = 'p',
				 .type = OPTION_FLAG,
				 .help = "set all the room of the new image aside"},
};

static int run(const struct arguments *arguments, struct error *e)
{
	const struct option_value *values = arguments->values;
	struct block_create_options as = disk_new_options(&values[CONVERT_NEW]);
	struct block_options from = {.path = arguments->operands[0],
				     .format = disk_format(&values[CONVERT_FROM]),
				     .read_only = true,
				     .backing_anywhere = values[CONVERT_ANYWHERE].given};
	struct progress progress;
	int r;

	as.preallocate = values[CONVERT_PREALLOCATE].given;
	progress_init(&progress, stderr);
	progress.doing = "copying";
	r = block_convert(&from, arguments->operands[1], &as, values[CONVERT_COMPRESS].given, progress_bytes, &progress, e);
	progress_finish(&progress);
	if (r < 0)
		return error_prefix(e, r, "disk convert");
	printf("%s: made\n", arguments->operands[1]);
	return 0;
}

static const struct verb_example examples[] = {
	{"doppel disk convert disk.raw disk.qcow2", "the same disk in another format"},
	{"doppel disk convert disk.qcow2 small.qcow2 --compress --compression zstd",
	 "a copy that takes less room"},
	{NULL, NULL},
};

const struct verb verb_disk_convert = {
	.name = "disk convert",
	.summary = "copy a disk into a new image",
	.operands = "FROM TO",
	.operands_min = 2,
	.operands_max = 2,
	.description =
		"Copies what a guest would read of the image FROM, backing files included, into the new image TO, which "
		"must not be there yet. Zeroes take no room. No machine may write FROM meanwhile.",
	.examples = examples,
	.options = options,
	.option_count = CONVERT_OPTIONS,
	.run = run,
};
