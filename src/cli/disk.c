#include "cli/disk.h"

#include <errno.h>
#include <stdio.h>

#include "cli/table.h"

const char *const disk_format_words[] = {"raw", "qcow2", NULL};
const char *const disk_compression_words[] = {[BLOCK_ZLIB] = "zlib", [BLOCK_ZSTD] = "zstd", NULL};

static const enum block_format formats[] = {BLOCK_RAW, BLOCK_QCOW2};

enum block_format disk_format(const struct option_value *value)
{
	return value->text ? formats[value->number] : BLOCK_FORMAT_AUTO;
}

struct block_create_options disk_new_options(const struct option_value *first)
{
	return (struct block_create_options){
		.format = disk_format(&first[DISK_NEW_FORMAT]),
		.cluster_size = (uint32_t)first[DISK_NEW_CLUSTER].number,
		.compression = (enum block_compression)first[DISK_NEW_COMPRESSION].number,
	};
}

int disk_size(const char *text, uint64_t *out, struct error *e)
{
	static const struct option_spec spec = {.name = "SIZE",
						.type = OPTION_SIZE,
						.minimum = BLOCK_SECTOR,
						.maximum = UINT64_C(1) << 60,
						.multiple = BLOCK_SECTOR};
	struct option_value value;
	int r = option_parse(&spec, text, &value, e);

	if (r == 0)
		*out = value.number;
	return r;
}

enum {
	CREATE_NEW,
	CREATE_BACKING = CREATE_NEW + DISK_NEW_OPTIONS,
	CREATE_BACKING_FORMAT,
	CREATE_PREALLOCATE,
	CREATE_OPTIONS,
};

static const struct option_spec create_options[CREATE_OPTIONS] = {
	DISK_NEW_ROWS,
	[CREATE_BACKING] = {.name = "backing",
			    .letter = 'b',
			    .type = OPTION_PATH,
			    .placeholder = "FILE",
			    .help = "what is read where nothing was written; relative to the new image's folder"},
	[CREATE_BACKING_FORMAT] = {.name = "backing-format",
				   .letter = 'B',
				   .type = OPTION_ENUM,
				   .placeholder = "FORMAT",
				   .words = disk_format_words,
				   .help = "format of that file; without it, by its contents"},
	[CREATE_PREALLOCATE] = {.name = "preallocate",
				.letter = 'p',
				.type = OPTION_FLAG,
				.help = "set all the room aside now"},
};

static int run_create(const struct arguments *arguments, struct error *e)
{
	const struct option_value *values = arguments->values;
	struct block_create_options options = disk_new_options(&values[CREATE_NEW]);
	const char *path = arguments->operands[0];
	int r = 0;

	options.backing = values[CREATE_BACKING].text;
	options.backing_format = disk_format(&values[CREATE_BACKING_FORMAT]);
	options.preallocate = values[CREATE_PREALLOCATE].given;
	if (arguments->operand_count > 1)
		r = disk_size(arguments->operands[1], &options.size, e);
	if (r == 0)
		r = block_create(path, &options, e);
	if (r < 0)
		return error_prefix(e, r, "disk create");
	printf("%s: made\n", path);
	return 0;
}

enum { RESIZE_FORMAT, RESIZE_SHRINK, RESIZE_ANYWHERE, RESIZE_OPTIONS };

static const struct option_spec resize_options[RESIZE_OPTIONS] = {
	[RESIZE_FORMAT] = DISK_FORMAT_ROW("format of the image, where its name does not tell it"),
	[RESIZE_SHRINK] = {.name = "shrink",
			   .letter = 's',
			   .type = OPTION_FLAG,
			   .help = "allow a smaller size: what lies behind it is lost"},
	[RESIZE_ANYWHERE] = {.name = "backing-anywhere",
			     .letter = 'a',
			     .type = OPTION_FLAG,
			     .help = "backing files of the image may lie outside of its folder"},
};

static int resize(const char *path, const char *text, const struct option_value *values, uint64_t *size,
		  struct error *e)
{
	struct block_options options = {.path = path,
					.format = disk_format(&values[RESIZE_FORMAT]),
					.backing_anywhere = values[RESIZE_ANYWHERE].given};
	bool relative = *text == '+';
	struct block *block = NULL;
	int r = disk_size(text + relative, size, e), closed;

	if (r == 0)
		r = block_open(&block, &options, e);
	if (r < 0)
		return r;
	if (relative && __builtin_add_overflow(*size, block_size(block), size))
		r = error_set(e, ERROR_USAGE, -EINVAL, "%s is too much", text);
	if (r == 0)
		r = block_resize(block, *size, values[RESIZE_SHRINK].given, e);
	closed = block_close(block, r < 0 ? NULL : e);
	return r < 0 ? r : closed;
}

static int run_resize(const struct arguments *arguments, struct error *e)
{
	char text[TABLE_BYTES_SIZE];
	uint64_t size = 0;
	int r = resize(arguments->operands[0], arguments->operands[1], arguments->values, &size, e);

	if (r < 0)
		return error_prefix(e, r, "disk resize");
	table_format_bytes(size, text);
	printf("%s: %s\n", arguments->operands[0], text);
	return 0;
}

static const struct verb_example create_examples[] = {
	{"doppel disk create work.qcow2 20G", "a disk of 20 GiB that takes room as it is written"},
	{"doppel disk create mine.qcow2 --backing base.raw",
	 "a disk that begins as base.raw, which stays as it is"},
	{NULL, NULL},
};
static const struct verb_example resize_examples[] = {
	{"doppel disk resize work.qcow2 40G", "the disk grows to 40 GiB"},
	{"doppel disk resize work.qcow2 +5G", "the disk grows by 5 GiB"},
	{NULL, NULL},
};

const struct verb verb_disk_create = {
	.name = "disk create",
	.summary = "make an empty disk image",
	.operands = "FILE [SIZE]",
	.operands_min = 1,
	.operands_max = 2,
	.description =
		"Makes a disk image, which must not be there yet. A raw image holds the disk's bytes and nothing "
		"else; a qcow2 image takes only the room of what was written, and can stand over a backing file. "
		"With a backing file the size may be left out: it is that file's.",
	.examples = create_examples,
	.options = create_options,
	.option_count = CREATE_OPTIONS,
	.run = run_create,
};

const struct verb verb_disk_resize = {
	.name = "disk resize",
	.summary = "change the size of a disk image",
	.operands = "FILE [+]SIZE",
	.operands_min = 2,
	.operands_max = 2,
	.description =
		"Changes how large the disk is that a guest sees. The new room reads as zeroes; partitions and file "
		"systems are the guest's to enlarge. No machine may use the image meanwhile.",
	.examples = resize_examples,
	.options = resize_options,
	.option_count = RESIZE_OPTIONS,
	.run = run_resize,
};

static const struct verb *const disk_verbs[] = {
	&verb_disk_create, &verb_disk_info, &verb_disk_check, &verb_disk_resize, &verb_disk_convert, NULL,
};

const struct verb verb_disk = {
	.name = "disk",
	.summary = "make, look at, check and change disk images",
	.operands = "",
	.description =
		"A disk image is a file that a guest sees as a disk: doppel run --disk FILE. Raw and qcow2 images are "
		"known; they can be exchanged with qemu-img.",
	.verbs = disk_verbs,
};
