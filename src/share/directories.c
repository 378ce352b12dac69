/* Reading directories. A position is the host's own (d_off), so that it holds while files come and go. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "share/server.h"

int serve_opendir(struct call *call)
{
	struct fuse_open_out *out = call_reply(call, sizeof *out);
	int fd;

	if (!out)
		return -EINVAL;
	if (!S_ISDIR(call->node->type))
		return -ENOTDIR;
	fd = server_reopen(call->server, call->node, O_RDONLY | O_DIRECTORY);
	return fd < 0 ? fd : handles_add(&call->server->handles, fd, &out->fh);
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* What lies above the folder is nobody's business: its parent is told to be itself. */
static uint64_t inode_of(const struct call *call, const struct dirent64 *entry)
{
	bool above = call->in->nodeid == NODE_ROOT && strcmp(entry->d_name, "..") == 0;

	return above ? call->node->inode : entry->d_ino;
}

static void fill(const struct call *call, const struct dirent64 *entry, size_t length, struct fuse_dirent *out)
{
	out->ino = inode_of(call, entry);
	out->off = (uint64_t)entry->d_off;
	out->namelen = (uint32_t)length;
	out->type = entry->d_type;
	memcpy(out->name, entry->d_name, length);
}

/* False: there is no room for it. */
static bool put_plain(struct call *call, const struct dirent64 *entry)
{
	size_t length = strlen(entry->d_name);
	struct fuse_dirent *out = call_reply(call, FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + length));

	if (out)
		fill(call, entry, length, out);
	return out != NULL;
}

static bool put_plus(struct call *call, const struct dirent64 *entry)
{
	size_t length = strlen(entry->d_name), size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + length);
	struct fuse_direntplus *out = call_reply(call, size);
	const struct node *directory = nodes_get(&call->server->nodes, call->in->nodeid);

	if (!out)
		return false;
	/* An entry that is gone by now stays without a node; the guest looks it up and learns so. */
	if (!is_dots(entry->d_name) &&
	    server_lookup(call->server, directory, entry->d_name, &out->entry_out) < 0)
		out->entry_out = (struct fuse_entry_out){.nodeid = 0};
	call->node = nodes_get(&call->server->nodes, call->in->nodeid);
	fill(call, entry, length, &out->dirent);
	return true;
}

static int read_entries(struct call *call, bool (*put)(struct call *call, const struct dirent64 *entry))
{
	const struct fuse_read_in *in = (const void *)call->body;
	_Alignas(struct dirent64) char bytes[32 * KIB];
	int fd = handles_get(&call->server->handles, in->fh);

	if (fd < 0)
		return -EBADF;
	if (in->size < call->room)
		call->room = in->size;
	if (lseek(fd, (off_t)in->offset, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		ssize_t got = getdents64(fd, bytes, sizeof bytes);

		if (got <= 0)
			return got < 0 && call->written == 0 ? -errno : 0;
		for (ssize_t at = 0; at < got;) {
			const struct dirent64 *entry = (const void *)(bytes + at);

			if (!put(call, entry))
				return 0;
			at += entry->d_reclen;
		}
	}
}

int serve_readdir(struct call *call)
{
	return read_entries(call, put_plain);
}

int serve_readdirplus(struct call *call)
{
	return read_entries(call, put_plus);
}
