/* Operations on open files. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

#include "share/server.h"

#define KEPT_FLAGS (O_ACCMODE | O_SYNC | O_DSYNC)

static bool writes(uint32_t flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

static int handle_of(const struct call *call, uint64_t number)
{
	int fd = handles_get(&call->server->handles, number);

	return fd < 0 ? -EBADF : fd;
}

static int reply_open(struct call *call, int fd)
{
	struct fuse_open_out *out = call_reply(call, sizeof *out);

	if (out)
		return handles_add(&call->server->handles, fd, &out->fh);
	close(fd);
	return -EINVAL;
}

int serve_open(struct call *call)
{
	const struct fuse_open_in *in = (const void *)call->body;
	int fd;

	if (writes(in->flags) && call->server->read_only)
		return -EROFS;
	if (!S_ISREG(call->node->type))
		return S_ISDIR(call->node->type) ? -EISDIR : -ENXIO;
	fd = server_reopen(call->server, call->node, (int)(in->flags & KEPT_FLAGS));
	return fd < 0 ? fd : reply_open(call, fd);
}

/* What stood there before the guest's create may be anything, such as a FIFO of the host's. */
static int create(const struct call *call, const char *name, const struct fuse_create_in *in)
{
	int flags = (int)(in->flags & (KEPT_FLAGS | O_EXCL | O_TRUNC));
	int fd = openat(call->node->fd, name, flags | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
			in->mode & ACCESSPERMS);
	struct stat stat;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode)) {
		server_give(call, name);
		return fd;
	}
	close(fd);
	return -ENXIO;
}

int serve_create(struct call *call)
{
	const struct fuse_create_in *in = (const void *)call->body;
	struct fuse_entry_out *entry = call_reply(call, sizeof *entry);
	const struct node *directory = call->node;
	const char *name;
	size_t at = sizeof *in;
	int r = entry ? call_name(call, &at, &name) : -EINVAL, fd;

	if (r < 0)
		return r;
	fd = create(call, name, in);
	if (fd < 0)
		return fd;
	r = server_lookup(call->server, directory, name, entry);
	if (r < 0) {
		close(fd);
		return r;
	}
	r = reply_open(call, fd);
	if (r < 0)
		nodes_forget(&call->server->nodes, entry->nodeid, 1);
	return r;
}

int serve_read(struct call *call)
{
	const struct fuse_read_in *in = (const void *)call->body;
	size_t size = in->size < call->room ? in->size : call->room;
	int fd = handle_of(call, in->fh);
	ssize_t got;

	if (fd < 0)
		return fd;
	if (in->offset > INT64_MAX)
		return -EINVAL;
	got = pread(fd, call->out, size, (off_t)in->offset);
	if (got < 0)
		return -errno;
	call->written = (size_t)got;
	return 0;
}

int serve_write(struct call *call)
{
	const struct fuse_write_in *in = (const void *)call->body;
	struct fuse_write_out *out = call_reply(call, sizeof *out);
	int fd = handle_of(call, in->fh);
	ssize_t put;

	if (fd < 0)
		return fd;
	if (!out || call->length - sizeof *in != in->size || in->offset > INT64_MAX)
		return -EINVAL;
	put = pwrite(fd, call->body + sizeof *in, in->size, (off_t)in->offset);
	if (put < 0)
		return -errno;
	out->size = (uint32_t)put;
	return 0;
}

int serve_release(struct call *call)
{
	const struct fuse_release_in *in = (const void *)call->body;

	handles_remove(&call->server->handles, in->fh);
	return 0;
}

/* A write has reached the host's file when it was answered; nothing waits here. */
int serve_flush(struct call *call)
{
	(void)call;
	return 0;
}

int serve_fsync(struct call *call)
{
	const struct fuse_fsync_in *in = (const void *)call->body;
	int fd = handle_of(call, in->fh);

	if (fd < 0)
		return fd;
	return (in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

int serve_syncfs(struct call *call)
{
	int fd = server_reopen(call->server, nodes_get(&call->server->nodes, NODE_ROOT), O_RDONLY), r;

	if (fd < 0)
		return fd;
	r = syncfs(fd) < 0 ? -errno : 0;
	close(fd);
	return r;
}

int serve_lseek(struct call *call)
{
	const struct fuse_lseek_in *in = (const void *)call->body;
	struct fuse_lseek_out *out = call_reply(call, sizeof *out);
	int fd = handle_of(call, in->fh);
	off_t at;

	if (fd < 0)
		return fd;
	if (!out || in->offset > INT64_MAX || (in->whence != SEEK_DATA && in->whence != SEEK_HOLE))
		return -EINVAL;
	at = lseek(fd, (off_t)in->offset, (int)in->whence);
	if (at < 0)
		return -errno;
	out->offset = (uint64_t)at;
	return 0;
}

int serve_fallocate(struct call *call)
{
	static const uint32_t modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					 FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	const struct fuse_fallocate_in *in = (const void *)call->body;
	int fd = handle_of(call, in->fh);

	if (fd < 0)
		return fd;
	if (in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (in->mode == modes[i])
			return fallocate(fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0 ? -errno : 0;
	return -EOPNOTSUPP;
}

int serve_copy_file_range(struct call *call)
{
	const struct fuse_copy_file_range_in *in = (const void *)call->body;
	struct fuse_write_out *out = call_reply(call, sizeof *out);
	int from = handle_of(call, in->fh_in), to = handle_of(call, in->fh_out);
	off_t from_at, to_at;
	ssize_t copied;

	if (from < 0 || to < 0)
		return -EBADF;
	if (!out || in->off_in > INT64_MAX || in->off_out > INT64_MAX || in->flags)
		return -EINVAL;
	from_at = (off_t)in->off_in;
	to_at = (off_t)in->off_out;
	copied = copy_file_range(from, &from_at, to, &to_at, in->len < GIB ? in->len : GIB, 0);
	if (copied < 0)
		return -errno;
	out->size = (uint32_t)copied;
	return 0;
}
