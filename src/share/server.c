#include "share/server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define OLDEST_MINOR 31 /* Linux 5.4, the first with virtio-fs */
#define OUR_MINOR    38

#define WANTED                                                                                                    \
	(FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | \
	 FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES)

enum {
	NEEDS_NODE = 1, /* in->nodeid must be one */
	CHANGES = 2,    /* refused on a read-only share */
	SILENT = 4,     /* has no reply, whatever happens */
};

struct operation {
	operation_fn *serve;
	unsigned flags;
	size_t least; /* bytes of body */
};

static int serve_init(struct call *call)
{
	const struct fuse_init_in *in = (const void *)call->body;
	struct fuse_init_out *out = call_reply(call, sizeof *out);

	if (!out)
		return -EINVAL;
	out->major = FUSE_KERNEL_VERSION;
	out->minor = OUR_MINOR;
	/* A guest of another major version asks again, with this one. */
	if (in->major > FUSE_KERNEL_VERSION)
		return 0;
	if (in->major < FUSE_KERNEL_VERSION || in->minor < OLDEST_MINOR)
		return -EPROTO;
	/* It begins anew: whatever it knew before is forgotten. */
	nodes_clear(&call->server->nodes);
	handles_clear(&call->server->handles);
	out->max_readahead = in->max_readahead < SHARE_DATA_MAX ? in->max_readahead : (uint32_t)SHARE_DATA_MAX;
	out->flags = in->flags & WANTED;
	out->max_background = 32;
	out->congestion_threshold = 24;
	out->max_write = SHARE_DATA_MAX;
	out->max_pages = SHARE_DATA_MAX / 4096;
	out->time_gran = 1;
	return 0;
}

static int serve_destroy(struct call *call)
{
	nodes_clear(&call->server->nodes);
	handles_clear(&call->server->handles);
	return 0;
}

/* Everything is served in turn, so there is never anything to interrupt. */
static int serve_interrupt(struct call *call)
{
	(void)call;
	return 0;
}

static const struct operation operations[] = {
	[FUSE_LOOKUP] = {serve_lookup, NEEDS_NODE, 1},
	[FUSE_FORGET] = {serve_forget, SILENT, sizeof(struct fuse_forget_in)},
	[FUSE_GETATTR] = {serve_getattr, NEEDS_NODE, sizeof(struct fuse_getattr_in)},
	[FUSE_SETATTR] = {serve_setattr, NEEDS_NODE | CHANGES, sizeof(struct fuse_setattr_in)},
	[FUSE_READLINK] = {serve_readlink, NEEDS_NODE, 0},
	[FUSE_SYMLINK] = {serve_symlink, NEEDS_NODE | CHANGES, 2},
	[FUSE_MKNOD] = {serve_mknod, NEEDS_NODE | CHANGES, sizeof(struct fuse_mknod_in) + 1},
	[FUSE_MKDIR] = {serve_mkdir, NEEDS_NODE | CHANGES, sizeof(struct fuse_mkdir_in) + 1},
	[FUSE_UNLINK] = {serve_unlink, NEEDS_NODE | CHANGES, 1},
	[FUSE_RMDIR] = {serve_rmdir, NEEDS_NODE | CHANGES, 1},
	[FUSE_RENAME] = {serve_rename, NEEDS_NODE | CHANGES, sizeof(struct fuse_rename_in) + 2},
	[FUSE_LINK] = {serve_link, NEEDS_NODE | CHANGES, sizeof(struct fuse_link_in) + 1},
	[FUSE_OPEN] = {serve_open, NEEDS_NODE, sizeof(struct fuse_open_in)},
	[FUSE_READ] = {serve_read, 0, sizeof(struct fuse_read_in)},
	[FUSE_WRITE] = {serve_write, CHANGES, sizeof(struct fuse_write_in)},
	[FUSE_STATFS] = {serve_statfs, NEEDS_NODE, 0},
	[FUSE_RELEASE] = {serve_release, 0, sizeof(struct fuse_release_in)},
	[FUSE_FSYNC] = {serve_fsync, 0, sizeof(struct fuse_fsync_in)},
	[FUSE_SETXATTR] = {serve_setxattr, NEEDS_NODE | CHANGES, FUSE_COMPAT_SETXATTR_IN_SIZE + 1},
	[FUSE_GETXATTR] = {serve_getxattr, NEEDS_NODE, sizeof(struct fuse_getxattr_in) + 1},
	[FUSE_LISTXATTR] = {serve_listxattr, NEEDS_NODE, sizeof(struct fuse_getxattr_in)},
	[FUSE_REMOVEXATTR] = {serve_removexattr, NEEDS_NODE | CHANGES, 1},
	[FUSE_FLUSH] = {serve_flush, 0, sizeof(struct fuse_flush_in)},
	/* Linux before 5.17 ends there. */
	[FUSE_INIT] = {serve_init, 0, offsetof(struct fuse_init_in, flags2)},
	[FUSE_OPENDIR] = {serve_opendir, NEEDS_NODE, sizeof(struct fuse_open_in)},
	[FUSE_READDIR] = {serve_readdir, NEEDS_NODE, sizeof(struct fuse_read_in)},
	[FUSE_RELEASEDIR] = {serve_release, 0, sizeof(struct fuse_release_in)},
	[FUSE_FSYNCDIR] = {serve_fsync, 0, sizeof(struct fuse_fsync_in)},
	[FUSE_CREATE] = {serve_create, NEEDS_NODE | CHANGES, sizeof(struct fuse_create_in) + 1},
	[FUSE_INTERRUPT] = {serve_interrupt, SILENT, 0},
	[FUSE_DESTROY] = {serve_destroy, 0, 0},
	[FUSE_BATCH_FORGET] = {serve_batch_forget, SILENT, sizeof(struct fuse_batch_forget_in)},
	[FUSE_FALLOCATE] = {serve_fallocate, CHANGES, sizeof(struct fuse_fallocate_in)},
	[FUSE_READDIRPLUS] = {serve_readdirplus, NEEDS_NODE, sizeof(struct fuse_read_in)},
	[FUSE_RENAME2] = {serve_rename2, NEEDS_NODE | CHANGES, sizeof(struct fuse_rename2_in) + 2},
	[FUSE_LSEEK] = {serve_lseek, 0, sizeof(struct fuse_lseek_in)},
	[FUSE_COPY_FILE_RANGE] = {serve_copy_file_range, CHANGES, sizeof(struct fuse_copy_file_range_in)},
	[FUSE_SYNCFS] = {serve_syncfs, NEEDS_NODE, 0},
};

static int serve(struct call *call, const struct operation *operation)
{
	if (!operation || !operation->serve)
		return -ENOSYS;
	if (call->length < operation->least)
		return -EINVAL;
	if ((operation->flags & CHANGES) && call->server->read_only)
		return -EROFS;
	call->node = nodes_get(&call->server->nodes, call->in->nodeid);
	if ((operation->flags & NEEDS_NODE) && !call->node)
		return -ESTALE;
	return operation->serve(call);
}

size_t server_serve(struct server *server, const uint8_t *message, size_t length, uint8_t *reply, size_t room)
{
	const struct fuse_in_header *in = (const void *)message;
	struct fuse_out_header *out = (void *)reply;
	const struct operation *operation = NULL;
	struct call call = {.server = server, .in = in};
	int r = -EINVAL;

	if (length < sizeof *in)
		return 0;
	if (in->opcode < ARRAY_SIZE(operations))
		operation = &operations[in->opcode];
	call.body = message + sizeof *in;
	call.length = length - sizeof *in;
	call.out = reply + sizeof *out;
	call.room = room > sizeof *out ? room - sizeof *out : 0;
	if (in->len == length)
		r = serve(&call, operation);
	if (room < sizeof *out || (operation && (operation->flags & SILENT)))
		return 0;
	*out = (struct fuse_out_header){.error = r, .unique = in->unique};
	out->len = (uint32_t)(sizeof *out + (r == 0 ? call.written : 0));
	return out->len;
}

int server_init(struct server *server, int root, int proc, bool read_only)
{
	*server = (struct server){
		.proc = proc,
		.read_only = read_only,
		.uid = geteuid(),
		.gid = getegid(),
	};
	/* The guest's kernel has taken its caller's umask into account. */
	umask(0);
	return nodes_init(&server->nodes, root);
}

void server_finish(struct server *server)
{
	handles_clear(&server->handles);
	nodes_finish(&server->nodes);
	close(server->proc);
}

int call_name(const struct call *call, size_t *at, const char **name)
{
	const char *start = (const char *)call->body + *at;
	size_t left = call->length - *at, length = strnlen(start, left);

	if (length == left || length == 0)
		return -EINVAL;
	if (length > NAME_MAX)
		return -ENAMETOOLONG;
	if (strcmp(start, ".") == 0 || strcmp(start, "..") == 0 || memchr(start, '/', length))
		return -EPERM;
	*name = start;
	*at += length + 1;
	return 0;
}

void *call_reply(struct call *call, size_t size)
{
	void *reply = call->out + call->written;

	if (call->room - call->written < size)
		return NULL;
	memset(reply, 0, size);
	call->written += size;
	return reply;
}

void server_descriptor_name(int fd, char name[DESCRIPTOR_NAME])
{
	snprintf(name, DESCRIPTOR_NAME, "%d", fd);
}

int server_reopen(const struct server *server, const struct node *node, int flags)
{
	char name[DESCRIPTOR_NAME];
	int fd;

	if (!S_ISREG(node->type) && !S_ISDIR(node->type))
		return S_ISLNK(node->type) ? -ELOOP : -ENXIO;
	server_descriptor_name(node->fd, name);
	fd = openat(server->proc, name, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}
