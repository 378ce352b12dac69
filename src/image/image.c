#include "image/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <dirent.h>

#include "base/file.h"
#include "image/apt.h"
#include "image/cache.h"
#include "image/contents.h"
#include "image/copy.h"
#include "image/disk.h"
#include "image/initramfs.h"
#include "image/local.h"
#include "image/manifest.h"

/* Raised when the layout of an image changes in a way that the hashes below do not see. */
#define LAYOUT 1

/* What the cache and the manifest say about an image; too large for a stack. */
struct present {
	struct cache cache;
	struct manifest manifest;
	enum image_state state;
	/* As this program would make it. */
	char recipe[MANIFEST_HASH_SIZE], packages[MANIFEST_HASH_SIZE], disk[MANIFEST_HASH_SIZE];
};

static const char *folder_of(const struct image_recipe *recipe)
{
	return recipe->folder ? recipe->folder : recipe->name;
}

struct progress {
	image_progress_fn *tell;
	void *context;
};

static void hash_list(FILE *out, const char *const *list)
{
	for (; *list; list++)
		fprintf(out, "%s\n", *list);
}

/* The hash of what `print` prints. */
static int hash_text(void (*print)(const struct image_recipe *recipe, FILE *out), const struct image_recipe *recipe,
		     char hash[MANIFEST_HASH_SIZE])
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r;

	if (!out)
		return -ENOMEM;
	print(recipe, out);
	r = fclose(out) == 0 ? 0 : -ENOMEM;
	if (r == 0)
		manifest_hash(text, size, hash);
	free(text);
	return r;
}

static void print_packages(const struct image_recipe *recipe, FILE *out)
{
	fprintf(out, "%s %s %s\n", image_debian_arch(recipe), recipe->suite, recipe->kernel);
	hash_list(out, recipe->extra);
	if (recipe->system)
		hash_list(out, recipe->system);
}

static void print_disk(const struct image_recipe *recipe, FILE *out)
{
	print_packages(recipe, out);
	fprintf(out, "%d\n", LAYOUT);
	disk_describe(recipe, out);
}

static void print_all(const struct image_recipe *recipe, FILE *out)
{
	print_packages(recipe, out);
	fprintf(out, "%d\n", LAYOUT);
	hash_list(out, recipe->modules);
	for (size_t i = 0; i < guest_files_count; i++) {
		if (!initramfs_carries(&guest_files[i], recipe->arch))
			continue;
		fprintf(out, "%s %o %zu\n", guest_files[i].path, guest_files[i].mode, *guest_files[i].size);
		fwrite(guest_files[i].bytes, *guest_files[i].size, 1, out);
	}
	if (recipe->system)
		disk_describe(recipe, out);
}

/* All that shapes an image, so that one made by another version of the program is known. */
static int hash_recipe(const struct image_recipe *recipe, struct present *present)
{
	int r;

	if (recipe->local) {
		strcpy(present->recipe, LOCAL_RECIPE);
		return 0;
	}
	r = hash_text(print_packages, recipe, present->packages);
	if (r == 0 && recipe->system)
		r = hash_text(print_disk, recipe, present->disk);
	return r < 0 ? r : hash_text(print_all, recipe, present->recipe);
}

/* What an image is made of, the disk only if it has one. */
static const char *const parts[] = {"kernel", "initramfs", DISK_NAME};

static size_t part_count(const struct image_recipe *recipe)
{
	return recipe->system ? 3 : 2;
}

static enum image_state judge(const struct image_recipe *recipe, struct present *present)
{
	char path[PATH_MAX];
	int r;

	cache_path(&present->cache, "manifest", path);
	r = manifest_read(path, &present->manifest);
	if (r == -ENOENT)
		return IMAGE_ABSENT;
	if (r < 0)
		return IMAGE_DAMAGED;
	if (strcmp(present->manifest.recipe, present->recipe) != 0)
		return IMAGE_STALE;
	if (recipe->local)
		return manifest_holds(&present->manifest, present->cache.directory, "") ? IMAGE_READY : IMAGE_DAMAGED;
	for (size_t i = 0; i < part_count(recipe); i++)
		if (!manifest_holds(&present->manifest, present->cache.directory, parts[i]))
			return IMAGE_DAMAGED;
	return IMAGE_READY;
}

/* So that the next one need not read large files again. A wish: whoever changes the image at the time, or may not write there,
 * leaves it. */
static void remember(struct present *present)
{
	bool locked = present->cache.lock >= 0;
	struct manifest *now = malloc(sizeof *now);
	char path[PATH_MAX];

	cache_path(&present->cache, "manifest", path);
	if (now && (locked || cache_lock(&present->cache, false, NULL) == 0) && manifest_read(path, now) == 0 &&
	    now->made == present->manifest.made && strcmp(now->recipe, present->manifest.recipe) == 0)
		(void)!manifest_write(path, &present->manifest, NULL);
	if (!locked)
		cache_close(&present->cache);
	free(now);
}

static void present_free(struct present *present)
{
	if (present)
		cache_close(&present->cache);
	free(present);
}

static void say(const struct progress *progress, const char *step)
{
	if (progress->tell)
		progress->tell(progress->context, &(struct image_progress){.step = step});
}

static int lock(struct cache *cache, const struct progress *progress, struct error *e)
{
	struct error why = {.kind = ERROR_NONE};
	int r = cache_lock(cache, false, &why);

	if (r == -EAGAIN) {
		say(progress, "waiting for another pull");
		return cache_lock(cache, true, e);
	}
	if (r < 0 && e)
		*e = why;
	return r;
}

/* Looks, under the lock when there is a progress. NULL, with the reason in *code and `e`, when there is nowhere
 * to look. */
static struct present *present_new(const struct image_recipe *recipe, const struct progress *progress, int *code,
				   struct error *e)
{
	struct present *present = calloc(1, sizeof *present);
	int r;

	if (!present) {
		*code = error_errno(e, -ENOMEM, "image %s", recipe->name);
		return NULL;
	}
	r = cache_open(&present->cache, folder_of(recipe), e);
	if (r == 0 && hash_recipe(recipe, present) < 0)
		r = error_errno(e, -ENOMEM, "image %s", recipe->name);
	if (r == 0 && progress)
		r = lock(&present->cache, progress, e);
	if (r < 0) {
		*code = r;
		present_free(present);
		return NULL;
	}
	present->state = judge(recipe, present);
	if (present->state == IMAGE_READY && present->manifest.renewed)
		remember(present);
	return present;
}

int image_status(const struct image_recipe *recipe, struct image_status *out, struct error *e)
{
	int r = 0;
	struct present *present = present_new(recipe, NULL, &r, e);

	if (!present)
		return r;
	*out = (struct image_status){.state = present->state, .bytes = cache_bytes(&present->cache)};
	if (present->state == IMAGE_READY || present->state == IMAGE_STALE) {
		memcpy(out->version, present->manifest.version, sizeof out->version);
		out->made = present->manifest.made;
	}
	present_free(present);
	return 0;
}

/* The packages that are here, when they are the ones wanted and whole. */
static bool packages_from_manifest(struct present *present, struct apt_packages *packages)
{
	struct manifest *manifest = &present->manifest;

	if (strcmp(manifest->packages, present->packages) != 0 ||
	    !manifest_holds(manifest, present->cache.directory, "packages/"))
		return false;
	*packages = (struct apt_packages){.count = 0};
	for (size_t i = 0; i < manifest->count; i++) {
		const char *name = manifest->files[i].name;

		if (strncmp(name, "packages/", 9) != 0)
			continue;
		if (packages->count == APT_PACKAGES_MAX || strlen(name + 9) >= APT_FILE_SIZE)
			return false;
		strcpy(packages->list[packages->count++].file, name + 9);
	}
	memcpy(packages->version, manifest->version, sizeof packages->version);
	return true;
}

static int read_packages(const struct cache *cache, const struct image_recipe *recipe,
			 const struct apt_packages *packages, struct contents *contents, struct error *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < packages->count; i++) {
		char name[APT_FILE_SIZE + 16], path[PATH_MAX];

		if (!apt_is_boot_part(recipe, packages->list[i].file))
			continue;
		snprintf(name, sizeof name, "packages/%s", packages->list[i].file);
		cache_path(cache, name, path);
		r = contents_read(contents, path, cache->lock, e);
	}
	return r;
}

static int write_part(const struct cache *cache, const char *name, const uint8_t *bytes, size_t size,
		      struct error *e)
{
	char path[PATH_MAX];

	cache_path(cache, name, path);
	return file_write(path, bytes, size, 0644, e);
}

static int write_parts(const struct cache *cache, const struct contents *contents, enum engine_arch arch,
		       struct error *e)
{
	uint8_t *initramfs = NULL;
	size_t size = 0;
	int r = initramfs_make(contents, arch, &initramfs, &size, e);

	if (r == 0)
		r = cache_room(cache, contents->kernel_size + size, e);
	if (r == 0)
		r = write_part(cache, "kernel", contents->kernel, contents->kernel_size, e);
	if (r == 0)
		r = write_part(cache, "initramfs", initramfs, size, e);
	free(initramfs);
	return r;
}

static void on_unpacked(void *context, uint64_t unpacked)
{
	const struct progress *progress = context;

	if (progress->tell)
		progress->tell(progress->context,
			       &(struct image_progress){.step = "unpacking", .done = unpacked, .bytes = true});
}

/* Making the disk takes minutes: one that would be the same is kept. `same`: of the packages it was made of. */
static bool keeps_disk(struct present *present, bool same)
{
	return (same || present->state == IMAGE_DAMAGED) && strcmp(present->manifest.disk, present->disk) == 0 &&
	       manifest_holds(&present->manifest, present->cache.directory, DISK_NAME);
}

static int make(struct present *present, const struct image_recipe *recipe,
		const struct apt_packages *packages, bool same, struct progress *progress, struct error *e)
{
	struct contents contents = {.progress = on_unpacked, .context = progress};
	int r = read_packages(&present->cache, recipe, packages, &contents, e);

	if (r == 0)
		r = contents_complete(&contents, recipe, e);
	if (r == 0)
		r = write_parts(&present->cache, &contents, recipe->arch, e);
	contents_finish(&contents);
	if (r < 0 || !recipe->system || keeps_disk(present, same))
		return r;
	return disk_make(&present->cache, recipe, packages, progress->tell, progress->context, e);
}

static int seal(struct present *present, const struct image_recipe *recipe, const struct apt_packages *packages,
		struct error *e)
{
	struct manifest *manifest = &present->manifest;
	char path[PATH_MAX];
	int r = 0;

	*manifest = (struct manifest){.made = (int64_t)time(NULL)};
	memcpy(manifest->recipe, present->recipe, sizeof manifest->recipe);
	memcpy(manifest->packages, present->packages, sizeof manifest->packages);
	memcpy(manifest->disk, present->disk, sizeof manifest->disk);
	memcpy(manifest->version, packages->version, sizeof manifest->version);
	for (size_t i = 0; r == 0 && i < part_count(recipe); i++)
		r = manifest_add(manifest, present->cache.directory, parts[i], e);
	for (size_t i = 0; r == 0 && i < packages->count; i++) {
		char name[APT_FILE_SIZE + 16];

		snprintf(name, sizeof name, "packages/%s", packages->list[i].file);
		r = manifest_add(manifest, present->cache.directory, name, e);
	}
	cache_path(&present->cache, "manifest", path);
	return r < 0 ? r : manifest_write(path, manifest, e);
}

static bool is_listed(const struct apt_packages *packages, const char *file)
{
	for (size_t i = 0; i < packages->count; i++)
		if (strcmp(packages->list[i].file, file) == 0)
			return true;
	return false;
}

/* Packages of earlier pulls give their room back. */
static void drop_old_packages(const struct cache *cache, const struct apt_packages *packages)
{
	char path[PATH_MAX], name[APT_FILE_SIZE + 16];
	struct dirent *entry;
	DIR *directory;

	cache_path(cache, "packages", path);
	directory = opendir(path);
	while (directory && (entry = readdir(directory)) != NULL) {
		if (*entry->d_name == '.' || strlen(entry->d_name) >= APT_FILE_SIZE ||
		    is_listed(packages, entry->d_name))
			continue;
		snprintf(name, sizeof name, "packages/%.199s", entry->d_name);
		(void)!cache_remove(cache, name, NULL);
	}
	if (directory)
		closedir(directory);
}

static int pull(struct present *present, const struct image_recipe *recipe, struct progress *progress,
		struct error *e)
{
	struct apt_packages *packages = calloc(1, sizeof *packages);
	int r = packages ? 0 : error_errno(e, -ENOMEM, "image %s", recipe->name);
	bool same = r == 0 && packages_from_manifest(present, packages);

	if (r == 0 && recipe->system && !keeps_disk(present, same))
		r = disk_possible(recipe, e);
	if (r == 0 && !same)
		r = apt_download(&present->cache, recipe, progress->tell, progress->context, packages, e);
	if (r == 0)
		r = make(present, recipe, packages, same, progress, e);
	if (r == 0)
		r = seal(present, recipe, packages, e);
	if (r == 0) {
		apt_clean(&present->cache);
		drop_old_packages(&present->cache, packages);
	}
	free(packages);
	return r;
}

int image_pull(const struct image_recipe *recipe, image_progress_fn *progress, void *context, bool *fresh,
	       struct error *e)
{
	struct progress reporter = {.tell = progress, .context = context};
	int r = 0;
	struct present *present = present_new(recipe, &reporter, &r, e);
	bool ready = present && present->state == IMAGE_READY;

	if (present && !ready && recipe->local)
		r = error_set(e, ERROR_FAILED, -EIO, "it is damaged; remove it and import it again");
	else if (present && !ready)
		r = pull(present, recipe, &reporter, e);
	present_free(present);
	if (r < 0)
		return error_prefix(e, r, "image %s", recipe->name);
	if (fresh)
		*fresh = !ready;
	return 0;
}

int image_remove(const struct image_recipe *recipe, uint64_t *bytes, struct error *e)
{
	struct cache cache;
	uint64_t room;
	char path[PATH_MAX];
	int r = cache_open(&cache, folder_of(recipe), e);

	if (r < 0)
		return r;
	cache_path(&cache, "", path);
	if (access(path, F_OK) < 0)
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "there is no image %s here", recipe->name);
	r = cache_lock(&cache, true, e);
	room = cache_bytes(&cache);
	if (r == 0)
		r = cache_remove(&cache, "", e);
	cache_close(&cache);
	if (r == 0 && bytes)
		*bytes = room;
	return r;
}

/* The path of the first of the image's files whose name begins so; NULL when there is none, or no memory. */
static char *path_of(const struct present *present, const char *start)
{
	const struct manifest *manifest = &present->manifest;
	char path[PATH_MAX];

	for (size_t i = 0; i < manifest->count; i++) {
		if (strncmp(manifest->files[i].name, start, strlen(start)) != 0)
			continue;
		cache_path(&present->cache, manifest->files[i].name, path);
		return strdup(path);
	}
	return NULL;
}

static int not_ready(const struct image_recipe *recipe, enum image_state state, struct error *e)
{
	static const char *const reasons[IMAGE_STATES] = {
		[IMAGE_ABSENT] = "is not here",
		[IMAGE_STALE] = "was made by another version of doppel",
		[IMAGE_DAMAGED] = "is damaged",
	};

	if (recipe->local)
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "image %s %s; remove it and import it again",
				 recipe->name, reasons[state]);
	return error_set(e, ERROR_NOT_FOUND, -ENOENT, "image %s %s; run doppel image pull %s%s", recipe->name,
			 reasons[state], recipe->name, recipe->arch == ENGINE_X86_64 ? " --arch x86_64" : "");
}

static struct image files_of(const struct present *present, const struct image_recipe *recipe)
{
	struct image image = {
		.kernel = path_of(present, "kernel"),
		.initrd = path_of(present, "initramfs"),
		.append = strdup(recipe->local ? present->manifest.append : recipe->append),
		.disk = path_of(present, "disk."),
	};

	image.disk_qcow2 = image.disk && strcmp(strrchr(image.disk, '.'), ".qcow2") == 0;
	return image;
}

int image_find(const struct image_recipe *recipe, struct image *out, struct error *e)
{
	struct image image = {.kernel = NULL};
	int r = 0;
	struct present *present = present_new(recipe, NULL, &r, e);

	if (!present)
		return r;
	if (present->state != IMAGE_READY)
		r = not_ready(recipe, present->state, e);
	else
		image = files_of(present, recipe);
	present_free(present);
	if (r < 0)
		return r;
	if (!image.append || (!recipe->local && (!image.kernel || !image.initrd || !image.disk != !recipe->system))) {
		image_finish(&image);
		return error_errno(e, -ENOMEM, "image %s", recipe->name);
	}
	*out = image;
	return 0;
}

/* "packages/NAME_VERSION_ARCH.deb", the version's colon as %3a, is cut into pieces. */
static struct image_part package_of(char *file, uint64_t bytes)
{
	char *name = file + strlen("packages/"), *version = strchr(name, '_'), *end, *colon;

	if (version)
		*version++ = '\0';
	end = version ? strrchr(version, '_') : NULL;
	if (end)
		*end = '\0';
	colon = version ? strstr(version, "%3a") : NULL;
	if (colon) {
		*colon = ':';
		memmove(colon + 1, colon + 3, strlen(colon + 3) + 1);
	}
	return (struct image_part){"package", name, version ? version : "", bytes};
}

static void tell_parts(struct manifest *manifest, const char *append,
		       void (*tell)(void *context, const struct image_part *part), void *context)
{
	tell(context, &(struct image_part){"append", append, "", 0});
	for (size_t i = 0; i < manifest->count; i++) {
		struct manifest_file *file = &manifest->files[i];
		struct image_part part = {"file", file->name, "", file->size};

		if (strncmp(file->name, "packages/", 9) == 0)
			part = package_of(file->name, file->size);
		tell(context, &part);
	}
}

int image_inspect(const struct image_recipe *recipe, void (*tell)(void *context, const struct image_part *part),
		  void *context, struct error *e)
{
	int r = 0;
	struct present *present = present_new(recipe, NULL, &r, e);

	if (!present)
		return r;
	if (present->state == IMAGE_READY || present->state == IMAGE_STALE)
		tell_parts(&present->manifest, recipe->local ? present->manifest.append : recipe->append, tell, context);
	else
		r = not_ready(recipe, present->state, e);
	present_free(present);
	return r;
}

void image_finish(struct image *image)
{
	free(image->kernel);
	free(image->initrd);
	free(image->append);
	free(image->disk);
	*image = (struct image){.kernel = NULL};
}

static void on_copied(void *context, uint64_t done, uint64_t total)
{
	const struct progress *progress = context;

	if (progress->tell)
		progress->tell(progress->context, &(struct image_progress){.step = "copying the disk",
									   .done = done < total ? done : total,
									   .total = total,
									   .bytes = true});
}

int image_copy_disk(const struct image *image, const char *path, image_progress_fn *progress, void *context,
		    struct error *e)
{
	struct progress reporter = {.tell = progress, .context = context};

	return copy_file(image->disk, path, on_copied, &reporter, e);
}
