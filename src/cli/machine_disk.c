#include "cli/machine_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/progress.h"

#define LAYER_PREFIX "disk-"
#define ASIDE        ".disk.new.qcow2"
#define DISK         "disk.qcow2"
#define DISK_RAW     "disk.raw"
/* Images of one disk: a clone has one more, and none can be opened that has more than 64. From the lower number on a start joins
 * them. */
#define DEPTH_MAX  60
#define DEPTH_JOIN 32
/* More layers than a chain can have. */
#define LAYERS_MAX 256

enum block_format machine_disk_format(const char *file)
{
	const char *dot = strrchr(file, '.');

	return dot && strcmp(dot, ".qcow2") == 0 ? BLOCK_QCOW2 : BLOCK_RAW;
}

/* An empty overlay over the layer becomes the disk. */
static int put_overlay(const char *folder, const char *layer, struct error *e)
{
	const struct block_create_options options = {
		.format = BLOCK_QCOW2, .backing = layer, .backing_format = machine_disk_format(layer)};
	char aside[PATH_MAX], disk[PATH_MAX], raw[PATH_MAX];
	int r = file_path(folder, ASIDE, aside, e);

	if (r == 0)
		r = file_path(folder, DISK, disk, e);
	if (r == 0)
		r = file_path(folder, DISK_RAW, raw, e);
	if (r < 0)
		return r;
	(void)unlink(aside);
	r = block_create(aside, &options, e);
	if (r < 0)
		return r;
	if (rename(aside, disk) < 0) {
		r = error_errno(e, -errno, "%.300s", disk);
		(void)unlink(aside);
		return r;
	}
	(void)unlink(raw);
	file_flush_folder(folder);
	return 0;
}

bool machine_disk_is_layer(const char *file)
{
	size_t prefix = strlen(LAYER_PREFIX), digits;

	if (strncmp(file, LAYER_PREFIX, prefix) != 0)
		return false;
	digits = strspn(file + prefix, "0123456789abcdef");
	return digits == 8 && (strcmp(file + prefix + digits, ".raw") == 0 || strcmp(file + prefix + digits, ".qcow2") == 0);
}

/* The layer below one, or the disk; false: none, or it can not be told. */
static bool layer_below(const char *folder, const char *file, char below[MACHINE_LAYER_SIZE])
{
	struct block_description description;
	char path[PATH_MAX];

	if (machine_disk_format(file) != BLOCK_QCOW2 || file_path(folder, file, path, NULL) < 0 ||
	    block_describe(path, BLOCK_QCOW2, &description, NULL) < 0 || !machine_disk_is_layer(description.backing))
		return false;
	snprintf(below, MACHINE_LAYER_SIZE, "%.*s", MACHINE_LAYER_SIZE - 1, description.backing);
	return true;
}

/* How many images its disk is made of. */
static unsigned depth_of(const char *folder)
{
	char name[MACHINE_LAYER_SIZE] = DISK;
	unsigned depth = 1;

	while (depth < LAYERS_MAX && layer_below(folder, name, name))
		depth++;
	return depth;
}

int machine_disk_freeze(const char *folder, char layer[MACHINE_LAYER_SIZE], char path[PATH_MAX], struct error *e)
{
	char disk[PATH_MAX], to[PATH_MAX];
	uint32_t number;
	bool raw;
	int r = file_path(folder, DISK, disk, e);

	*layer = '\0';
	if (r < 0)
		return r;
	raw = access(disk, F_OK) < 0;
	if (raw)
		r = file_path(folder, DISK_RAW, disk, e);
	if (r < 0 || access(disk, F_OK) < 0)
		return r;
	if (!raw && depth_of(folder) >= DEPTH_MAX)
		return error_set(e, ERROR_STATE, -ELOOP,
				 "%.300s: its disk has %d layers, one of each time that it was saved, and more can not be; doppel "
				 "restart makes one of them",
				 folder, DEPTH_MAX);
	if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
		return error_errno(e, -EIO, "random numbers");
	snprintf(layer, MACHINE_LAYER_SIZE, LAYER_PREFIX "%08x.%s", (unsigned)number, raw ? "raw" : "qcow2");
	r = file_path(folder, layer, to, e);
	if (r == 0 && link(disk, to) < 0)
		r = error_errno(e, -errno, "%.300s", to);
	if (r == 0)
		r = put_overlay(folder, layer, e);
	return r < 0 ? r : file_path(folder, DISK, path, e);
}

static int copy_aside(const char *disk, const char *aside, struct error *e)
{
	const struct block_options from = {.path = disk, .format = BLOCK_QCOW2, .read_only = true};
	const struct block_create_options as = {.format = BLOCK_QCOW2};
	struct progress progress;
	int r, fd;

	(void)unlink(aside);
	progress_init(&progress, stderr);
	progress.doing = "joining the layers of the disk";
	r = block_convert(&from, aside, &as, false, progress_bytes, &progress, e);
	progress_finish(&progress);
	if (r < 0)
		return r;
	fd = open(aside, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_errno(e, -errno, "%.300s", aside) : file_finish(fd, aside, 0, e);
}

int machine_disk_join(const char *folder, struct error *e)
{
	char aside[PATH_MAX], disk[PATH_MAX];
	int r = file_path(folder, ASIDE, aside, e);

	if (r == 0)
		r = file_path(folder, DISK, disk, e);
	if (r < 0 || depth_of(folder) < DEPTH_JOIN)
		return r;
	r = copy_aside(disk, aside, e);
	if (r == 0 && rename(aside, disk) < 0)
		r = error_errno(e, -errno, "%.300s", disk);
	if (r < 0)
		(void)unlink(aside);
	file_flush_folder(folder);
	return r < 0 ? r : 1;
}

int machine_disk_return(const char *folder, const char *layer, struct error *e)
{
	return put_overlay(folder, layer, e);
}

int machine_disk_link(const char *folder, const char *layer, const char *to, struct error *e)
{
	char name[MACHINE_LAYER_SIZE], below[MACHINE_LAYER_SIZE], from_path[PATH_MAX], to_path[PATH_MAX];
	bool more = true;
	int r = 0;

	if (!machine_disk_is_layer(layer))
		return error_set(e, ERROR_FAILED, -EBADMSG, "\"%.60s\" is no layer of a disk", layer);
	snprintf(name, sizeof name, "%s", layer);
	for (unsigned i = 0; r == 0 && more && i < LAYERS_MAX; i++) {
		r = file_path(folder, name, from_path, e);
		if (r == 0)
			r = file_path(to, name, to_path, e);
		if (r == 0 && link(from_path, to_path) < 0 && errno != EEXIST)
			r = error_errno(e, -errno, "%.300s", to_path);
		more = layer_below(folder, name, below);
		if (more)
			memcpy(name, below, sizeof name);
	}
	return r;
}

/* ---- Sweeping ---- */

struct layers {
	char names[LAYERS_MAX][MACHINE_LAYER_SIZE];
	bool used[LAYERS_MAX];
	unsigned count;
};

static void find_layers(const char *folder, struct layers *layers)
{
	DIR *directory = opendir(folder);
	struct dirent *entry;

	while (directory && (entry = readdir(directory)) && layers->count < LAYERS_MAX)
		if (machine_disk_is_layer(entry->d_name))
			snprintf(layers->names[layers->count++], MACHINE_LAYER_SIZE, "%.31s", entry->d_name);
	if (directory)
		closedir(directory);
}

static bool mark(struct layers *layers, const char *name)
{
	for (unsigned i = 0; i < layers->count; i++)
		if (strcmp(layers->names[i], name) == 0) {
			bool before = layers->used[i];

			layers->used[i] = true;
			return !before;
		}
	return false;
}

static void mark_chain(const char *folder, struct layers *layers, const char *file)
{
	char name[MACHINE_LAYER_SIZE];

	snprintf(name, sizeof name, "%s", file);
	while (layer_below(folder, name, name) && mark(layers, name))
		;
}

void machine_disk_sweep(const char *folder, const char *const *keep)
{
	struct layers *layers = calloc(1, sizeof *layers);
	char path[PATH_MAX];

	if (!layers)
		return;
	find_layers(folder, layers);
	mark_chain(folder, layers, DISK);
	for (; *keep; keep++)
		if (mark(layers, *keep))
			mark_chain(folder, layers, *keep);
	for (unsigned i = 0; i < layers->count; i++)
		if (!layers->used[i] && file_path(folder, layers->names[i], path, NULL) == 0)
			(void)unlink(path);
	free(layers);
}
