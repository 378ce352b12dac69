/*
 * Files, folders and links as they pass over a wire: both directions, on both sides.
 *
 * A tree is ENTRY; of a file CONTENT and HOLE until FINISH, of a folder more entries until LEAVE; then DONE. Names are
 * single components, and the receiver goes from a folder into the next by a descriptor, never through a link: whatever
 * a sender says, nothing outside of the destination is touched. What can not be read or written is told by its path
 * (problem), and the rest goes on.
 *
 * Modes and times are kept, holes too; owners are not. Each file is written aside and renamed, so that nobody sees half of
 * it and a link that stood there is replaced instead of followed. A folder that was there keeps its mode and time.
 *
 * Thread: that of the wire; blocking.
 */
#ifndef DOPPEL_GUEST_TREE_H
#define DOPPEL_GUEST_TREE_H

#include "guest/wire.h"

struct tree_hooks {
	/* `code` is a negative errno; `path` may hold any byte. Of this side's files, or the other's (PROBLEM). */
	void (*problem)(void *context, int code, const char *path);
	/* NULL: nobody wants to know. `total` is GUEST_SIZE_UNKNOWN unless the tree is one file. */
	void (*progress)(void *context, uint64_t done, uint64_t total);
	void *context;
};

/* Sends what is at `path`, links followed there and nowhere below; then DONE. -EPIPE: the connection broke; else what is
 * wrong with `path` itself, or what the other side said. */
MUST_USE int tree_send(struct wire *wire, const char *path, const struct tree_hooks *hooks, struct error *e);
/* Sends what can be read from `fd` until its end as a file of this name. */
MUST_USE int tree_send_stream(struct wire *wire, int fd, const char *name, const struct tree_hooks *hooks,
			      struct error *e);

enum tree_trust {
	TREE_AS_IT_IS,   /* modes with set-user-ID, set-group-ID and sticky bits */
	TREE_SUSPICIOUS, /* modes without, and without what the umask forbids */
};

/* Takes a tree until DONE. A folder at `path` gets it under its own name, else it is named `path`, the folder above being
 * there; a device at `path` is written to. */
MUST_USE int tree_receive(struct wire *wire, const char *path, enum tree_trust trust, const struct tree_hooks *hooks,
			  struct error *e);
/* Takes one file and writes it to `fd`. */
MUST_USE int tree_receive_stream(struct wire *wire, int fd, const struct tree_hooks *hooks, struct error *e);

/* ---- What tree_receive is made of ---- */

struct tree_receiver;

MUST_USE int tree_receiver_new(struct tree_receiver **out, const char *path, enum tree_trust trust,
			       const struct tree_hooks *hooks, struct error *e);
/* Removes what is half done; accepts NULL. */
void tree_receiver_free(struct tree_receiver *receiver);
/* 1: that was DONE. -EPROTO; what the other side said; what forbids to begin. */
MUST_USE int tree_receiver_take(struct tree_receiver *receiver, const struct wire_frame *frame, struct error *e);

/* The last component of a path: "" when that means the folder itself (".", "..", "/"). -ENAMETOOLONG. */
MUST_USE int tree_name_of(const char *path, char name[GUEST_NAME_MAX + 1]);
/* Fills `e` from FAILED; returns its code. */
int tree_failure(const struct wire_frame *frame, struct error *e);

#endif
