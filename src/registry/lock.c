#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry/private.h"

#define END_MS  2000 /* a monitor that has written its last record gives the lock back within moments, on a busy host too */
#define LOOK_MS 10

/* The whole file, by locks of the open file (F_OFD): they end with its last descriptor, however the process ends. */
static int ask(int fd, int command, struct flock *lock)
{
	*lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
	while (fcntl(fd, command, lock) < 0)
		if (errno != EINTR)
			return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
	return 0;
}

int registry_is_locked(int folder, const char *path)
{
	AUTO_CLOSE fd = registry_open_file(folder, path, O_RDONLY);
	struct flock lock;
	int r;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = ask(fd, F_OFD_GETLK, &lock);
	return r < 0 ? r : lock.l_type != F_UNLCK;
}

int registry_lock_at(int folder)
{
	int fd = registry_open_file(folder, LOCK_FILE, O_RDWR | O_CREAT), r;
	struct flock lock;

	if (fd < 0)
		return fd;
	r = ask(fd, F_OFD_SETLK, &lock);
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

/* For those who can not read it in the record; the lock itself does not need it. */
static void sign(int fd)
{
	char text[16];
	int length = snprintf(text, sizeof text, "%d\n", (int)getpid());
	ssize_t ignored = ftruncate(fd, 0) == 0 ? pwrite(fd, text, (size_t)length, 0) : 0;

	(void)ignored;
}

pid_t registry_holder(int folder, const char *path)
{
	char text[16];
	long pid;

	if (registry_is_locked(folder, path) != 1)
		return 0;
	pid = registry_read_file(folder, path, text, sizeof text - 1) > 0 ? strtol(text, NULL, 10) : 0;
	return pid > 0 && pid <= INT32_MAX ? (pid_t)pid : -1;
}

/* Whether the open folder still is the machine's: its remover held the lock while it took the folder away. */
static bool is_in_place(const struct registry *registry, const char *name, int folder)
{
	AUTO_CLOSE machines = registry_root_open(registry, "machines", false);
	struct stat here, there;

	return machines >= 0 && fstat(folder, &here) == 0 && fstatat(machines, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

/* Whether the lock is only held for a moment more, or was. */
static bool is_ending(struct registry *registry, const char *name)
{
	struct record record;

	return registry_record(registry, name, &record, NULL) == 0 && record.monitor == 0;
}

int registry_lock_soon(struct registry *registry, const char *name, int folder)
{
	int fd = registry_lock_at(folder);

	for (unsigned waited = 0; fd == -EBUSY && waited < END_MS && is_ending(registry, name); waited += LOOK_MS) {
		usleep(LOOK_MS * 1000);
		/* One who removes it may have the lock; nothing may come to be in what he takes away. */
		fd = is_in_place(registry, name, folder) ? registry_lock_at(folder) : -ENOENT;
	}
	return fd;
}

int registry_lock(struct registry *registry, const char *name, int *fd, struct error *e)
{
	AUTO_CLOSE folder = -1;
	int own = registry_folder(registry, name, &folder, e);

	if (own < 0)
		return own;
	own = registry_lock_soon(registry, name, folder);
	if (own == -EBUSY)
		return error_set(e, ERROR_STATE, -EBUSY, "machine %s runs already", name);
	if (own < 0)
		return error_errno(e, own, "the lock of machine %s", name);
	if (!is_in_place(registry, name, folder)) {
		close(own);
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "machine %s was removed just now", name);
	}
	sign(own);
	*fd = own;
	return 0;
}

bool registry_is_held(struct registry *registry, const char *name)
{
	AUTO_CLOSE folder = -1;

	return registry_folder(registry, name, &folder, NULL) == 0 && registry_is_locked(folder, LOCK_FILE) == 1;
}
