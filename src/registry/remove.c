#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "registry/private.h"

#define DEPTH_MAX 32
#define ATTEMPTS  16
/* Longer than the making of a folder takes by far. */
#define MAKING_S 600

static int delete_at(int parent, const char *name, unsigned depth);

static void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

static int empty(int parent, const char *name, unsigned depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	__attribute__((cleanup(close_directory))) DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!directory) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while ((entry = readdir(directory))) {
		int one;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		one = delete_at(fd, entry->d_name, depth + 1);
		if (r == 0)
			r = one;
	}
	return r;
}

static bool remove_directory(int parent, const char *name)
{
	return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

static int delete_at(int parent, const char *name, unsigned depth)
{
	int r = 0;

	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth >= DEPTH_MAX)
		return -ELOOP;
	/* Who opened a machine's folder before it was hidden may still put a file there, a lock for one. */
	for (unsigned i = 0; i < ATTEMPTS && r == 0; i++) {
		if (remove_directory(parent, name))
			return 0;
		r = errno == ENOTEMPTY || errno == EEXIST ? empty(parent, name, depth) : -errno;
	}
	return remove_directory(parent, name) ? 0 : r < 0 ? r : -errno;
}

int registry_delete(int parent, const char *name)
{
	return delete_at(parent, name, 0);
}

/* Whether nobody makes that folder any more. One that is filled under its lock is left when that is free; *lock is taken
 * then, so that nobody who was about to take it goes on. Another is spared until nobody can be at it any more. */
static bool is_making_left(int machines, const char *name, int *lock)
{
	AUTO_CLOSE folder = openat(machines, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat stat;

	if (folder < 0)
		return false;
	if (faccessat(folder, LOCK_FILE, F_OK, 0) == 0)
		return (*lock = registry_lock_at(folder)) >= 0;
	return fstat(folder, &stat) == 0 && stat.st_mtime + MAKING_S < time(NULL);
}

static void sweep_one(int machines, const char *name)
{
	AUTO_CLOSE lock = -1;

	if (strncmp(name, REMOVED_PREFIX, strlen(REMOVED_PREFIX)) == 0 ||
	    (strncmp(name, MAKING_PREFIX, strlen(MAKING_PREFIX)) == 0 && is_making_left(machines, name, &lock)))
		(void)registry_delete(machines, name);
}

void registry_sweep(int machines)
{
	int fd = openat(machines, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__attribute__((cleanup(close_directory))) DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!directory && fd >= 0)
		close(fd);
	while (directory && (entry = readdir(directory)))
		if (entry->d_name[0] == '.')
			sweep_one(machines, entry->d_name);
}

void registry_hidden_name(const char *prefix, const char *name, char out[NAME_MAX + 1])
{
	uint64_t number;

	if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t)sizeof number)
		number = (uint64_t)getpid();
	snprintf(out, NAME_MAX + 1, "%s%.*s.%016llx", prefix, REGISTRY_NAME_SIZE - 1, name, (unsigned long long)number);
}

/* Under the lock, so that no monitor starts in it meanwhile. */
static int hide(struct registry *registry, int machines, const char *name, int folder, const char *hidden)
{
	AUTO_CLOSE lock = registry_lock_soon(registry, name, folder);
	struct stat here, there;

	if (lock < 0)
		return lock;
	if (fstat(folder, &here) < 0 || fstatat(machines, name, &there, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (here.st_ino != there.st_ino || here.st_dev != there.st_dev)
		return -ENOENT;
	return renameat(machines, name, machines, hidden) < 0 ? -errno : 0;
}

int registry_remove_folder(struct registry *registry, const char *name, int folder, struct error *e)
{
	AUTO_CLOSE machines = registry_root_open(registry, "machines", false);
	char hidden[NAME_MAX + 1];
	int r;

	registry_hidden_name(REMOVED_PREFIX, name, hidden);
	r = machines < 0 ? machines : hide(registry, machines, name, folder, hidden);
	if (r == -ENOENT)
		return registry_no_machine(machines, name, e);
	if (r == -EBUSY)
		return error_set(e, ERROR_STATE, r, "machine %s runs; stop it first", name);
	if (r < 0)
		return error_errno(e, r, "machine %s can not be removed", name);
	r = registry_delete(machines, hidden);
	registry_sweep(machines);
	return r < 0 ? error_errno(e, r, "machine %s is removed, but some of its files remain in %.200s/machines/%s", name,
				   registry->root, hidden)
		     : 0;
}

int registry_remove(struct registry *registry, const char *name, struct error *e)
{
	AUTO_CLOSE folder = -1;
	int r = registry_folder(registry, name, &folder, e);

	return r < 0 ? r : registry_remove_folder(registry, name, folder, e);
}
