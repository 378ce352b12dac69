/* Operations on names: looking up, making, removing, renaming. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "share/server.h"

int server_lookup(struct server *server, const struct node *directory, const char *name, struct fuse_entry_out *out)
{
	struct stat stat;
	uint64_t number;
	int fd = openat(directory->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : 0;

	if (r < 0)
		return r;
	if (fstat(fd, &stat) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	r = nodes_add(&server->nodes, fd, &stat, &number);
	if (r < 0)
		return r;
	out->nodeid = number;
	out->generation = nodes_get(&server->nodes, number)->generation;
	out->entry_valid = out->attr_valid = BELIEF_SECONDS;
	server_attributes(server, &stat, &out->attr);
	return 0;
}

static int reply_entry(struct call *call, const struct node *directory, const char *name)
{
	struct fuse_entry_out *out = call_reply(call, sizeof *out);

	return out ? server_lookup(call->server, directory, name, out) : -EINVAL;
}

int serve_lookup(struct call *call)
{
	const char *name;
	size_t at = 0;
	int r = call_name(call, &at, &name);

	return r < 0 ? r : reply_entry(call, call->node, name);
}

int serve_forget(struct call *call)
{
	const struct fuse_forget_in *in = (const void *)call->body;

	nodes_forget(&call->server->nodes, call->in->nodeid, in->nlookup);
	return 0;
}

int serve_batch_forget(struct call *call)
{
	const struct fuse_batch_forget_in *in = (const void *)call->body;
	const struct fuse_forget_one *one = (const void *)(in + 1);
	size_t fit = (call->length - sizeof *in) / sizeof *one;

	for (size_t i = 0; i < in->count && i < fit; i++)
		nodes_forget(&call->server->nodes, one[i].nodeid, one[i].nlookup);
	return 0;
}

int serve_readlink(struct call *call)
{
	ssize_t length;

	if (!S_ISLNK(call->node->type))
		return -EINVAL;
	length = readlinkat(call->node->fd, "", (char *)call->out, call->room);
	if (length < 0)
		return -errno;
	call->written = (size_t)length;
	return 0;
}

/* A link's text is the guest's own affair: nobody follows it here. */
int serve_symlink(struct call *call)
{
	const char *name, *target;
	size_t at = 0, left;
	int r = call_name(call, &at, &name);

	if (r < 0)
		return r;
	target = (const char *)call->body + at;
	left = call->length - at;
	if (strnlen(target, left) == left)
		return -EINVAL;
	if (symlinkat(target, call->node->fd, name) < 0)
		return -errno;
	server_give(call, name);
	return reply_entry(call, call->node, name);
}

int serve_mknod(struct call *call)
{
	const struct fuse_mknod_in *in = (const void *)call->body;
	const char *name;
	size_t at = sizeof *in;
	int r = call_name(call, &at, &name);

	if (r < 0)
		return r;
	if (S_ISCHR(in->mode) || S_ISBLK(in->mode))
		return -EPERM;
	if (mknodat(call->node->fd, name, in->mode & (S_IFMT | ACCESSPERMS), 0) < 0)
		return -errno;
	server_give(call, name);
	return reply_entry(call, call->node, name);
}

int serve_mkdir(struct call *call)
{
	const struct fuse_mkdir_in *in = (const void *)call->body;
	const char *name;
	size_t at = sizeof *in;
	int r = call_name(call, &at, &name);

	if (r < 0)
		return r;
	if (mkdirat(call->node->fd, name, in->mode & (ACCESSPERMS | S_ISVTX)) < 0)
		return -errno;
	server_give(call, name);
	return reply_entry(call, call->node, name);
}

static int remove_name(struct call *call, int flags)
{
	const char *name;
	size_t at = 0;
	int r = call_name(call, &at, &name);

	if (r < 0)
		return r;
	return unlinkat(call->node->fd, name, flags) < 0 ? -errno : 0;
}

int serve_unlink(struct call *call)
{
	return remove_name(call, 0);
}

int serve_rmdir(struct call *call)
{
	return remove_name(call, AT_REMOVEDIR);
}

static int rename_names(struct call *call, size_t at, uint64_t directory, unsigned flags)
{
	const struct node *to = nodes_get(&call->server->nodes, directory);
	const char *old_name, *new_name;
	int r = to ? call_name(call, &at, &old_name) : -ESTALE;

	if (r == 0)
		r = call_name(call, &at, &new_name);
	if (r < 0)
		return r;
	return renameat2(call->node->fd, old_name, to->fd, new_name, flags) < 0 ? -errno : 0;
}

int serve_rename(struct call *call)
{
	const struct fuse_rename_in *in = (const void *)call->body;

	return rename_names(call, sizeof *in, in->newdir, 0);
}

int serve_rename2(struct call *call)
{
	const struct fuse_rename2_in *in = (const void *)call->body;

	/* A whiteout would be a device node. */
	if (in->flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	return rename_names(call, sizeof *in, in->newdir, in->flags);
}

int serve_link(struct call *call)
{
	const struct fuse_link_in *in = (const void *)call->body;
	const struct node *file = nodes_get(&call->server->nodes, in->oldnodeid);
	char from[DESCRIPTOR_NAME];
	const char *name;
	size_t at = sizeof *in;
	int r = file ? call_name(call, &at, &name) : -ESTALE;

	if (r < 0)
		return r;
	server_descriptor_name(file->fd, from);
	if (linkat(call->server->proc, from, call->node->fd, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return reply_entry(call, call->node, name);
}
