/* Operations on attributes: of files, extended ones, and of the whole file system. */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "share/server.h"

/* The server's user and root change places; everybody else is who he is. */
uid_t server_guest_uid(const struct server *server, uid_t uid)
{
	return uid == server->uid ? 0 : uid == 0 ? server->uid : uid;
}

gid_t server_guest_gid(const struct server *server, gid_t gid)
{
	return gid == server->gid ? 0 : gid == 0 ? server->gid : gid;
}

void server_give(const struct call *call, const char *name)
{
	uid_t uid = server_guest_uid(call->server, call->in->uid);
	gid_t gid = server_guest_gid(call->server, call->in->gid);

	if (call->server->uid != 0 || (uid == 0 && gid == 0))
		return;
	/* Where that is refused the file is root's, as it would be without the try. */
	(void)!fchownat(call->node->fd, name, uid, gid, AT_SYMLINK_NOFOLLOW);
}

void server_attributes(const struct server *server, const struct stat *stat, struct fuse_attr *out)
{
	*out = (struct fuse_attr){
		.ino = stat->st_ino,
		.size = (uint64_t)stat->st_size,
		.blocks = (uint64_t)stat->st_blocks,
		.atime = (uint64_t)stat->st_atim.tv_sec,
		.mtime = (uint64_t)stat->st_mtim.tv_sec,
		.ctime = (uint64_t)stat->st_ctim.tv_sec,
		.atimensec = (uint32_t)stat->st_atim.tv_nsec,
		.mtimensec = (uint32_t)stat->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)stat->st_ctim.tv_nsec,
		.mode = stat->st_mode,
		.nlink = (uint32_t)stat->st_nlink,
		.uid = server_guest_uid(server, stat->st_uid),
		.gid = server_guest_gid(server, stat->st_gid),
		.rdev = (uint32_t)stat->st_rdev,
		.blksize = (uint32_t)stat->st_blksize,
	};
}

static int reply_attributes(struct call *call, int fd)
{
	struct fuse_attr_out *out = call_reply(call, sizeof *out);
	struct stat stat;

	if (!out)
		return -EINVAL;
	if (fstat(fd, &stat) < 0)
		return -errno;
	out->attr_valid = BELIEF_SECONDS;
	server_attributes(call->server, &stat, &out->attr);
	return 0;
}

int serve_getattr(struct call *call)
{
	const struct fuse_getattr_in *in = (const void *)call->body;
	int fd = in->getattr_flags & FUSE_GETATTR_FH ? handles_get(&call->server->handles, in->fh) : call->node->fd;

	return fd < 0 ? -EBADF : reply_attributes(call, fd);
}

static int set_mode(struct call *call, const struct fuse_setattr_in *in)
{
	char name[DESCRIPTOR_NAME];

	if (S_ISLNK(call->node->type))
		return -EOPNOTSUPP;
	server_descriptor_name(call->node->fd, name);
	return fchmodat(call->server->proc, name, in->mode & (ACCESSPERMS | S_ISVTX), 0) < 0 ? -errno : 0;
}

static int set_owner(struct call *call, const struct fuse_setattr_in *in)
{
	const struct server *server = call->server;
	uid_t uid = in->valid & FATTR_UID ? server_guest_uid(server, in->uid) : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? server_guest_gid(server, in->gid) : (gid_t)-1;

	return fchownat(call->node->fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_size(struct call *call, const struct fuse_setattr_in *in)
{
	int fd = in->valid & FATTR_FH ? handles_get(&call->server->handles, in->fh) : -1;
	int own = -1, r;

	if (in->size > INT64_MAX)
		return -EFBIG;
	if (fd < 0) {
		fd = own = server_reopen(call->server, call->node, O_WRONLY);
		if (fd < 0)
			return fd;
	}
	r = ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
	if (own >= 0)
		close(own);
	return r;
}

static struct timespec time_of(uint32_t valid, uint32_t set, uint32_t now, uint64_t seconds, uint32_t nanoseconds)
{
	if (!(valid & set))
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	if (valid & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = nanoseconds % 1000000000};
}

static int set_times(struct call *call, const struct fuse_setattr_in *in)
{
	const struct timespec times[2] = {
		time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};
	char name[DESCRIPTOR_NAME];

	/* Through the link in /proc the file itself is meant, so a symbolic link has to do without. */
	if (S_ISLNK(call->node->type))
		return -EOPNOTSUPP;
	server_descriptor_name(call->node->fd, name);
	return utimensat(call->server->proc, name, times, 0) < 0 ? -errno : 0;
}

int serve_setattr(struct call *call)
{
	static const struct {
		uint32_t valid;
		int (*set)(struct call *call, const struct fuse_setattr_in *in);
	} parts[] = {
		{FATTR_MODE, set_mode},
		{FATTR_UID | FATTR_GID, set_owner},
		{FATTR_SIZE, set_size},
		{FATTR_ATIME | FATTR_MTIME, set_times},
	};
	const struct fuse_setattr_in *in = (const void *)call->body;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int r = in->valid & parts[i].valid ? parts[i].set(call, in) : 0;

		if (r < 0)
			return r;
	}
	return reply_attributes(call, call->node->fd);
}

/* Only the users' own attributes: others mean something to the host (capabilities, access lists, labels). */
static int check_attribute(const char *name)
{
	return strncmp(name, "user.", 5) == 0 ? 0 : -EOPNOTSUPP;
}

static int attribute_name(const struct call *call, size_t *at, const char **name)
{
	int r = call_name(call, at, name);

	return r < 0 ? r : check_attribute(*name);
}

/* The name at body + *at, and the file that it is asked of: a descriptor, or a negative errno. */
static int open_attribute(const struct call *call, size_t *at, const char **name)
{
	int r = attribute_name(call, at, name);

	return r < 0 ? r : server_reopen(call->server, call->node, O_RDONLY);
}

int serve_setxattr(struct call *call)
{
	const struct fuse_setxattr_in *in = (const void *)call->body;
	size_t at = FUSE_COMPAT_SETXATTR_IN_SIZE;
	const char *name;
	int r = attribute_name(call, &at, &name), fd;

	if (r < 0)
		return r;
	if (call->length - at != in->size)
		return -EINVAL;
	fd = server_reopen(call->server, call->node, O_RDONLY);
	if (fd < 0)
		return fd;
	r = fsetxattr(fd, name, call->body + at, in->size, (int)(in->flags & (XATTR_CREATE | XATTR_REPLACE))) < 0 ?
		    -errno :
		    0;
	close(fd);
	return r;
}

int serve_removexattr(struct call *call)
{
	const char *name;
	size_t at = 0;
	int fd = open_attribute(call, &at, &name), r;

	if (fd < 0)
		return fd;
	r = fremovexattr(fd, name) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static size_t value_room(const struct call *call, uint32_t size)
{
	return size < call->room ? size : call->room;
}

/* What getxattr or listxattr returned, as a reply: with `size` 0 the guest asks for the length only. */
static int reply_value(struct call *call, uint32_t size, ssize_t length)
{
	struct fuse_getxattr_out *out;

	if (length < 0)
		return -errno;
	/* With no room at all the host was asked for the length only, too. */
	if (size && (size_t)length > value_room(call, size))
		return -ERANGE;
	if (size) {
		call->written = (size_t)length;
		return 0;
	}
	out = call_reply(call, sizeof *out);
	if (!out)
		return -EINVAL;
	out->size = (uint32_t)length;
	return 0;
}

int serve_getxattr(struct call *call)
{
	const struct fuse_getxattr_in *in = (const void *)call->body;
	size_t at = sizeof *in;
	const char *name;
	int fd = open_attribute(call, &at, &name), r;

	if (fd < 0)
		return fd;
	r = reply_value(call, in->size, fgetxattr(fd, name, call->out, value_room(call, in->size)));
	close(fd);
	return r;
}

/* Keeps the names that may be asked for; the new length. */
static ssize_t filter_names(char *names, ssize_t length)
{
	ssize_t kept = 0;

	for (ssize_t at = 0, step; at < length; at += step) {
		step = (ssize_t)strnlen(names + at, (size_t)(length - at)) + 1;
		if (check_attribute(names + at) < 0)
			continue;
		memmove(names + kept, names + at, (size_t)step);
		kept += step;
	}
	return kept;
}

int serve_listxattr(struct call *call)
{
	const struct fuse_getxattr_in *in = (const void *)call->body;
	char names[XATTR_LIST_MAX];
	ssize_t length;
	int fd = server_reopen(call->server, call->node, O_RDONLY);

	if (fd < 0)
		return fd;
	length = flistxattr(fd, names, sizeof names);
	if (length > 0)
		length = filter_names(names, length);
	close(fd);
	if (length > 0 && in->size) {
		if ((size_t)length > value_room(call, in->size))
			return -ERANGE;
		memcpy(call->out, names, (size_t)length);
	}
	return reply_value(call, in->size, length);
}

int serve_statfs(struct call *call)
{
	struct fuse_statfs_out *out = call_reply(call, sizeof *out);
	struct statvfs stat;

	if (!out)
		return -EINVAL;
	if (fstatvfs(call->node->fd, &stat) < 0)
		return -errno;
	out->st = (struct fuse_kstatfs){
		.blocks = stat.f_blocks,
		.bfree = stat.f_bfree,
		.bavail = stat.f_bavail,
		.files = stat.f_files,
		.ffree = stat.f_ffree,
		.bsize = (uint32_t)stat.f_bsize,
		.namelen = (uint32_t)stat.f_namemax,
		.frsize = (uint32_t)stat.f_frsize,
	};
	return 0;
}
