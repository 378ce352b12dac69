#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "wall/private.h"

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 1
#define MOUNT_ATTR_NOSUID 2
#define MOUNT_ATTR_NODEV  4
#define MOUNT_ATTR_NOEXEC 8
#endif

/* An empty directory of every Linux host to put the new root on; it is hidden in the child's mount namespace
 * only. */
#define PLACE "/dev"
/* A directory that nothing can be made in, for hosts where only chroot is allowed. */
#define BARREN "/proc/self/fdinfo"

struct mount_attributes {
	uint64_t set, clear, propagation, user_namespace;
};

static int limit_mount(const char *path, bool read_only, bool recursive)
{
	struct mount_attributes attributes = {
		.set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
		       (read_only ? MOUNT_ATTR_RDONLY : 0),
	};

	if (syscall(SYS_mount_setattr, AT_FDCWD, path, recursive ? AT_RECURSIVE : 0, &attributes,
		    sizeof attributes) < 0)
		return -errno;
	return 0;
}

/* The directories that `path` lies in, which starts with PLACE. */
static int make_parents(char *path)
{
	for (char *slash = path + sizeof PLACE; (slash = strchr(slash, '/')); slash++) {
		int r;

		*slash = '\0';
		r = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
		*slash = '/';
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_file(const char *file)
{
	char path[PATH_MAX];
	int fd, r;

	if (access(file, R_OK) < 0)
		return 0;
	if ((size_t)snprintf(path, sizeof path, PLACE "%s", file) >= sizeof path)
		return -ENAMETOOLONG;
	r = make_parents(path);
	if (r < 0)
		return r;
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	close(fd);
	if (mount(file, path, NULL, MS_BIND, NULL) < 0)
		return -errno;
	return limit_mount(path, true, false);
}

static int mount_empty(const struct wall_plan *plan)
{
	int r = 0;

	if (mount("doppel", PLACE, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,nr_inodes=32,mode=0755") < 0)
		return -errno;
	for (const char *const *file = plan->files; r == 0 && file && *file; file++)
		r = add_file(*file);
	return r < 0 ? r : limit_mount(PLACE, true, false);
}

static int mount_folder(const struct wall_plan *plan, const char *folder)
{
	if (mount(folder, folder, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -errno;
	return limit_mount(folder, plan->folder_read_only, true);
}

/* The old root is stacked over the new one for a moment, then taken off: no directory for it is needed. */
static int enter(const char *place)
{
	if (chdir(place) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
	    chdir("/") < 0)
		return -errno;
	return 0;
}

static unsigned change_root_only(const struct wall_plan *plan, const char *folder)
{
	const char *place = folder ? folder : BARREN;

	if ((plan->files && !folder) || chdir(place) < 0 || chroot(".") < 0)
		return 0;
	return WALL_ROOT;
}

unsigned wall_root(const struct wall_plan *plan, const char *folder, unsigned parts)
{
	int r;

	if (!(parts & WALL_NAMESPACES))
		return change_root_only(plan, folder);
	r = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;
	if (r == 0)
		r = folder ? mount_folder(plan, folder) : mount_empty(plan);
	if (r == 0)
		r = enter(folder ? folder : PLACE);
	return r == 0 ? WALL_ROOT : change_root_only(plan, folder);
}
