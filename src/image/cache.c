#include "image/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int cache_open(struct cache *cache, const char *name, struct error *e)
{
	const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int length;

	*cache = (struct cache){.lock = -1};
	if (base && *base == '/')
		length = snprintf(cache->directory, sizeof cache->directory, "%s/doppel/images/%s", base, name);
	else if (home && *home == '/')
		length = snprintf(cache->directory, sizeof cache->directory, "%s/.cache/doppel/images/%s", home,
				  name);
	else
		return error_set(
			e, ERROR_USAGE, -EINVAL,
			"there is no directory for images; set HOME or XDG_CACHE_HOME to an absolute path");
	if ((size_t)length >= sizeof cache->directory)
		return error_set(
			e, ERROR_USAGE, -ENAMETOOLONG,
			"the path of the directory for images is too long; set XDG_CACHE_HOME to a shorter one");
	return 0;
}

static int no_directory(const char *path, struct error *e)
{
	int code = -errno;

	return error_set(e, error_kind_of(code), code,
			 "cannot make %.300s: %s; set XDG_CACHE_HOME to a directory of yours", path,
			 strerror(-code));
}

static int make_directories(const char *directory, struct error *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/", directory);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return no_directory(path, e);
		*slash = '/';
	}
	return 0;
}

/* The descriptor, or a negative errno. Beside the directory, so that removing the image does not remove the lock
 * under someone who waits for it. */
static int open_lock(const struct cache *cache, struct error *e)
{
	const char *name = strrchr(cache->directory, '/') + 1;
	char path[PATH_MAX];
	int low, high, r = 0;

	snprintf(path, sizeof path, "%.*s.%s.lock", (int)(name - cache->directory), cache->directory, name);
	low = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	/* Above the descriptors that programs we start are given. */
	high = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, 10);
	if (high < 0)
		r = no_directory(path, e);
	if (low >= 0)
		close(low);
	return r < 0 ? r : high;
}

int cache_lock(struct cache *cache, bool wait, struct error *e)
{
	int r = make_directories(cache->directory, e), fd;

	if (r < 0)
		return r;
	fd = open_lock(cache, e);
	if (fd < 0)
		return fd;
	while (flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		r = error_errno(e, -errno, "cannot lock %.300s", cache->directory);
		close(fd);
		return r;
	}
	cache->lock = fd;
	/* Whoever had the lock may have removed the image. */
	return make_directories(cache->directory, e);
}

void cache_close(struct cache *cache)
{
	if (cache->lock >= 0)
		close(cache->lock);
	cache->lock = -1;
}

void cache_path(const struct cache *cache, const char *name, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s%s%s", cache->directory, *name ? "/" : "", name);
}

int cache_directory(const struct cache *cache, const char *name, struct error *e)
{
	char path[PATH_MAX];

	cache_path(cache, name, path);
	return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : no_directory(path, e);
}

static FTS *walk(char *path)
{
	char *roots[] = {path, NULL};

	return fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
}

static int remove_entry(const FTSENT *entry)
{
	switch (entry->fts_info) {
	case FTS_D:
		return 0;
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return -entry->fts_errno;
	case FTS_DP:
		return rmdir(entry->fts_accpath) == 0 || errno == ENOENT ? 0 : -errno;
	}
	return unlink(entry->fts_accpath) == 0 || errno == ENOENT ? 0 : -errno;
}

int cache_remove(const struct cache *cache, const char *name, struct error *e)
{
	char path[PATH_MAX];
	struct stat status;
	FTS *tree;
	FTSENT *entry;
	int r = 0;

	cache_path(cache, name, path);
	if (lstat(path, &status) < 0)
		return -errno;
	tree = walk(path);
	while (tree && r == 0 && (entry = fts_read(tree)) != NULL)
		r = remove_entry(entry);
	if (tree)
		fts_close(tree);
	else
		r = -errno;
	return r < 0 ? error_errno(e, r, "cannot remove %.300s", path) : 0;
}

uint64_t cache_bytes(const struct cache *cache)
{
	char path[PATH_MAX];
	uint64_t bytes = 0;
	FTSENT *entry;
	FTS *tree;

	cache_path(cache, "", path);
	tree = walk(path);
	while (tree && (entry = fts_read(tree)) != NULL)
		if (entry->fts_info == FTS_F)
			bytes += (uint64_t)entry->fts_statp->st_blocks * 512;
	if (tree)
		fts_close(tree);
	return bytes;
}

int cache_room(const struct cache *cache, uint64_t bytes, struct error *e)
{
	struct statvfs fs;

	if (statvfs(cache->directory, &fs) < 0 || (uint64_t)fs.f_bavail * fs.f_frsize >= bytes)
		return 0;
	return error_set(
		e, ERROR_FAILED, -ENOSPC,
		"%.300s: %llu MB are needed and %llu are free; make room, or set XDG_CACHE_HOME to another disk",
		cache->directory, (unsigned long long)(bytes / MIB),
		(unsigned long long)((uint64_t)fs.f_bavail * fs.f_frsize / MIB));
}
