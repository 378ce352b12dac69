/*
 * Further connections of a machine that moves: what the source says over one at first, and how whoever listens for machines hands
 * it to the monitor that one of them is arriving in.
 *
 * Over the connection: hello both ways, then `join`, {"name", "token", "role"}; the monitor answers `joined`. To the monitor it
 * goes by the socket LINK_DOOR in the machine's folder, in one message with the descriptor.
 *
 * Thread: any.
 */
#ifndef DOPPEL_MIGRATE_LINK_H
#define DOPPEL_MIGRATE_LINK_H

#include "migrate/source.h"
#include "migrate/stream.h"

#define LINK_DOOR "join"
/* Of a machine's name, with its NUL. */
#define LINK_NAME_SIZE 64

enum link_role {
	LINK_MAIN,   /* the first one anew, after it broke in post-copy */
	LINK_FAULTS, /* pages that somebody waits for */
	LINK_PAGES,  /* part of the pages */
	LINK_ROLES,
};

struct link_letter {
	char token[MIGRATE_TOKEN_TEXT - 1];
	uint8_t role, version; /* enum link_role; of the stream */
	uint8_t reserved[6];
};

/* Frames that have passed before the monitor has it. */
#define LINK_FRAMES_SENT     1
#define LINK_FRAMES_RECEIVED 2

/* The source's side, after the greeting: asks, and is answered that it was taken: 0. 1: the machine needs nothing any more. */
MUST_USE int link_join(struct stream *stream, const char *name, const char *token, enum link_role role, struct error *e);
/* What a `join` says; `name` has room for LINK_NAME_SIZE bytes. -EPROTO. */
MUST_USE int link_read_join(const struct stream_frame *frame, char name[LINK_NAME_SIZE], struct link_letter *out,
			    struct error *e);

/* By the connected socket of a monitor's door. `fd` stays the caller's. */
MUST_USE int link_deliver(int door, const struct link_letter *letter, int fd, struct error *e);
/* What came by an accepted one: *fd is the caller's. -EPROTO. */
MUST_USE int link_take(int socket, struct link_letter *letter, int *fd);

#endif
