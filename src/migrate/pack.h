/*
 * Frames of pages, compressed: `packed`,
 *
 *   le32 method (1 zstd), le32 length of the payload of a `pages` frame, then that payload, compressed
 *
 * Thread: one at a time for each object.
 */
#ifndef DOPPEL_MIGRATE_PACK_H
#define DOPPEL_MIGRATE_PACK_H

#include "migrate/stream.h"

struct packer;

enum pack_when {
	PACK_NEVER,
	PACK_WORTH, /* when the link is so slow, and the pages are such, that they are there earlier so */
	PACK_ALWAYS,
};

/* Not for PACK_NEVER. */
MUST_USE int packer_new(struct packer **out, enum pack_when when, struct error *e);
void packer_free(struct packer *packer); /* accepts NULL */
/* Whether the next frame shall be compressed. */
bool packer_shall(struct packer *packer);
/* How it was with one: its payload's bytes, those that were sent instead, what compressing took (0: it was not tried), and what
 * sending did. */
void packer_weigh(struct packer *packer, size_t whole, size_t sent, uint64_t pack_ns, uint64_t send_ns);
/* The parts as the payload of a `packed` frame, the packer's until the next; 0: it is no shorter so. */
size_t packer_pack(struct packer *packer, const struct iovec *parts, unsigned count, const uint8_t **out);

/* Zeroed before its first use. */
struct unpacker {
	void *context;
	uint8_t *room; /* STREAM_DATA_MAX bytes */
};

/* A `packed` frame becomes the `pages` that it holds, whose bytes are the unpacker's until the next; others stay as they are.
 * -EPROTO for what is not as it has to be, -ENOMEM. */
MUST_USE int unpacker_open(struct unpacker *unpacker, struct stream_frame *frame, struct error *e);
/* stream_receive, and that. */
MUST_USE int unpacker_receive(struct unpacker *unpacker, struct stream *stream, int timeout_ms, struct stream_frame *out,
			      struct error *e);
void unpacker_finish(struct unpacker *unpacker);

#endif
