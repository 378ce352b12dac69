#include "cli/snapshots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/name.h"
#include "cli/machine_disk.h"
#include "cli/machine_document.h"
#include "config/suggest.h"
#include "snapshot/pack.h"
#include "snapshot/save.h"

/* For a monitor that answers at once, on a busy host. */
#define PATIENCE_MS 60000

void snapshots_folder(const struct registry *registry, const char *name, char out[PATH_MAX])
{
	registry_path(registry, name, SNAPSHOTS_FOLDER, out);
}

int snapshots_path(const struct registry *registry, const char *name, const char *tag, char out[PATH_MAX],
		   struct error *e)
{
	char file[128];

	if (!name_is_valid(tag))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "\"%.60s\" can not be a snapshot's name: give 1 to 63 letters, digits, dots, dashes and "
				 "underscores, the first a letter or digit",
				 tag);
	snprintf(file, sizeof file, SNAPSHOTS_FOLDER "/%s" SNAPSHOT_SUFFIX, tag);
	registry_path(registry, name, file, out);
	return 0;
}

/* ---- Opening ---- */

struct nearest {
	struct suggestion best;
	char tag[64];
};

static void consider(void *context, const char *file, const struct snapshot_header *header)
{
	struct nearest *nearest = context;
	const char *before = nearest->best.word;
	char tag[sizeof nearest->tag];

	(void)header;
	snprintf(tag, sizeof tag, "%.*s", (int)(strlen(file) - strlen(SNAPSHOT_SUFFIX)), file);
	suggestion_consider(&nearest->best, tag);
	if (nearest->best.word == before)
		return;
	memcpy(nearest->tag, tag, sizeof tag);
	nearest->best.word = nearest->tag;
}

static int no_such(const struct registry *registry, const char *name, const char *tag, struct error *e)
{
	struct nearest nearest = {.best = suggestion_for(tag)};
	char folder[PATH_MAX];

	snapshots_folder(registry, name, folder);
	(void)!snapshot_each(folder, consider, &nearest, NULL);
	if (nearest.best.word)
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "%s has no snapshot %s; did you mean %s?", name, tag,
				 nearest.best.word);
	return error_set(e, ERROR_NOT_FOUND, -ENOENT, "%s has no snapshot %s; doppel snapshot ls %s lists them", name, tag,
			 name);
}

int snapshots_open(const struct registry *registry, const char *name, const char *tag, struct snapshot_chain *chain,
		   struct error *e)
{
	char path[PATH_MAX];
	int r = snapshots_path(registry, name, tag, path, e);

	if (r < 0)
		return r;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return no_such(registry, name, tag, e);
	return snapshot_chain_load(chain, path, e);
}

const char *snapshots_fact(const struct snapshot *snapshot, const char *key)
{
	const char *text = json_string_value(json_object_get(snapshot->facts, key));

	return text ? text : "";
}

int snapshots_settings(const json_t *facts, const char *name, struct settings *out, struct error *e)
{
	const char *text = json_string_value(json_object_get(facts, "document"));
	struct complaints complaints = {.source = name};
	struct arguments arguments;
	int r = machine_document_read(text ? text : "", text ? strlen(text) : 0, name, &arguments, NULL, e);

	if (r < 0)
		return r;
	r = machine_settings(&arguments, 0, out, &complaints, e);
	arguments_finish(&arguments);
	return r;
}

const char *snapshots_layer(const json_t *facts)
{
	const json_t *disks = json_object_get(facts, "disks"), *disk;
	size_t i;

	json_array_foreach(disks, i, disk) {
		const char *layer = json_string_value(json_object_get(disk, "layer"));

		if (layer && machine_disk_is_layer(layer))
			return layer;
	}
	return NULL;
}

/* ---- What was left ---- */

/* .TAG.PID.new, and .packed behind it: what is being written. */
#define ASIDE    ".new"
#define ATTEMPTS 16

/* Takes the lock: whether the file is ours, and not removed by whoever found it free in between. A file system that has no
 * locks does without. */
static bool lock_file(int fd)
{
	struct stat stat;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno != EWOULDBLOCK;
	return fstat(fd, &stat) < 0 || stat.st_nlink > 0;
}

/* Locked as long as anybody writes to it: whoever finds it free may remove it. */
static int open_locked(const char *path)
{
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

		if (fd < 0)
			return -errno;
		if (lock_file(fd) && ftruncate(fd, 0) == 0)
			return fd;
		close(fd);
	}
	return -EBUSY;
}

static void remove_free(int folder, const char *file)
{
	int fd = openat(folder, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		(void)unlinkat(folder, file, 0);
	close(fd);
}

/* Of commands that were killed: files as large as a machine's memory. */
static void sweep_aside(const char *folder)
{
	DIR *directory = opendir(folder);
	struct dirent *entry;

	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] == '.' && strstr(entry->d_name, ASIDE))
			remove_free(dirfd(directory), entry->d_name);
	if (directory)
		closedir(directory);
}

/* Those that the snapshots of a folder need. */
struct layers {
	const char *folder;
	char *names[1024]; /* and a NULL */
	size_t count;
	bool unknown; /* there may be more */
};

static void note_layer(void *context, const char *file, const struct snapshot_header *header)
{
	struct layers *layers = context;
	struct snapshot *snapshot;
	char path[PATH_MAX];
	const char *layer;
	int fd;

	if (!header || layers->count + 1 >= ARRAY_SIZE(layers->names) || file_path(layers->folder, file, path, NULL) < 0) {
		layers->unknown = true;
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || snapshot_open_facts(&snapshot, fd, path, NULL) < 0) {
		layers->unknown = true;
		return;
	}
	layer = snapshots_layer(snapshot->facts);
	if (layer)
		layers->names[layers->count++] = strdup(layer);
	snapshot_close(snapshot);
}

void snapshots_sweep(const struct registry *registry, const char *name)
{
	char folder[PATH_MAX], machine[PATH_MAX];
	struct layers *layers = calloc(1, sizeof *layers);

	if (!layers)
		return;
	snapshots_folder(registry, name, folder);
	registry_folder_path(registry, name, machine);
	layers->folder = folder;
	sweep_aside(folder);
	/* What can not be read may need any of them. */
	if (snapshot_each(folder, note_layer, layers, NULL) == 0 && !layers->unknown)
		machine_disk_sweep(machine, (const char *const *)layers->names);
	for (size_t i = 0; i < layers->count; i++)
		free(layers->names[i]);
	free(layers);
}

/* ---- Taking ---- */

struct taking {
	struct named *named;
	const struct snapshots_request *request;
	char folder[PATH_MAX]; /* the machine's */
	char path[PATH_MAX], aside[PATH_MAX];
	int fd;
	json_t *facts;
	char parent[SNAPSHOT_ID_TEXT]; /* "": none */
};

static int own_disk_only(const struct taking *taking, const json_t *disk, struct error *e)
{
	const char *path = json_string_value(json_object_get(disk, "path"));
	int number = (int)json_integer_value(json_object_get(disk, "disk"));
	size_t length = strlen(taking->folder);

	if (!path)
		return error_set(e, ERROR_FAILED, -EPROTO, "the monitor of %s tells no path of a disk", taking->named->name);
	if (json_is_true(json_object_get(disk, "temporary")))
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "what %s writes to disk %d (%.200s) is dropped in the end and can not be saved; keep it: "
				 "doppel create, or an overlay with a file",
				 taking->named->name, number, path);
	if (strncmp(path, taking->folder, length) == 0 && path[length] == '/' && !strchr(path + length + 1, '/'))
		return 0;
	return error_set(e, ERROR_STATE, -EOPNOTSUPP,
			 "%s writes disk %d (%.200s), which is not its own: a snapshot can not keep it as it is; attach it "
			 "read-only (ro), or make an image of it (doppel image import)",
			 taking->named->name, number, path);
}

static int pass_overlay(const struct taking *taking, int disk, const char *path, struct error *e)
{
	int fd = open(path, O_RDWR | O_CLOEXEC), r;

	if (fd < 0)
		return error_errno(e, -errno, "%.300s", path);
	control_pass(taking->named->client, fd);
	r = named_call(taking->named, "saved", "snapshot_disk", json_pack("{s:i, s:s}", "disk", disk, "path", path),
		       PATIENCE_MS, NULL, e);
	close(fd);
	return r;
}

static int freeze_disk(const struct taking *taking, const json_t *disk, struct error *e)
{
	int number = (int)json_integer_value(json_object_get(disk, "disk")), r = own_disk_only(taking, disk, e);
	char layer[MACHINE_LAYER_SIZE], path[PATH_MAX];

	if (r == 0)
		r = machine_disk_freeze(taking->folder, layer, path, e);
	if (r < 0 || !*layer)
		return r;
	r = pass_overlay(taking, number, path, e);
	json_object_set_new(taking->facts, "disks", json_pack("[{s:i, s:s}]", "disk", number, "layer", layer));
	return r;
}

static int freeze_disks(const struct taking *taking, struct error *e)
{
	json_t *disks = NULL, *disk;
	size_t i;
	int r;

	if (taking->request->wants)
		control_pass(taking->named->client, *taking->request->wants);
	r = named_call(taking->named, "saved", "snapshot_disks", NULL, PATIENCE_MS, &disks, e);

	/* All are looked at before any is changed. */
	json_array_foreach(disks, i, disk) {
		if (r == 0)
			r = own_disk_only(taking, disk, e);
	}
	json_array_foreach(disks, i, disk) {
		if (r == 0)
			r = freeze_disk(taking, disk, e);
	}
	json_decref(disks);
	return r;
}

static int gather_facts(const struct taking *taking, struct error *e)
{
	char path[PATH_MAX];
	uint8_t *text;
	size_t length;
	int r = registry_document(taking->named->registry, taking->named->name, path, &text, &length, e);

	if (r < 0)
		return r;
	json_object_set_new(taking->facts, "document", json_stringn((char *)text, length));
	json_object_set_new(taking->facts, "tag", json_string(taking->request->tag));
	json_object_set_new(taking->facts, "image", json_string(taking->named->record.image));
	if (taking->request->parent)
		json_object_set_new(taking->facts, "parent", json_string(taking->request->parent));
	free(text);
	return 0;
}

/* The rows of a whole chain as one table: what a page is there, by its hash. */
static int prepare_rows(const struct taking *taking, const struct snapshot_chain *chain, struct error *e)
{
	uint64_t count = chain->files[0]->header.pages;
	struct snapshot_page *rows = calloc(count ? count : 1, sizeof *rows);
	int r = rows ? snapshot_chain_keep_rows(chain, e) : error_errno(e, -ENOMEM, "the parent's table");

	for (uint64_t row = 0; r == 0 && row < count; row++)
		rows[row] = snapshot_chain_owner(chain, row)->pages[row];
	if (r == 0)
		r = snapshot_prepare(taking->fd, rows, count, e);
	free(rows);
	return r;
}

static int prepare_parent(struct taking *taking, struct error *e)
{
	const char *parent = taking->request->parent;
	struct snapshot_chain chain;
	int r;

	if (!parent)
		return 0;
	r = snapshots_open(taking->named->registry, taking->named->name, parent, &chain, e);
	if (r < 0)
		return r;
	snapshot_id_text(chain.files[0]->header.id, taking->parent);
	if (chain.count == SNAPSHOT_CHAIN_MAX)
		r = error_set(e, ERROR_STATE, -ELOOP, "%s has %u snapshots below it, and more can not be; save without --parent",
			      parent, chain.count);
	else
		r = prepare_rows(taking, &chain, e);
	snapshot_chain_finish(&chain);
	return r;
}

static void told(void *arg, const json_t *event)
{
	const struct taking *taking = arg;
	const char *what = json_string_value(json_object_get(event, "event"));

	if (what && strcmp(what, "saving") == 0)
		taking->request->saving(taking->request->context, json_is_true(json_object_get(event, "early")));
}

static int call(struct taking *taking, json_t **result, struct error *e)
{
	json_t *with = json_pack("{s:O, s:b}", "facts", taking->facts, "bare", taking->request->passing != NULL);

	if (taking->request->asking)
		taking->request->asking(taking->request->context, taking->aside, taking->facts);
	if (*taking->parent)
		json_object_set_new(with, "parent", json_string(taking->parent));
	if (taking->request->saving)
		control_on_event(taking->named->client, told, taking);
	control_pass(taking->named->client, taking->fd);
	return named_call(taking->named, "saved", "snapshot", with, -1, result, e);
}

static int pack_into(const struct snapshot_chain *chain, const char *path, int *out, struct error *e)
{
	const struct snapshot_packing packing = {.level = SNAPSHOT_LEVEL};
	int fd = open_locked(path), r;

	if (fd < 0)
		return error_errno(e, fd, "%.300s", path);
	r = snapshot_pack(chain, &packing, fd, NULL, NULL, NULL, e);
	if (r < 0)
		close(fd);
	else
		*out = fd;
	return r;
}

/* A packed file takes the place of what was saved. */
static int compress(struct taking *taking, struct error *e)
{
	char path[PATH_MAX + 8];
	struct snapshot_chain chain;
	int packed = -1, r = snapshot_chain_load(&chain, taking->aside, e);

	if (r < 0)
		return r;
	snprintf(path, sizeof path, "%s.packed", taking->aside);
	r = pack_into(&chain, path, &packed, e);
	snapshot_chain_finish(&chain);
	if (r == 0 && rename(path, taking->aside) < 0)
		r = error_errno(e, -errno, "%.300s", taking->aside);
	if (r < 0)
		(void)unlink(path);
	if (packed >= 0) {
		close(taking->fd);
		taking->fd = packed;
	}
	return r;
}

/* It is whole: shown under its name. */
static int show(const struct taking *taking, struct error *e)
{
	unsigned flags = taking->request->force ? 0 : RENAME_NOREPLACE;
	char folder[PATH_MAX];

	if (taking->request->passing)
		return 0;
	if (fsync(taking->fd) < 0 || renameat2(AT_FDCWD, taking->aside, AT_FDCWD, taking->path, flags) < 0)
		return error_errno(e, -errno, "%.300s", taking->path);
	snapshots_folder(taking->named->registry, taking->named->name, folder);
	file_flush_folder(folder);
	return 0;
}

static int open_aside(struct taking *taking, struct error *e)
{
	const struct registry *registry = taking->named->registry;
	char folder[PATH_MAX], file[128];
	int r = snapshots_path(registry, taking->named->name, taking->request->tag, taking->path, e);

	if (r < 0)
		return r;
	if (!taking->request->force && !taking->request->passing && access(taking->path, F_OK) == 0)
		return error_set(e, ERROR_STATE, -EEXIST, "%s has a snapshot %s already; --force replaces it",
				 taking->named->name, taking->request->tag);
	snapshots_folder(registry, taking->named->name, folder);
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return error_errno(e, -errno, "%.300s", folder);
	snprintf(file, sizeof file, SNAPSHOTS_FOLDER "/.%s.%d" ASIDE, taking->request->tag, (int)getpid());
	registry_path(registry, taking->named->name, file, taking->aside);
	sweep_aside(folder);
	taking->fd = open_locked(taking->aside);
	return taking->fd < 0 ? error_errno(e, taking->fd, "%.300s", taking->aside) : 0;
}

static int take(struct taking *taking, json_t **result, struct error *e)
{
	int r = named_connect(taking->named, "saved", e);

	if (r == 0)
		r = open_aside(taking, e);
	if (r == 0)
		r = prepare_parent(taking, e);
	if (r == 0)
		r = gather_facts(taking, e);
	if (r == 0)
		r = freeze_disks(taking, e);
	if (r == 0)
		r = call(taking, result, e);
	if (r == 0 && taking->request->compress)
		r = compress(taking, e);
	return r < 0 ? r : show(taking, e);
}

int snapshots_take(struct named *named, const struct snapshots_request *request, char path[PATH_MAX], json_t **result,
		   struct error *e)
{
	struct taking taking = {.named = named, .request = request, .fd = -1, .facts = json_object()};
	int r;

	registry_folder_path(named->registry, named->name, taking.folder);
	r = take(&taking, result, e);
	if (r < 0 && taking.fd >= 0)
		(void)unlink(taking.aside);
	if (r == 0 && request->passing)
		*request->passing = taking.fd;
	else if (taking.fd >= 0)
		close(taking.fd);
	json_decref(taking.facts);
	if (r == 0)
		snprintf(path, PATH_MAX, "%s", request->passing ? taking.aside : taking.path);
	else
		snapshots_sweep(named->registry, named->name);
	return r;
}
