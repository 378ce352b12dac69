#include "image/image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "cli/arch.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/verb.h"

enum { LS_TABLE, LS_OPTIONS = LS_TABLE + TABLE_OPTIONS };
enum { ARCH, ARCH_OPTIONS };
enum { INSPECT_TABLE, INSPECT_ARCH = INSPECT_TABLE + TABLE_OPTIONS, INSPECT_OPTIONS };
enum { IMPORT_NAME, IMPORT_KERNEL, IMPORT_INITRD, IMPORT_APPEND, IMPORT_ARCH, IMPORT_OPTIONS };

#define ARCH_HELP "of guests: the image that is for these, riscv64 by default"

static const struct option_spec arch_options[ARCH_OPTIONS] = {
	[ARCH] = OPTION_ARCH_ROW(ARCH_HELP),
};
static const struct option_spec inspect_options[INSPECT_OPTIONS] = {
	TABLE_OPTION_ROWS(INSPECT_TABLE),
	[INSPECT_ARCH] = OPTION_ARCH_ROW(ARCH_HELP),
};

static const struct option_spec ls_options[LS_OPTIONS] = {
	TABLE_OPTION_ROWS(LS_TABLE),
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

static int add(struct table *table, const struct image_recipe *recipe, struct error *e)
{
	struct image_status status;
	char made[CLOCK_TEXT];
	int r = image_status(recipe, &status, e);

	if (r < 0)
		return r;
	clock_seconds_text(status.made, made);
	table_text(table, recipe->name);
	table_text(table, engine_arch_name(recipe->arch));
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
	for (const char *name = image_local_next(""); r == 0 && name; name = image_local_next(name))
		if (image_recipe_find(name, NULL, NULL))
			r = add(table, image_recipe_find(name, NULL, NULL), e);
	if (r == 0)
		r = table_show(table, &arguments->values[LS_TABLE], e);
	table_free(table);
	return r < 0 ? error_prefix(e, r, "image ls") : 0;
}

/* The image that the first operand and the option --arch, `option`, name. */
static const struct image_recipe *named(const struct arguments *arguments, unsigned option, struct error *e)
{
	return image_recipe_find(arguments->operands[0], arguments->values[option].text, e);
}

static int pull(const struct image_recipe *recipe, struct error *e)
{
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
	printf("%s: %s, kernel %s, %s\n", recipe->name, fresh ? "ready" : "ready already", status.version, size);
	return 0;
}

static int run_pull(const struct arguments *arguments, struct error *e)
{
	int r = pull(named(arguments, ARCH, e), e);

	return r < 0 ? error_prefix(e, r, "image pull") : 0;
}

static int run_rm(const struct arguments *arguments, struct error *e)
{
	const struct image_recipe *recipe = named(arguments, ARCH, e);
	char size[TABLE_BYTES_SIZE];
	uint64_t bytes = 0;
	int r = recipe ? image_remove(recipe, &bytes, e) : -ENOENT;

	if (r < 0)
		return error_prefix(e, r, "image rm");
	table_format_bytes(bytes, size);
	printf("%s: removed, %s free again\n", recipe->name, size);
	return 0;
}

static const struct column part_columns[] = {
	{.key = "kind"},
	{.key = "name", .names = true},
	{.key = "version"},
	{.key = "size", .type = COLUMN_BYTES},
};

static void add_part(void *context, const struct image_part *part)
{
	struct table *table = context;

	table_text(table, part->kind);
	table_text(table, part->name);
	table_text(table, part->version);
	table_number(table, part->bytes);
}

static int run_inspect(const struct arguments *arguments, struct error *e)
{
	const struct image_recipe *recipe = named(arguments, INSPECT_ARCH, e);
	struct table *table = table_new(part_columns, ARRAY_SIZE(part_columns));
	int r = recipe ? 0 : -ENOENT;

	if (r == 0 && !table)
		r = error_errno(e, -ENOMEM, "out of memory");
	if (r == 0)
		r = image_inspect(recipe, add_part, table, e);
	if (r == 0)
		r = table_show(table, &arguments->values[INSPECT_TABLE], e);
	table_free(table);
	return r < 0 ? error_prefix(e, r, "image inspect") : 0;
}

static const struct option_spec import_options[IMPORT_OPTIONS] = {
	[IMPORT_NAME] = {.name = "name",
			 .letter = 'n',
			 .type = OPTION_STRING,
			 .placeholder = "NAME",
			 .help = "what the image is called; by default as the file or folder, without its suffix"},
	[IMPORT_KERNEL] =
		{.name = "kernel",
		 .letter = 'k',
		 .type = OPTION_PATH,
		 .placeholder = "FILE",
		 .help = "a kernel to boot the disk with; without one, run it with --kernel or --firmware"},
	[IMPORT_INITRD] = {.name = "initrd",
			   .letter = 'i',
			   .type = OPTION_PATH,
			   .placeholder = "FILE",
			   .help = "the kernel's initial file system"},
	[IMPORT_APPEND] = {.name = "append",
			   .letter = 'a',
			   .type = OPTION_STRING,
			   .placeholder = "TEXT",
			   .help = "the kernel command line"},
	[IMPORT_ARCH] = OPTION_ARCH_ROW("of the guests that it is for, riscv64 by default"),
};

/* The last part of a path without a suffix; cut to what a name may be long. */
static void name_of(const char *path, char out[64])
{
	size_t length = strlen(path), start;

	while (length > 1 && path[length - 1] == '/')
		length--;
	start = length;
	while (start > 0 && path[start - 1] != '/')
		start--;
	snprintf(out, 64, "%.*s", (int)(length - start), path + start);
	if (strrchr(out, '.') && strrchr(out, '.') != out)
		*strrchr(out, '.') = '\0';
}

static int import(const struct arguments *arguments, const char *name, struct error *e)
{
	const char *source = arguments->operands[0], *kernel = arguments->values[IMPORT_KERNEL].text;
	const char *initrd = arguments->values[IMPORT_INITRD].text,
		   *append = arguments->values[IMPORT_APPEND].text;
	struct image_import all = {.kernel = kernel, .initrd = initrd, .disk = source, .append = append};
	struct image_import folder = {.kernel = NULL};
	struct progress progress;
	struct stat status;
	int r = stat(source, &status) < 0 ? error_errno(e, -errno, "%.300s", source) : 0;

	if (r == 0 && S_ISDIR(status.st_mode)) {
		r = image_import_folder(source, &folder, e);
		all = (struct image_import){.kernel = kernel ? kernel : folder.kernel,
					    .initrd = initrd ? initrd : folder.initrd,
					    .disk = folder.disk,
					    .append = append ? append : folder.append};
	}
	if (arguments->values[IMPORT_ARCH].given)
		all.arch = (enum engine_arch)arguments->values[IMPORT_ARCH].number;
	progress_init(&progress, stderr);
	if (r == 0)
		r = image_import(name, &all, progress_show, &progress, e);
	progress_finish(&progress);
	image_import_finish(&folder);
	return r;
}

static int run_import(const struct arguments *arguments, struct error *e)
{
	const char *given = arguments->values[IMPORT_NAME].text;
	char name[64];
	int r;

	if (given && strlen(given) >= sizeof name)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "image import: --name: at most 63 characters are possible");
	if (given)
		strcpy(name, given);
	else
		name_of(arguments->operands[0], name);
	r = import(arguments, name, e);
	if (r < 0)
		return error_prefix(e, r, "image import");
	printf("%s: imported\n", name);
	return 0;
}

static int run_export(const struct arguments *arguments, struct error *e)
{
	const struct image_recipe *recipe = named(arguments, ARCH, e);
	struct progress progress;
	int r = -ENOENT;

	progress_init(&progress, stderr);
	if (recipe)
		r = image_export(recipe, arguments->operands[1], progress_show, &progress, e);
	progress_finish(&progress);
	if (r < 0)
		return error_prefix(e, r, "image export");
	printf("%s: exported to %s\n", recipe->name, arguments->operands[1]);
	return 0;
}

static const struct verb_example inspect_examples[] = {
	{"doppel image inspect debian", "the kernel command line, the files, and each package with its version"},
	{NULL, NULL},
};
static const struct verb_example import_examples[] = {
	{"doppel image import disk.qcow2 --name mine --kernel Image --append root=/dev/vda1",
	 "a disk with a kernel, to be started by doppel run mine"},
	{"doppel image import exported", "what doppel image export made"},
	{NULL, NULL},
};
static const struct verb_example export_examples[] = {
	{"doppel image export debian exported",
	 "kernel, initramfs, disk.raw and append, in the new folder exported"},
	{NULL, NULL},
};
static const struct verb_example ls_examples[] = {
	{"doppel image ls", "tells which images there are, and which of them are here"},
	{NULL, NULL},
};
static const struct verb_example pull_examples[] = {
	{"doppel image pull debian-tiny", "obtains a Debian kernel and makes a small system around it"},
	{"doppel image pull debian-tiny --arch x86_64", "the same for hardware-assisted guests"},
	{NULL, NULL},
};
static const struct verb_example rm_examples[] = {
	{"doppel image rm debian-tiny", "gives its room back; a later pull makes it anew"},
	{NULL, NULL},
};

static const struct verb verb_image_ls = {
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

static const struct verb verb_image_pull = {
	.name = "image pull",
	.summary = "obtain an image, or mend it",
	.operands = "IMAGE",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_IMAGE,
	.description =
		"Obtains the packages of an image with apt from the mirror that this host uses, verifies "
		"their signatures, and makes the image. The system of an image with a disk is configured in a guest, "
		"which takes some minutes. An interrupted pull goes on where it was. An image that "
		"is ready is left alone, without asking the network.",
	.examples = pull_examples,
	.options = arch_options,
	.option_count = ARCH_OPTIONS,
	.run = run_pull,
};

static const struct verb verb_image_rm = {
	.name = "image rm",
	.summary = "delete an image and what it was made from",
	.operands = "IMAGE",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_IMAGE,
	.description =
		"Deletes all that pulls of this image left in the cache. Status 3 when there is nothing of it.",
	.examples = rm_examples,
	.options = arch_options,
	.option_count = ARCH_OPTIONS,
	.run = run_rm,
};

static const struct verb verb_image_inspect = {
	.name = "image inspect",
	.summary = "tell what an image is made of",
	.operands = "IMAGE",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_IMAGE,
	.description =
		"Prints the kernel command line, the files with their sizes, and the packages with their versions.",
	.examples = inspect_examples,
	.options = inspect_options,
	.option_count = INSPECT_OPTIONS,
	.run = run_inspect,
};

static const struct verb verb_image_import = {
	.name = "image import",
	.summary = "make an image out of files",
	.operands = "FILE|FOLDER",
	.operands_min = 1,
	.operands_max = 1,
	.description =
		"Copies a disk (raw or qcow2), or a folder with files named kernel, initramfs, disk.raw or disk.qcow2, and "
		"append (the kernel command line), into the cache as an image of its own. The disk is not written to "
		"by machines, unless they keep a copy of it (doppel run --keep).",
	.examples = import_examples,
	.options = import_options,
	.option_count = IMPORT_OPTIONS,
	.run = run_import,
};

static const struct verb verb_image_export = {
	.name = "image export",
	.summary = "copy an image's files into a folder",
	.operands = "IMAGE FOLDER",
	.operands_min = 2,
	.operands_max = 2,
	.operand_kind = OPERAND_IMAGE,
	.description = "Makes the folder, which doppel image import reads, on this host or another.",
	.examples = export_examples,
	.options = arch_options,
	.option_count = ARCH_OPTIONS,
	.run = run_export,
};

static const struct verb *const image_verbs[] = {&verb_image_ls,
						 &verb_image_pull,
						 &verb_image_inspect,
						 &verb_image_import,
						 &verb_image_export,
						 &verb_image_rm,
						 NULL};

const struct verb verb_image = {
	.name = "image",
	.summary = "list, obtain, import, export and delete guest images",
	.operands = "",
	.description =
		"An image is a kernel, an initial file system and perhaps a disk that doppel run boots by name. It is made "
		"on this host out of Debian packages, or imported, and kept in the cache directory.",
	.verbs = image_verbs,
};
