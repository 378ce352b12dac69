/*
 * What source and destination of a moving machine say to each other: frames over one connection, both ways.
 *
 * A frame is a header of 32 bytes and a payload; docs/internals/migrate.md has both byte by byte. Frames of each direction
 * are numbered from 0 and checksummed, so that one which is lost, repeated, reordered or flipped is found, and each kind has
 * a greatest length. What the other side sends is hostile: nothing of a frame is handed out before its sum was right, and
 * after any failure the stream is of no use any more.
 *
 * Nothing is read beyond the frame that was asked for: a stream can be handed to another process between two frames.
 *
 * Thread: one at a time, which blocks here; stream_wake from any.
 */
#ifndef DOPPEL_MIGRATE_STREAM_H
#define DOPPEL_MIGRATE_STREAM_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/types.h"

/* The newest version that is spoken, and the oldest. Both sides speak the newest that both have. */
#define STREAM_VERSION 2
#define STREAM_OLDEST  1

enum stream_kind {
	STREAM_HELLO = 1, /* both: the versions that are understood */
	STREAM_OFFER,     /* source: the machine; JSON */
	STREAM_ANSWER,    /* destination: it fits; JSON, what more it understands */
	STREAM_INVENTORY, /* source: memory and sections of the machine; JSON */
	STREAM_RESERVED,  /* destination: all of it is held; from version 2 on STREAM_CAN_... */
	STREAM_PAGES,     /* source: migrate/pages.h */
	STREAM_ROUND,     /* source: all pages of a round were sent; destination: they are here */
	STREAM_STATE,     /* source: a piece of the state without RAM */
	STREAM_FINISH,    /* source: that was all */
	STREAM_READY,     /* destination: it could run now */
	STREAM_COMMIT,    /* source: it is yours, with the token */
	STREAM_DONE,      /* destination: it is mine */
	STREAM_ABORT,     /* both: why it is given up; text */
	STREAM_ASK,       /* source, later: whose is the machine of this token? */
	STREAM_VERDICT,   /* destination: 1 when it is the destination's, 0 when it is the source's, for ever */
	STREAM_DISK,      /* source: migrate/disks.h */
	/* From version 2 on. */
	STREAM_JOIN,      /* source: a further connection of a machine that moves; JSON, migrate/link.h */
	STREAM_JOINED,    /* destination: it is taken */
	STREAM_MISSING,   /* source, at the switch to post-copy; destination, over a new link: pages that are not there */
	STREAM_WANT,      /* destination: somebody waits for the page at this address */
	STREAM_PUSHED,    /* source: all that was missing has been sent */
	STREAM_COMPLETE,  /* destination: all of it is here */
	STREAM_PACKED,    /* source: migrate/pack.h */
	STREAM_FLOWS,     /* source, when the answer asks for it: migrate/flows.h */
	STREAM_KINDS,
};

/* What a destination can, a bit each in its word that all is held. */
#define STREAM_CAN_POST_COPY 1
/* The last number of `finish`: it ran, and shall run; from version 2 on, some of its memory follows later (post-copy). */
#define STREAM_FINISH_RUNS 1
#define STREAM_FINISH_LATE 2

#define STREAM_HEADER   32
#define STREAM_TEXT_MAX (1 * MIB)
#define STREAM_DATA_MAX (1 * MIB + 64 * KIB)

struct stream {
	int fd;   /* a stream socket; the caller's */
	int wake; /* an eventfd that ends any wait, the caller's; -1: none */
	int stall_ms; /* so long nothing may move: -ETIMEDOUT */
	unsigned version; /* that both sides speak; 0: that of the first frame that comes */
	uint32_t sent, received; /* frames, modulo 2^32 */
	uint64_t bytes_sent;
	uint8_t *payload; /* of the frame received last */
	size_t room;
};

struct stream_frame {
	enum stream_kind kind;
	const uint8_t *bytes; /* the stream's until the next is received */
	size_t length;
};

#define STREAM_STALL_MS 10000

void stream_init(struct stream *stream, int fd, int wake);
void stream_finish(struct stream *stream);

/* The parts are the payload. -ETIMEDOUT, -ECANCELED (woken), -EPIPE and the like, -ECONNABORTED with the other side's
 * reason when it has given up. */
MUST_USE int stream_send(struct stream *stream, enum stream_kind kind, const struct iovec *parts, unsigned count,
			 struct error *e);
MUST_USE int stream_send_bytes(struct stream *stream, enum stream_kind kind, const void *bytes, size_t length,
			       struct error *e);
/* The next frame, which takes `timeout_ms` at most to begin (-1: stall_ms). As above, and -EPROTO for what is no frame. An
 * abort is never a frame: it is -ECONNABORTED and its reason. */
MUST_USE int stream_receive(struct stream *stream, int timeout_ms, struct stream_frame *out, struct error *e);
/* The same, of this kind and no other. */
MUST_USE int stream_expect(struct stream *stream, enum stream_kind kind, int timeout_ms, struct stream_frame *out,
			   struct error *e);
/* Tells why this side gives up, if the other one still takes it; waits a second at most. */
void stream_abort(struct stream *stream, const struct error *why);

/* Both sides say hello, the source first, and the version is known. -EPROTONOSUPPORT when they have none in common. */
MUST_USE int stream_greet(struct stream *stream, bool source, struct error *e);

/* The source, later: whose is the machine of this token (32 digits)? 1: the destination's; 0: the source's; for ever. -EPROTO when
 * the verdict is another. */
MUST_USE int stream_ask(struct stream *stream, const char *token, struct error *e);

const char *stream_kind_name(enum stream_kind kind);

/* A text from elsewhere as a person can be shown it: printable ASCII, cut to what fits. */
void stream_plain(const uint8_t *text, size_t length, char *out, size_t room);

#endif
