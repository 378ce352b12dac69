#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_ROOM ((size_t)64 * 1024)

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static void free_bytes(uint8_t **bytes)
{
	free(*bytes);
}

#define AUTO_FD    __attribute__((cleanup(close_fd))) int
#define AUTO_BYTES __attribute__((cleanup(free_bytes))) uint8_t *

static const struct {
	int code;
	const char *remedy;
} remedies[] = {
	{-ENOENT, "check the path"},
	{-ENOTDIR, "check the path"},
	{-EACCES, "check its permissions, and those of the directories above it"},
	{-EISDIR, "name a file in it"},
	{-ENOSPC, "make room on that disk"},
	{-EDQUOT, "make room within the quota"},
	{-EROFS, "choose a place on a writable file system"},
};

static int fail(int code, const char *what, const char *path, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(remedies); i++)
		if (remedies[i].code == code)
			return error_set(e, error_kind_of(code), code, "cannot %s '%s': %s; %s", what, path,
					 strerror(-code), remedies[i].remedy);
	return error_errno(e, code, "cannot %s '%s'", what, path);
}

static int too_long(const char *path, size_t limit, struct error *e)
{
	return error_set(e, ERROR_USAGE, -EFBIG,
			 "'%s' is longer than %zu bytes, the most that is taken here; "
			 "check that it is the file you mean",
			 path, limit);
}

/* One read that is not interrupted: bytes read, 0 at the end, or a negative errno. */
static ssize_t read_some(int fd, uint8_t *to, size_t room)
{
	ssize_t count;

	do
		count = read(fd, to, room);
	while (count < 0 && errno == EINTR);
	return count < 0 ? -errno : count;
}

/* Room for one byte more than `limit` shows that a file is too long; the file's size is only a first guess. */
static int read_all(int fd, size_t limit, size_t guess, uint8_t **bytes, size_t *size)
{
	size_t room = guess < limit ? guess + 1 : limit + 1, used = 0;
	AUTO_BYTES buffer = malloc(room + 1);
	ssize_t count = 1;

	while (buffer && used <= limit && (count = read_some(fd, buffer + used, room - used)) > 0) {
		uint8_t *larger;

		used += (size_t)count;
		if (used < room || used > limit)
			continue;
		room = room < limit / 2 ? room * 2 : limit + 1;
		larger = realloc(buffer, room + 1);
		if (!larger)
			return -ENOMEM;
		buffer = larger;
	}
	if (!buffer)
		return -ENOMEM;
	if (count < 0)
		return (int)count;
	if (used > limit)
		return -EFBIG;
	buffer[used] = 0;
	*bytes = buffer;
	*size = used;
	buffer = NULL;
	return 0;
}

int file_read(const char *path, size_t limit, uint8_t **bytes, size_t *size, struct error *e)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat status;
	size_t guess = FIRST_ROOM;
	int code;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail(-errno, "read", path, e);
	if (S_ISDIR(status.st_mode))
		return fail(-EISDIR, "read", path, e);
	if (S_ISREG(status.st_mode) && status.st_size > 0) {
		if ((uint64_t)status.st_size > limit)
			return too_long(path, limit, e);
		guess = (size_t)status.st_size;
	}
	if (limit > SIZE_MAX / 2)
		limit = SIZE_MAX / 2;
	code = read_all(fd, limit, guess, bytes, size);
	if (code == -EFBIG)
		return too_long(path, limit, e);
	return code ? fail(code, "read", path, e) : 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
	while (size) {
		ssize_t count = write(fd, bytes, size);

		if (count < 0 && errno != EINTR)
			return -errno;
		if (count > 0) {
			bytes += count;
			size -= (size_t)count;
		}
	}
	return 0;
}

void file_flush_folder(const char *folder)
{
	AUTO_FD fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)fsync(fd);
}

static void flush_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *parent = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");

	if (parent)
		file_flush_folder(parent);
	free(parent);
}

static int fill(int fd, const void *bytes, size_t size, unsigned mode)
{
	int code = write_all(fd, bytes, size);

	if (!code && (fchmod(fd, (mode_t)mode) < 0 || fsync(fd) < 0))
		code = -errno;
	return code;
}

static int write_aside(char *aside, const char *path, const void *bytes, size_t size, unsigned mode)
{
	AUTO_FD fd = mkostemp(aside, O_CLOEXEC);
	int code;

	if (fd < 0)
		return -errno;
	code = fill(fd, bytes, size, mode);
	if (!code && rename(aside, path) < 0)
		code = -errno;
	if (code)
		unlink(aside);
	return code;
}

int file_write(const char *path, const void *bytes, size_t size, unsigned mode, struct error *e)
{
	char *aside;
	int code;

	if (asprintf(&aside, "%s.XXXXXX", path) < 0)
		return fail(-ENOMEM, "write", path, e);
	code = write_aside(aside, path, bytes, size, mode);
	free(aside);
	if (code)
		return fail(code, "write", path, e);
	flush_parent(path);
	return 0;
}

int file_read_at(int fd, void *bytes, size_t length, uint64_t offset)
{
	uint8_t *to = bytes;

	while (length) {
		ssize_t count = pread(fd, to, length, (off_t)offset);

		if (count == 0)
			return -EBADMSG;
		if (count < 0 && errno != EINTR)
			return -errno;
		if (count > 0) {
			to += count;
			offset += (uint64_t)count;
			length -= (size_t)count;
		}
	}
	return 0;
}

int file_write_at(int fd, const void *bytes, size_t length, uint64_t offset)
{
	const uint8_t *from = bytes;

	while (length) {
		ssize_t count = pwrite(fd, from, length, (off_t)offset);

		if (count < 0 && errno != EINTR)
			return -errno;
		if (count > 0) {
			from += count;
			offset += (uint64_t)count;
			length -= (size_t)count;
		}
	}
	return 0;
}

int file_path(const char *folder, const char *name, char path[PATH_MAX], struct error *e)
{
	size_t above = strlen(folder), length = strlen(name);

	if (above + 1 + length >= PATH_MAX)
		return error_errno(e, -ENAMETOOLONG, "%.300s", folder);
	memcpy(path, folder, above);
	path[above] = '/';
	memcpy(path + above + 1, name, length + 1);
	return 0;
}

int file_finish(int fd, const char *path, int r, struct error *e)
{
	if (r == 0 && fsync(fd) < 0)
		r = error_errno(e, -errno, "%.300s", path);
	close(fd);
	return r;
}
