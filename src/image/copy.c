#include "image/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (8 * MIB)

struct copy {
	int from, to;
	uint64_t done, total;
	void (*progress)(void *context, uint64_t done, uint64_t total);
	void *context;
};

/* With read and write where the kernel can not copy between these two. */
static ssize_t copy_by_hand(const struct copy *copy, uint64_t at, size_t size)
{
	static const size_t room = 256 * 1024;
	char *buffer = malloc(room);
	ssize_t count = buffer ? pread(copy->from, buffer, size < room ? size : room, (off_t)at) : -1;

	if (count > 0)
		count = pwrite(copy->to, buffer, (size_t)count, (off_t)at);
	free(buffer);
	return count;
}

static int copy_range(struct copy *copy, uint64_t at, uint64_t end)
{
	while (at < end) {
		size_t size = end - at < PIECE ? (size_t)(end - at) : PIECE;
		off_t in = (off_t)at, out = (off_t)at;
		ssize_t count = copy_file_range(copy->from, &in, copy->to, &out, size, 0);

		if (count < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
			count = copy_by_hand(copy, at, size);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return count < 0 ? -errno : -EIO;
		at += (uint64_t)count;
		copy->done += (uint64_t)count;
		if (copy->progress)
			copy->progress(copy->context, copy->done, copy->total);
	}
	return 0;
}

static int copy_all(struct copy *copy)
{
	struct stat status;
	off_t data = 0, hole;
	int r = 0;

	if (fstat(copy->from, &status) < 0 || ftruncate(copy->to, status.st_size) < 0)
		return -errno;
	if (ioctl(copy->to, FICLONE, copy->from) == 0)
		return 0;
	copy->total = (uint64_t)status.st_blocks * 512;
	while (r == 0 && (data = lseek(copy->from, data, SEEK_DATA)) >= 0) {
		hole = lseek(copy->from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		r = copy_range(copy, (uint64_t)data, (uint64_t)hole);
		data = hole;
	}
	if (r == 0 && data < 0 && errno != ENXIO)
		r = -errno;
	if (r == 0 && fsync(copy->to) < 0)
		r = -errno;
	return r;
}

int copy_file(const char *from, const char *to, void (*progress)(void *context, uint64_t done, uint64_t total),
	      void *context, struct error *e)
{
	struct copy copy = {.from = open(from, O_RDONLY | O_CLOEXEC), .to = -1, .progress = progress, .context = context};
	char aside[PATH_MAX];
	int r = 0;

	if (copy.from < 0)
		return error_errno(e, -errno, "%.300s", from);
	if (snprintf(aside, sizeof aside, "%s.XXXXXX", to) >= (int)sizeof aside)
		r = -ENAMETOOLONG;
	else if ((copy.to = mkostemp(aside, O_CLOEXEC)) < 0)
		r = -errno;
	else
		r = copy_all(&copy);
	if (copy.to >= 0) {
		if (r == 0 && renameat2(AT_FDCWD, aside, AT_FDCWD, to, RENAME_NOREPLACE) < 0)
			r = -errno;
		if (r < 0)
			(void)unlink(aside);
		close(copy.to);
	}
	close(copy.from);
	return r < 0 ? error_errno(e, r, "cannot copy to %.300s", to) : 0;
}
