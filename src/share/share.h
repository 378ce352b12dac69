/*
 * A shared folder: a FUSE server in a walled process of its own (wall/), for the virtio-fs device.
 *
 * The server sees the folder and nothing else. Paths do not exist in what it does: a name is one component, looked up with
 * openat and O_NOFOLLOW in a directory that is held open; "..", "/" and symbolic links lead nowhere, whatever guest or
 * host do meanwhile. It runs as the folder's owner, without capabilities; that user's files belong to root in the guest
 * and the other way round. Device nodes are not made and not opened, set-user-ID bits are not set, and extended attributes are
 * those of "user." only.
 *
 * Thread: open from the machine's owner before other threads are started (a process is forked), the rest from one thread.
 */
#ifndef DOPPEL_SHARE_SHARE_H
#define DOPPEL_SHARE_SHARE_H

#include <sys/types.h>

#include "base/error.h"
#include "base/types.h"

/* What passes over the descriptor: one message a request, one a reply, each with this in front. Every request is answered,
 * also one that FUSE leaves without an answer (by nothing but the prefix), in any order. */
struct share_prefix {
	le32_t slot; /* the asker's, told again in the reply */
	le32_t room; /* request: bytes that the reply may have, without prefix; reply: 0 */
};

/* A message with all its parts: the most that a guest writes or reads at once, and headers. */
#define SHARE_DATA_MAX    (128 * KIB)
#define SHARE_MESSAGE_MAX (SHARE_DATA_MAX + 4096)

struct share_options {
	const char *folder;
	bool read_only;
};

struct share;

/* Whether there is such a folder: -ENOTDIR and other errno with its name. */
MUST_USE int share_look(const char *folder, struct error *e);
/* The same errors, and those of making its server. */
MUST_USE int share_open(struct share **out, const struct share_options *options, struct error *e);
/* Ends the server; accepts NULL. */
void share_close(struct share *share);
/* After its death, or a mistake of its own: ends the server and tells how it ended, for the log. The descriptor is gone
 * then, and share_close is still due. */
void share_end(struct share *share, char *why, size_t room);
/* Ends a server that does not answer, and does not wait for that: a host's file system that hangs may hold it for long. From
 * behind walls it can not be killed, and ends when it looks at its socket again. The descriptor is gone then. */
void share_kill(struct share *share);
/* SOCK_SEQPACKET, non-blocking, the share's own. End of file on it: the server died. */
int share_descriptor(const struct share *share);
/* The server. */
pid_t share_process(const struct share *share);
/* WALL_* that hold the server. */
unsigned share_walls(const struct share *share);

#endif
