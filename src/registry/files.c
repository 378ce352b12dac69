#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry/private.h"

int registry_open_file(int folder, const char *path, int flags)
{
	/* Without O_NONBLOCK a named pipe in the file's place would be waited for. */
	int fd = openat(folder, path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);

	return fd < 0 ? -errno : fd;
}

/* What is no regular file can not be read so, or ends at once. The short read of a regular file is its last, which spares a
 * list of machines every fourth system call. */
ssize_t registry_read_file(int folder, const char *path, char *out, size_t limit)
{
	AUTO_CLOSE fd = registry_open_file(folder, path, O_RDONLY);
	ssize_t count;

	if (fd < 0)
		return fd;
	do
		count = read(fd, out, limit + 1);
	while (count < 0 && errno == EINTR);
	if (count < 0)
		return -errno;
	if ((size_t)count > limit)
		return -EFBIG;
	out[count] = '\0';
	return count;
}

int registry_write_all(int fd, const void *bytes, size_t length)
{
	const char *from = bytes;

	while (length) {
		ssize_t count = write(fd, from, length);

		if (count < 0 && errno != EINTR)
			return -errno;
		if (count > 0) {
			from += count;
			length -= (size_t)count;
		}
	}
	return 0;
}

static int write_new(int folder, const char *path, const void *bytes, size_t length, bool flush)
{
	AUTO_CLOSE fd = registry_open_file(folder, path, O_WRONLY | O_CREAT | O_EXCL);
	int r = fd < 0 ? fd : registry_write_all(fd, bytes, length);

	return r == 0 && flush && fsync(fd) < 0 ? -errno : r;
}

/* For writing, as behind its walls a monitor may not read. */
int registry_flush_file(int folder, const char *file)
{
	AUTO_CLOSE fd = registry_open_file(folder, file, O_WRONLY);

	if (fd < 0)
		return fd;
	return fsync(fd) < 0 ? -errno : 0;
}

int registry_replace_file(int folder, const char *file, const void *bytes, size_t length, bool flush)
{
	char aside[64];
	int r;

	/* Only the holder of the machine's lock writes here: what lies there was left by one who was killed. */
	snprintf(aside, sizeof aside, ".%s.new", file);
	if (unlinkat(folder, aside, 0) < 0 && errno != ENOENT)
		return -errno;
	r = write_new(folder, aside, bytes, length, flush);
	if (r == 0 && renameat(folder, aside, folder, file) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(folder, aside, 0);
	return r;
}

int registry_overwrite_file(int folder, const char *file, const void *bytes, size_t length)
{
	AUTO_CLOSE fd = registry_open_file(folder, file, O_WRONLY);
	struct stat stat;

	if (fd < 0)
		return fd;
	if (fstat(fd, &stat) < 0)
		return -errno;
	if (!S_ISREG(stat.st_mode) || (uint64_t)stat.st_size != length)
		return -EINVAL;
	return registry_write_all(fd, bytes, length);
}
