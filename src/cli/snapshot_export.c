#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "block/block.h"
#include "cli/machine_disk.h"
#include "cli/machine_image.h"
#include "cli/progress.h"
#include "cli/snapshots.h"
#include "cli/table.h"
#include "cli/verb.h"
#include "snapshot/pack.h"

enum { EXPORT_LEVEL, EXPORT_FORCE, EXPORT_OPTIONS };

struct exporting {
	const char *folder; /* the machine's */
	const char *to;
	char aside[PATH_MAX], disk[PATH_MAX]; /* beside `to`, until it is whole */
	struct snapshot_file files[SNAPSHOT_FILES_MAX];
	unsigned count;
	char layer[MACHINE_LAYER_SIZE]; /* as the disk is called in the file; "": there is none */
	struct progress progress;
};

static int add_file(struct exporting *x, const char *name, const char *path, struct error *e)
{
	struct snapshot_file *file = &x->files[x->count];
	struct stat stat;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return errno == ENOENT ? 0 : error_errno(e, -errno, "%.300s", path);
	if (fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode)) {
		close(fd);
		return error_set(e, ERROR_FAILED, -EINVAL, "%.300s is no file", path);
	}
	*file = (struct snapshot_file){.fd = fd, .size = (uint64_t)stat.st_size};
	snprintf(file->name, sizeof file->name, "%s", name);
	x->count++;
	return 0;
}

static int add_image(struct exporting *x, struct error *e)
{
	char path[PATH_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < MACHINE_IMAGE_FILES; i++) {
		r = file_path(x->folder, machine_image_files[i], path, e);
		if (r == 0)
			r = add_file(x, machine_image_files[i], path, e);
	}
	return r;
}

/* What the guest would read of the layer and all below it. */
static int add_disk(struct exporting *x, const char *layer, struct error *e)
{
	const struct block_create_options raw = {.format = BLOCK_RAW};
	struct block_options from = {.format = machine_disk_format(layer), .read_only = true};
	char path[PATH_MAX];
	int r = file_path(x->folder, layer, path, e);

	if (r < 0)
		return r;
	from.path = path;
	snprintf(x->layer, sizeof x->layer, "%.13s.raw", layer);
	(void)unlink(x->disk);
	x->progress.doing = "reading the disk";
	r = block_convert(&from, x->disk, &raw, false, progress_bytes, &x->progress, e);
	return r < 0 ? r : add_file(x, x->layer, x->disk, e);
}

static int gather(struct exporting *x, const struct snapshot *snapshot, struct error *e)
{
	const char *layer = snapshots_layer(snapshot->facts);
	int r = add_image(x, e);

	return r < 0 || !layer ? r : add_disk(x, layer, e);
}

static int pack(struct exporting *x, const struct snapshot_chain *chain, int level, struct snapshot_packed *packed,
		struct error *e)
{
	const struct snapshot_packing packing = {
		.files = x->files, .file_count = x->count, .layer = *x->layer ? x->layer : NULL, .level = level};
	int fd = open(x->aside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), r;

	if (fd < 0)
		return error_errno(e, -errno, "%.300s", x->aside);
	x->progress.doing = "packing";
	r = snapshot_pack(chain, &packing, fd, packed, progress_bytes, &x->progress, e);
	return file_finish(fd, x->aside, r, e);
}

static int write_file(struct exporting *x, const struct snapshot_chain *chain, int level, bool force,
		      struct snapshot_packed *packed, struct error *e)
{
	int r = gather(x, chain->files[0], e);

	if (r == 0)
		r = pack(x, chain, level, packed, e);
	if (r == 0 && renameat2(AT_FDCWD, x->aside, AT_FDCWD, x->to, force ? 0 : RENAME_NOREPLACE) < 0)
		r = error_errno(e, -errno, "%.300s", x->to);
	if (r < 0)
		(void)unlink(x->aside);
	if (*x->layer)
		(void)unlink(x->disk);
	for (unsigned i = 0; i < x->count; i++)
		close(x->files[i].fd);
	return r;
}

static void tell(const char *to, const struct snapshot_packed *packed)
{
	char bytes[TABLE_BYTES_SIZE], memory[TABLE_BYTES_SIZE], twice[TABLE_BYTES_SIZE];

	table_format_bytes(packed->bytes, bytes);
	table_format_bytes((packed->stored + packed->duplicates) * GUEST_PAGE_SIZE, memory);
	table_format_bytes(packed->duplicates * GUEST_PAGE_SIZE, twice);
	printf("%s: %s for %s of memory, %s of it there already\n", to, bytes, memory, twice);
}

static int export(struct named *named, const struct arguments *arguments, struct error *e)
{
	struct exporting x = {.to = arguments->operands[2]};
	bool force = arguments->values[EXPORT_FORCE].given;
	struct snapshot_packed packed;
	struct snapshot_chain chain;
	char folder[PATH_MAX];
	int r;

	if (!force && access(x.to, F_OK) == 0)
		return error_set(e, ERROR_STATE, -EEXIST, "%.300s is there already; --force replaces it", x.to);
	if (snprintf(x.aside, sizeof x.aside, "%s.new", x.to) >= (int)sizeof x.aside ||
	    snprintf(x.disk, sizeof x.disk, "%s.disk.raw", x.to) >= (int)sizeof x.disk)
		return error_errno(e, -ENAMETOOLONG, "%.300s", x.to);
	r = snapshots_open(named->registry, named->name, arguments->operands[1], &chain, e);
	if (r < 0)
		return r;
	registry_folder_path(named->registry, named->name, folder);
	x.folder = folder;
	progress_init(&x.progress, stderr);
	r = write_file(&x, &chain, (int)arguments->values[EXPORT_LEVEL].number, force, &packed, e);
	progress_finish(&x.progress);
	snapshot_chain_finish(&chain);
	if (r == 0)
		tell(x.to, &packed);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	return named_do(arguments, export, e);
}

static const struct option_spec options[EXPORT_OPTIONS] = {
	[EXPORT_LEVEL] = {.name = "level",
			  .letter = 'l',
			  .type = OPTION_INTEGER,
			  .placeholder = "N",
			  .minimum = 1,
			  .maximum = 19,
			  .fallback = "3",
			  .help = "how hard zstd tries: 1 is fast, 19 small"},
	[EXPORT_FORCE] = {.name = "force", .letter = 'f', .type = OPTION_FLAG, .help = "replace FILE"},
};

static const struct verb_example examples[] = {
	{"doppel snapshot export web nightly web.snap", "all that it takes to let web go on elsewhere"},
	{NULL, NULL},
};

const struct verb verb_snapshot_export = {
	.name = "snapshot export",
	.summary = "write a snapshot into one file that needs nothing else",
	.operands = "NAME TAG FILE",
	.operands_min = 3,
	.operands_max = 3,
	.operand_kind = OPERAND_MACHINE,
	.description =
		"FILE has memory, processors, devices, the machine's document, its own disk as it was then, and its kernel, if that "
		"came with an image. It is compressed; zeros take no room, and memory that is there twice is stored once. doppel "
		"restore FILE --name NEW makes a machine of it, on any host.\n\n"
		"Files that the document names by a path (a kernel, a read-only disk, a shared folder) do not come along. The disk is "
		"copied beside FILE meanwhile.",
	.examples = examples,
	.options = options,
	.option_count = EXPORT_OPTIONS,
	.run = run,
};
