#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "config/tree.h"
#include "registry/private.h"

void registry_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* Whether `path` fits: the length of what was written. */
static int put(struct registry *registry, const char *base, const char *rest)
{
	int length = snprintf(registry->root, sizeof registry->root, "%s%s", base, rest);

	return (size_t)length < sizeof registry->root ? 0 : -ENAMETOOLONG;
}

static const char *home(void)
{
	const char *set = getenv("HOME");
	const struct passwd *user;

	if (set && *set == '/')
		return set;
	user = getpwuid(geteuid());
	return user && user->pw_dir && *user->pw_dir == '/' ? user->pw_dir : NULL;
}

/* A relative $DOPPEL_STATE is meant from the working directory as it is now. */
static int put_given(struct registry *registry, const char *given)
{
	char here[PATH_MAX];

	if (*given == '/')
		return put(registry, given, "");
	if (!getcwd(here, sizeof here - 1))
		return -errno;
	strcat(here, "/");
	return put(registry, here, given);
}

int registry_root_find(struct registry *registry, struct error *e)
{
	const char *given = getenv("DOPPEL_STATE"), *state = getenv("XDG_STATE_HOME"), *base;
	int r;

	if (given && *given)
		r = put_given(registry, given);
	else if (geteuid() == 0)
		r = put(registry, "/var/lib/doppel", "");
	else if (state && *state == '/')
		r = put(registry, state, "/doppel");
	else if ((base = home()))
		r = put(registry, base, "/.local/state/doppel");
	else
		return error_set(e, ERROR_USAGE, -ENOENT,
				 "there is no directory for machines; set HOME or DOPPEL_STATE to an absolute path");
	return r < 0 ? error_set(e, ERROR_USAGE, r,
				 "the directory for machines can not be told: %s; set DOPPEL_STATE to another",
				 strerror(-r))
		     : 0;
}

/* Makes what is missing on the way; only the last part is ours alone. */
static int make_directories(const char *directory)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s", directory);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int registry_root_open(const struct registry *registry, const char *folder, bool make)
{
	char path[PATH_MAX];
	int fd, r;

	snprintf(path, sizeof path, "%s/%s", registry->root, folder);
	fd = open_folder(path);
	if (fd != -ENOENT || !make)
		return fd;
	r = make_directories(registry->root);
	if (r == 0 && mkdir(path, 0700) < 0 && errno != EEXIST)
		r = -errno;
	return r < 0 ? r : open_folder(path);
}

/* Others could put machines of their making there, or a lock that never opens. */
static int check_owner(const struct registry *registry, struct error *e)
{
	struct stat stat_of;

	if (stat(registry->root, &stat_of) < 0)
		return error_errno(e, -errno, "the directory for machines %.300s", registry->root);
	if (!S_ISDIR(stat_of.st_mode))
		return error_set(e, ERROR_USAGE, -ENOTDIR,
				 "%.300s is no directory; set DOPPEL_STATE to one for machines", registry->root);
	if (stat_of.st_uid != geteuid())
		return error_set(e, ERROR_PERMISSION, -EPERM,
				 "the directory for machines %.300s belongs to another user (uid %u); set DOPPEL_STATE to "
				 "one of yours",
				 registry->root, (unsigned)stat_of.st_uid);
	if (stat_of.st_mode & (S_IWGRP | S_IWOTH))
		return error_set(e, ERROR_PERMISSION, -EPERM,
				 "others may write to the directory for machines %.300s; chmod go-w it, or set DOPPEL_STATE "
				 "to another",
				 registry->root);
	return 0;
}

int registry_open(struct registry **out, struct error *e)
{
	struct registry *registry = calloc(1, sizeof *registry);
	int r;

	if (!registry)
		return error_errno(e, -ENOMEM, "the directory for machines");
	r = registry_root_find(registry, e);
	if (r == 0 && (r = make_directories(registry->root)) < 0)
		(void)error_set(e, error_kind_of(r), r,
				"cannot make the directory for machines %.300s: %s; set DOPPEL_STATE to another",
				registry->root, strerror(-r));
	if (r == 0)
		r = check_owner(registry, e);
	if (r < 0) {
		registry_close(registry);
		return r;
	}
	(void)registry_boot_id();
	*out = registry;
	return 0;
}

void registry_close(struct registry *registry)
{
	free(registry);
}

const char *registry_root(const struct registry *registry)
{
	return registry->root;
}

void registry_path(const struct registry *registry, const char *name, const char *file, char *out)
{
	snprintf(out, PATH_MAX, "%s/machines/%s/%s", registry->root, name, file);
}

void registry_folder_path(const struct registry *registry, const char *name, char *out)
{
	snprintf(out, PATH_MAX, "%s/machines/%s", registry->root, name);
}

int registry_document(const struct registry *registry, const char *name, char *path, uint8_t **text, size_t *length,
		      struct error *e)
{
	registry_path(registry, name, DOCUMENT_FILE, path);
	return file_read(path, TREE_BYTES_MAX, text, length, e);
}
