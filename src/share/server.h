/*
 * Inside the server's process: what its parts share. FUSE 7 as <linux/fuse.h> has it; numbers are little-endian on
 * both sides. A guest's bytes are in this process's own memory, so they do not change under the reader; any of them may be
 * a lie.
 *
 * Single-threaded. Functions return 0 or a negative errno, which is what the guest is told.
 */
#ifndef DOPPEL_SHARE_SERVER_H
#define DOPPEL_SHARE_SERVER_H

#include <linux/fuse.h>

#include "share/node.h"
#include "share/share.h"

struct server {
	struct nodes nodes;
	struct handles handles;
	int proc; /* /proc/self/fd of this process: the way from an O_PATH descriptor to an open file */
	bool read_only;
	uid_t uid; /* whose files are the guest root's */
	gid_t gid;
};

/* One request being served. */
struct call {
	struct server *server;
	const struct fuse_in_header *in;
	const struct node *node; /* of in->nodeid, for operations that need one */
	const uint8_t *body;     /* after the header */
	size_t length;
	uint8_t *out; /* reply's body, `room` bytes, `written` of them used */
	size_t room, written;
};

typedef int operation_fn(struct call *call);

/* Serves the request in `message` (FUSE header and body, `length` bytes); the reply (FUSE header and body) goes to
 * `reply`, at most `room` bytes. Returns its length: 0 for requests without a reply. `message` is 8-byte aligned.
 * server.c */
size_t server_serve(struct server *server, const uint8_t *message, size_t length, uint8_t *reply, size_t room);
/* `root`: O_PATH descriptor of the folder; `proc`: of /proc/self/fd, opened by this process. Both become the server's.
 * Sets the process's umask to 0. */
MUST_USE int server_init(struct server *server, int root, int proc, bool read_only);
void server_finish(struct server *server);

/* Helpers. */
/* The name at body + *at: terminated, 1 to 255 bytes, one component, neither "." nor ".."; moves *at behind it. */
MUST_USE int call_name(const struct call *call, size_t *at, const char **name);
/* `size` bytes of reply, zeroed; NULL when the guest gave less room. */
void *call_reply(struct call *call, size_t size);
/* Opens the file of a node: regular files and directories only. The descriptor is the caller's. */
MUST_USE int server_reopen(const struct server *server, const struct node *node, int flags);
/* "12", the name of a descriptor in server->proc. */
#define DESCRIPTOR_NAME 12
void server_descriptor_name(int fd, char name[DESCRIPTOR_NAME]);
void server_attributes(const struct server *server, const struct stat *stat, struct fuse_attr *out);
/* Looks `name` up in `directory` and fills `out`; the guest has one look-up more. */
MUST_USE int server_lookup(struct server *server, const struct node *directory, const char *name,
			   struct fuse_entry_out *out);
/* What was made under `name` belongs to who asked, as far as the server's user may give files away. */
void server_give(const struct call *call, const char *name);
uid_t server_guest_uid(const struct server *server, uid_t uid);
gid_t server_guest_gid(const struct server *server, gid_t gid);

/* How long a guest may believe what it was told, in seconds: the host changes files, too. */
#define BELIEF_SECONDS 1

/* names.c */
operation_fn serve_lookup, serve_forget, serve_batch_forget, serve_readlink, serve_symlink, serve_mknod, serve_mkdir,
	serve_unlink, serve_rmdir, serve_rename, serve_rename2, serve_link;
/* attributes.c */
operation_fn serve_getattr, serve_setattr, serve_setxattr, serve_getxattr, serve_listxattr, serve_removexattr,
	serve_statfs;
/* files.c */
operation_fn serve_open, serve_create, serve_read, serve_write, serve_release, serve_flush, serve_fsync, serve_lseek,
	serve_fallocate, serve_copy_file_range, serve_syncfs;
/* directories.c */
operation_fn serve_opendir, serve_readdir, serve_readdirplus;

#endif
