#include "cli/restore_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/name.h"
#include "cli/create.h"
#include "cli/machine_disk.h"
#include "cli/machine_document.h"
#include "cli/machine_image.h"
#include "cli/progress.h"
#include "cli/run_options.h"
#include "cli/snapshots.h"
#include "monitor/monitor.h"
#include "snapshot/collapse.h"
#include "snapshot/pack.h"

struct importing {
	struct registry *registry;
	const char *name;
	struct snapshot_chain chain; /* the file alone */
	struct snapshot_file files[SNAPSHOT_FILES_MAX];
	unsigned count;
	char tag[64];
	struct progress progress;
};

/* ---- What is in it ---- */

static bool may_be_called(const char *name)
{
	for (size_t i = 0; i < MACHINE_IMAGE_FILES; i++)
		if (strcmp(name, machine_image_files[i]) == 0)
			return true;
	return machine_disk_is_layer(name);
}

static bool has_file(const struct importing *i, const char *name)
{
	for (unsigned n = 0; n < i->count; n++)
		if (strcmp(i->files[n].name, name) == 0)
			return true;
	return false;
}

static int check(struct importing *i, struct error *e)
{
	const struct snapshot *snapshot = i->chain.files[0];
	const char *layer = snapshots_layer(snapshot->facts);
	int r;

	if (snapshot_has_parent(&snapshot->header))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "%s builds on another snapshot; doppel snapshot export writes files that need no other",
				 snapshot->name);
	r = snapshot_files(snapshot, i->files, &i->count, e);
	if (r < 0)
		return r;
	for (unsigned n = 0; n < i->count; n++)
		if (!may_be_called(i->files[n].name))
			return error_set(e, ERROR_FAILED, -EBADMSG, "%s: no machine has a file \"%s\"", snapshot->name,
					 i->files[n].name);
	if (layer && !has_file(i, layer))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "%s lacks the machine's disk; doppel snapshot export writes files that need no other",
				 snapshot->name);
	return 0;
}

static int open_file(struct importing *i, const char *path, struct error *e)
{
	int r = snapshot_chain_add_file(&i->chain, path, e);

	return r < 0 ? r : check(i, e);
}

static void choose_tag(struct importing *i)
{
	const char *tag = snapshots_fact(i->chain.files[0], "tag");

	snprintf(i->tag, sizeof i->tag, "%s", name_is_valid(tag) ? tag : "imported");
}

/* ---- Its document ---- */

static int make_document(const struct importing *i, char **document, struct error *e)
{
	struct settings settings;
	int r = snapshots_settings(i->chain.files[0]->facts, i->chain.files[0]->name, &settings, e);

	if (r < 0)
		return r;
	r = machine_document(&settings, i->name, document, e);
	settings_finish(&settings);
	return r;
}

/* ---- Its folder ---- */

/* A new file in the folder, open. */
static int new_file(const char *folder, const char *name, char path[PATH_MAX], struct error *e)
{
	int fd, r = file_path(folder, name, path, e);

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? error_errno(e, -errno, "%.300s", path) : fd;
}

static int unpack_file(struct importing *i, unsigned index, const char *folder, struct error *e)
{
	const struct snapshot_file *file = &i->files[index];
	char path[PATH_MAX];
	int r, fd = new_file(folder, file->name, path, e);

	if (fd < 0)
		return fd;
	i->progress.doing = machine_disk_is_layer(file->name) ? "unpacking the disk" : "unpacking";
	r = snapshot_unpack_file(i->chain.files[0], index, file, fd, progress_bytes, &i->progress, e);
	return file_finish(fd, path, r, e);
}

static int unpack_memory(struct importing *i, const char *folder, struct error *e)
{
	char path[PATH_MAX], file[128];
	int fd, r = file_path(folder, SNAPSHOTS_FOLDER, path, e);

	if (r == 0 && mkdir(path, 0700) < 0)
		r = error_errno(e, -errno, "%.300s", path);
	if (r < 0)
		return r;
	snprintf(file, sizeof file, SNAPSHOTS_FOLDER "/%s" SNAPSHOT_SUFFIX, i->tag);
	fd = new_file(folder, file, path, e);
	if (fd < 0)
		return fd;
	i->progress.doing = "unpacking memory";
	r = snapshot_collapse(&i->chain, fd, progress_bytes, &i->progress, e);
	return file_finish(fd, path, r, e);
}

static int fill(void *context, const char *folder, struct error *e)
{
	struct importing *i = context;
	const char *layer = snapshots_layer(i->chain.files[0]->facts);
	int r = 0;

	for (unsigned n = 0; r == 0 && n < i->count; n++)
		r = unpack_file(i, n, folder, e);
	if (r == 0 && layer)
		r = machine_disk_return(folder, layer, e);
	return r < 0 ? r : unpack_memory(i, folder, e);
}

/* ---- The machine ---- */

static int make(struct importing *i, struct error *e)
{
	const struct snapshot *snapshot = i->chain.files[0];
	const struct registry_filling filling = {.fill = fill, .context = i};
	struct record record = {.state = MACHINE_CREATED};
	char *document;
	int r = make_document(i, &document, e);

	if (r < 0)
		return r;
	record.memory_bytes = (uint64_t)json_integer_value(json_object_get(snapshot->facts, "memory"));
	record.cpus = (unsigned)json_integer_value(json_object_get(snapshot->facts, "cpus"));
	snprintf(record.name, sizeof record.name, "%s", i->name);
	snprintf(record.image, sizeof record.image, "%s", snapshots_fact(snapshot, "image"));
	progress_init(&i->progress, stderr);
	r = registry_create_filled(i->registry, i->name, document, strlen(document), &record, &filling, e);
	progress_finish(&i->progress);
	free(document);
	return r;
}

static int start(const struct importing *i, bool eager, struct error *e)
{
	char path[PATH_MAX], option[PATH_MAX + 32];
	int r = snapshots_path(i->registry, i->name, i->tag, path, e);

	snprintf(option, sizeof option, "--restore%s=%s", eager ? "-eager" : "", path);
	if (r == 0)
		r = monitor_start_with(i->registry, i->name, option, NULL, e);
	if (r < 0)
		create_undo(i->registry, i->name);
	return r;
}

int restore_file(const char *path, const char *name, bool eager, struct error *e)
{
	struct importing i = {.name = name};
	int r;

	if (!name_is_valid(name))
		return error_set(e, ERROR_USAGE, -EINVAL, "--name: \"%.60s\" is no name for a machine", name);
	r = registry_open(&i.registry, e);
	if (r < 0)
		return r;
	r = open_file(&i, path, e);
	if (r == 0)
		choose_tag(&i);
	if (r == 0)
		r = make(&i, e);
	if (r == 0)
		r = start(&i, eager, e);
	if (r == 0)
		puts(name);
	snapshot_chain_finish(&i.chain);
	registry_close(i.registry);
	return r;
}
