#include "image/local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/name.h"
#include "image/cache.h"
#include "image/copy.h"

#define APPEND_MAX 1024

/* Recipes that were handed out; never freed, as the others are not. */
struct known {
	struct image_recipe recipe;
	char name[64];
	struct known *next;
};
static struct known *all_known;

struct reporter {
	image_progress_fn *progress;
	void *context;
};

/* Whether there is such an imported image, and what it is for (may be NULL). */
static bool look_up(const char *name, enum engine_arch *arch)
{
	struct manifest *manifest = calloc(1, sizeof *manifest);
	struct cache cache;
	char path[PATH_MAX];
	bool local = false;

	if (manifest && name_is_valid(name) && cache_open(&cache, name, NULL) == 0) {
		cache_path(&cache, "manifest", path);
		local = manifest_read(path, manifest) == 0 && strcmp(manifest->recipe, LOCAL_RECIPE) == 0;
	}
	if (local && arch)
		*arch = strcmp(manifest->arch, engine_arch_name(ENGINE_X86_64)) == 0 ? ENGINE_X86_64 : ENGINE_RISCV64;
	free(manifest);
	return local;
}

static bool is_imported(const char *name)
{
	return look_up(name, NULL);
}

const struct image_recipe *local_find(const char *name)
{
	struct known *known = all_known;
	enum engine_arch arch = ENGINE_RISCV64;

	while (known && strcmp(known->name, name) != 0)
		known = known->next;
	if (known || !look_up(name, &arch))
		return known ? &known->recipe : NULL;
	known = calloc(1, sizeof *known);
	if (!known)
		return NULL;
	strcpy(known->name, name);
	known->recipe = (struct image_recipe){.name = known->name,
					      .help = "imported",
					      .arch = arch,
					      .append = "",
					      .local = true};
	known->next = all_known;
	all_known = known;
	return &known->recipe;
}

const char *image_local_next(const char *previous)
{
	static char found[64];
	char least[64] = "";
	struct dirent *entry;
	struct cache cache;
	DIR *directory;

	if (cache_open(&cache, "x", NULL) < 0)
		return NULL;
	*strrchr(cache.directory, '/') = '\0';
	directory = opendir(cache.directory);
	while (directory && (entry = readdir(directory)) != NULL)
		if (name_is_valid(entry->d_name) && strcmp(entry->d_name, previous) > 0 &&
		    (!*least || strcmp(entry->d_name, least) < 0) && is_imported(entry->d_name))
			strcpy(least, entry->d_name);
	if (directory)
		closedir(directory);
	strcpy(found, least);
	return *found ? found : NULL;
}

/* Whether a disk is qcow2; one that is only a part, the rest being in another file, can not be imported. */
static int look_at_disk(const char *path, bool *qcow2, struct error *e)
{
	uint8_t head[32] = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t count = fd < 0 ? -1 : read(fd, head, sizeof head);
	int code = -errno;
	uint64_t backing = 0;

	if (fd >= 0)
		close(fd);
	if (count < 0)
		return error_errno(e, code, "%.300s", path);
	*qcow2 = count == sizeof head && memcmp(head, "QFI\xfb", 4) == 0;
	for (unsigned i = 8; i < 16; i++)
		backing = backing << 8 | head[i];
	if (*qcow2 && backing)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "%.300s has a backing file; make it whole first, with doppel disk convert", path);
	return 0;
}

static void on_copied(void *context, uint64_t done, uint64_t total)
{
	const struct reporter *reporter = context;

	if (reporter->progress)
		reporter->progress(reporter->context, &(struct image_progress){.step = "copying",
									       .done = done < total ? done : total,
									       .total = total,
									       .bytes = true});
}

static int add_part(const struct cache *cache, struct manifest *manifest, const char *from, const char *name,
		    struct reporter *reporter, struct error *e)
{
	char path[PATH_MAX];
	int r;

	if (!from)
		return 0;
	cache_path(cache, name, path);
	r = copy_file(from, path, on_copied, reporter, e);
	if (r == 0 && chmod(path, 0444) < 0)
		r = error_errno(e, -errno, "%.300s", path);
	return r < 0 ? r : manifest_add(manifest, cache->directory, name, e);
}

static int add_parts(const struct cache *cache, struct manifest *manifest, const struct image_import *import,
		     struct reporter *reporter, struct error *e)
{
	bool qcow2 = false;
	char path[PATH_MAX];
	int r = import->disk ? look_at_disk(import->disk, &qcow2, e) : 0;

	if (r == 0)
		r = add_part(cache, manifest, import->kernel, "kernel", reporter, e);
	if (r == 0)
		r = add_part(cache, manifest, import->initrd, "initramfs", reporter, e);
	if (r == 0)
		r = add_part(cache, manifest, import->disk, qcow2 ? "disk.qcow2" : "disk.raw", reporter, e);
	cache_path(cache, "manifest", path);
	return r < 0 ? r : manifest_write(path, manifest, e);
}

static int fill_manifest(struct manifest *manifest, const struct image_import *import, struct error *e)
{
	const char *append = import->append ? import->append : "";

	strcpy(manifest->recipe, LOCAL_RECIPE);
	strcpy(manifest->packages, LOCAL_RECIPE);
	strcpy(manifest->version, "-");
	manifest->made = (int64_t)time(NULL);
	if (strlen(append) >= sizeof manifest->append || strchr(append, '\n'))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "the kernel command line must be one line of at most %zu bytes",
				 sizeof manifest->append - 1);
	strcpy(manifest->append, append);
	if (import->arch != ENGINE_RISCV64)
		strcpy(manifest->arch, engine_arch_name(import->arch));
	return 0;
}

static int check_import(const char *name, const struct image_import *import, struct error *e)
{
	if (!name_is_valid(name))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "'%.100s' can not be an image's name; give one of letters, digits, dots, dashes and "
				 "underscores",
				 name);
	if (image_recipe_find(name, NULL, NULL))
		return error_set(e, ERROR_STATE, -EEXIST, "there is an image %s already; give another name", name);
	if (!import->kernel && !import->disk)
		return error_set(e, ERROR_USAGE, -EINVAL, "there is neither a kernel nor a disk to import");
	return 0;
}

int image_import(const char *name, const struct image_import *import, image_progress_fn *progress, void *context,
		 struct error *e)
{
	struct reporter reporter = {.progress = progress, .context = context};
	struct manifest *manifest = calloc(1, sizeof *manifest);
	struct cache cache = {.lock = -1};
	int r = manifest ? check_import(name, import, e) : error_errno(e, -ENOMEM, "%s", name);

	if (r == 0)
		r = fill_manifest(manifest, import, e);
	if (r == 0)
		r = cache_open(&cache, name, e);
	if (r == 0)
		r = cache_lock(&cache, true, e);
	/* Someone else may have been faster; an import that was interrupted left files without a manifest. */
	if (r == 0 && is_imported(name))
		r = error_set(e, ERROR_STATE, -EEXIST, "there is an image %s already; give another name", name);
	else if (r == 0) {
		(void)!cache_remove(&cache, "", NULL);
		r = cache_directory(&cache, "", e);
		if (r == 0)
			r = add_parts(&cache, manifest, import, &reporter, e);
		if (r < 0)
			(void)!cache_remove(&cache, "", NULL);
	}
	if (cache.lock >= 0)
		cache_close(&cache);
	free(manifest);
	return r;
}

/* The first of two names that is in the folder; *path stays NULL when neither is. */
static int find_file(const char *folder, const char *name, const char *other, const char **path, struct error *e)
{
	const char *const names[] = {name, other};

	for (unsigned i = 0; i < 2; i++) {
		char *candidate;

		if (asprintf(&candidate, "%s/%s", folder, names[i]) < 0)
			return error_errno(e, -ENOMEM, "%.300s", folder);
		if (access(candidate, R_OK) == 0) {
			*path = candidate;
			return 0;
		}
		free(candidate);
	}
	return 0;
}

int image_import_folder(const char *folder, struct image_import *out, struct error *e)
{
	char path[PATH_MAX];
	uint8_t *text = NULL;
	size_t size;
	int r;

	*out = (struct image_import){.kernel = NULL};
	r = find_file(folder, "kernel", "vmlinuz", &out->kernel, e);
	if (r == 0)
		r = find_file(folder, "initramfs", "initrd", &out->initrd, e);
	/* An overlay before what it lies over. */
	if (r == 0)
		r = find_file(folder, "disk.qcow2", "disk.raw", &out->disk, e);
	snprintf(path, sizeof path, "%.*s/append", (int)sizeof path - 8, folder);
	if (r == 0 && access(path, R_OK) == 0)
		r = file_read(path, APPEND_MAX, &text, &size, e);
	if (text) {
		text[strcspn((char *)text, "\n")] = '\0';
		out->append = (char *)text;
	}
	if (r < 0)
		image_import_finish(out);
	return r;
}

static void drop(const char **text)
{
	union {
		const char *shown;
		char *owned;
	} u = {.shown = *text};

	free(u.owned);
	*text = NULL;
}

void image_import_finish(struct image_import *import)
{
	drop(&import->kernel);
	drop(&import->initrd);
	drop(&import->disk);
	drop(&import->append);
}

static int export_file(const char *from, const char *folder, const char *name, struct reporter *reporter,
		       struct error *e)
{
	char path[PATH_MAX];
	int r = from ? file_path(folder, name, path, e) : 0;

	return r < 0 || !from ? r : copy_file(from, path, on_copied, reporter, e);
}

static int export_all(const struct image *image, const char *folder, struct reporter *reporter, struct error *e)
{
	char path[PATH_MAX], line[APPEND_MAX + 2];
	int length = snprintf(line, sizeof line, "%.*s\n", APPEND_MAX, image->append);
	int r = export_file(image->kernel, folder, "kernel", reporter, e);

	if (r == 0)
		r = export_file(image->initrd, folder, "initramfs", reporter, e);
	if (r == 0)
		r = export_file(image->disk, folder, image->disk_qcow2 ? "disk.qcow2" : "disk.raw", reporter, e);
	if (r < 0 || snprintf(path, sizeof path, "%s/append", folder) >= (int)sizeof path)
		return r;
	return file_write(path, line, (size_t)length, 0644, e);
}

int image_export(const struct image_recipe *recipe, const char *path, image_progress_fn *progress, void *context,
		 struct error *e)
{
	struct reporter reporter = {.progress = progress, .context = context};
	struct image image;
	int r = image_find(recipe, &image, e);

	if (r < 0)
		return r;
	if (mkdir(path, 0755) < 0)
		r = error_errno(e, -errno, "cannot make the folder %.300s", path);
	if (r == 0)
		r = export_all(&image, path, &reporter, e);
	image_finish(&image);
	return r;
}
