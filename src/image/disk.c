#include "image/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "image/dpkg.h"
#include "image/ext4.h"
#include "image/guest_data.h"
#include "image/mirror.h"
#include "image/modules.h"

#define DISK_NEW "disk.new.raw"

/* What would be of no use: manuals and translations for a terminal without either program, and descriptions of
 * hardware that no machine has. */
static const char *const excluded[] = {"usr/share/doc",   "usr/share/man",     "usr/share/locale", "usr/share/info",
				       "usr/share/lintian", "usr/lib/udev/hwdb.d", NULL};

/* Files that are not of a package. */
static const struct {
	const char *path;
	uint32_t mode;
	const unsigned char *bytes;
	const size_t *size;
} files[] = {
	{"var/lib/doppel/setup", 0755, guest_setup, &guest_setup_size},
	{"usr/lib/doppel/seed", 0755, guest_seed, &guest_seed_size},
	{"usr/lib/systemd/system/doppel-seed.service", 0644, guest_seed_service, &guest_seed_service_size},
	{"usr/lib/systemd/system/doppel-seed-run.service", 0644, guest_seed_run_service,
	 &guest_seed_run_service_size},
};
static const char *const directories[] = {"var", "var/lib", "var/lib/doppel", "usr", "usr/lib", "usr/lib/doppel",
					  "usr/lib/modules", "usr/lib/systemd", "usr/lib/systemd/system"};

struct disk {
	const struct cache *cache;
	struct ext4 *ext4;
	image_progress_fn *progress;
	void *context;
};

static void on_unpacked(void *context, uint64_t bytes)
{
	const struct disk *disk = context;

	if (disk->progress)
		disk->progress(disk->context,
			       &(struct image_progress){.step = "unpacking the system", .done = bytes, .bytes = true});
}

static void archive_path(const struct cache *cache, const char *file, char out[PATH_MAX])
{
	char name[APT_FILE_SIZE + 16];

	snprintf(name, sizeof name, "packages/%s", file);
	cache_path(cache, name, out);
}

/* base-files comes first: the links in the top directory through which others' files may go are in it. */
static int unpack_all(struct dpkg *dpkg, const struct disk *disk, const struct image_recipe *recipe,
		      const struct apt_packages *packages, struct error *e)
{
	int r = 0;

	for (unsigned round = 0; r == 0 && round < 2; round++) {
		for (size_t i = 0; r == 0 && i < packages->count; i++) {
			const char *file = packages->list[i].file;
			char path[PATH_MAX];

			if (apt_is_boot_part(recipe, file) || (strncmp(file, "base-files_", 11) == 0) != (round == 0))
				continue;
			archive_path(disk->cache, file, path);
			r = dpkg_unpack(dpkg, path, e);
		}
	}
	return r;
}

static int add_packages(struct disk *disk, const struct image_recipe *recipe, const struct apt_packages *packages,
			struct error *e)
{
	struct dpkg_options options = {
		.excluded = excluded, .keep = disk->cache->lock, .progress = on_unpacked, .context = disk};
	struct dpkg *dpkg = dpkg_new(disk->ext4, &options, e);
	int r = dpkg ? unpack_all(dpkg, disk, recipe, packages, e) : -EIO;

	if (r == 0)
		r = dpkg_finish(dpkg, e);
	dpkg_free(dpkg);
	return r;
}

static int add_text(struct disk *disk, const char *path, const char *text, size_t size)
{
	struct ext4_attributes attributes = {.mode = 0644, .modified = time(NULL)};

	return ext4_file(disk->ext4, path, &attributes, text, size);
}

/* Packages that are installed later leave out the same. */
static int add_exclusions(struct disk *disk)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r;

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; excluded[i]; i++)
		fprintf(out, "path-exclude /%s/*\n", excluded[i]);
	fputs("path-include /usr/share/doc/*/copyright\n", out);
	r = fclose(out) == 0 ? add_text(disk, "etc/dpkg/dpkg.cfg.d/doppel", text, size) : -ENOMEM;
	free(text);
	return r;
}

/* The mirror that this host uses; a password in its address stays here. */
static int add_sources(struct disk *disk, const struct image_recipe *recipe, struct error *e)
{
	char uri[MIRROR_SIZE], *text, *user, *scheme;
	int length, r = mirror_find(uri, e);

	if (r < 0)
		return r;
	scheme = strstr(uri, "://");
	user = scheme ? strchr(scheme + 3, '@') : NULL;
	if (user && strcspn(scheme + 3, "/") > (size_t)(user - scheme - 3))
		memmove(scheme + 3, user + 1, strlen(user + 1) + 1);
	length = asprintf(&text,
			  "Types: deb\nURIs: %s\nSuites: %s %s-updates\nComponents: main\n"
			  "Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp\n",
			  uri, recipe->suite, recipe->suite);
	if (length < 0)
		return error_errno(e, -ENOMEM, "cannot write the sources of packages");
	r = add_text(disk, "etc/apt/sources.list.d/debian.sources", text, (size_t)length);
	free(text);
	return r < 0 ? error_errno(e, r, "cannot write the sources of packages") : 0;
}

static int add_own_files(struct disk *disk, struct error *e)
{
	struct ext4_attributes attributes = {.mode = 0755, .modified = time(NULL)};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(directories); i++)
		r = ext4_directory(disk->ext4, directories[i], &attributes);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++) {
		attributes.mode = files[i].mode;
		r = ext4_file(disk->ext4, files[i].path, &attributes, files[i].bytes, *files[i].size);
	}
	if (r == 0)
		r = add_exclusions(disk);
	return r < 0 ? error_errno(e, r, "cannot fill the disk") : 0;
}

static int add_modules(struct disk *disk, const struct image_recipe *recipe, const struct apt_packages *packages,
		       struct error *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < packages->count; i++) {
		char path[PATH_MAX];

		if (!apt_is_boot_part(recipe, packages->list[i].file))
			continue;
		archive_path(disk->cache, packages->list[i].file, path);
		r = modules_unpack(disk->ext4, path, disk->cache->lock, e);
	}
	return r;
}

static int fill(struct disk *disk, const struct image_recipe *recipe, const struct apt_packages *packages,
		struct error *e)
{
	int r = add_packages(disk, recipe, packages, e);

	if (r == 0)
		r = add_own_files(disk, e);
	if (r == 0)
		r = add_sources(disk, recipe, e);
	return r < 0 ? r : add_modules(disk, recipe, packages, e);
}

void disk_describe(const struct image_recipe *recipe, FILE *out)
{
	fprintf(out, "%llu\n", (unsigned long long)recipe->disk_bytes);
	for (size_t i = 0; excluded[i]; i++)
		fprintf(out, "%s\n", excluded[i]);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		fprintf(out, "%s %zu\n", files[i].path, *files[i].size);
		fwrite(files[i].bytes, *files[i].size, 1, out);
	}
}

static size_t system_packages(const struct image_recipe *recipe, const struct apt_packages *packages)
{
	size_t count = 0;

	for (size_t i = 0; i < packages->count; i++)
		count += !apt_is_boot_part(recipe, packages->list[i].file);
	return count;
}

/* Nobody writes to it any more: each machine has its own layer over it. */
static int publish(const struct cache *cache, struct error *e)
{
	char from[PATH_MAX], to[PATH_MAX];

	cache_path(cache, DISK_NEW, from);
	cache_path(cache, DISK_NAME, to);
	if (chmod(from, 0444) < 0 || rename(from, to) < 0)
		return error_errno(e, -errno, "%.300s", to);
	return 0;
}

int disk_make(const struct cache *cache, const struct image_recipe *recipe, const struct apt_packages *packages,
	      image_progress_fn *progress, void *context, struct error *e)
{
	struct disk disk = {.cache = cache, .progress = progress, .context = context};
	char path[PATH_MAX];
	int r = cache_room(cache, recipe->used_bytes, e);

	cache_path(cache, DISK_NEW, path);
	if (r == 0)
		r = ext4_new(&disk.ext4, path, recipe->disk_bytes, recipe->name, cache->lock, e);
	if (r < 0)
		return r;
	r = fill(&disk, recipe, packages, e);
	if (r < 0)
		ext4_free(disk.ext4);
	else
		r = ext4_finish(disk.ext4, e);
	if (r == 0)
		r = disk_setup(cache, recipe, DISK_NEW, system_packages(recipe, packages), progress, context, e);
	if (r == 0)
		r = publish(cache, e);
	if (r < 0)
		(void)!cache_remove(cache, DISK_NEW, NULL);
	return r;
}
