/*
 * Frames over a stream socket, for both sides.
 *
 *   bytes 0 to 3   le32, length of the payload, at most GUEST_PAYLOAD_MAX
 *   byte 4         enum guest_type
 *   byte 5         enum guest_stream, 0 where a frame is of none
 *   bytes 6, 7     0
 *   payload
 *
 * Both buffers are bounded: WIRE_IN bytes in, WIRE_OUT out. Who sends data waits until less than half of WIRE_OUT is left
 * to be taken; small frames find room above that.
 *
 * Thread: one at a time. Functions return 0 or a negative errno; those that take a struct error have filled it then.
 */
#ifndef DOPPEL_GUEST_WIRE_H
#define DOPPEL_GUEST_WIRE_H

#include "guest/protocol.h"

#define WIRE_HEAD 8
#define WIRE_IN   (GUEST_PAYLOAD_MAX + WIRE_HEAD)
#define WIRE_OUT  (2 * WIRE_IN)

struct wire {
	int fd;   /* non-blocking; the caller's */
	int wake; /* when it becomes readable every wait ends with -EINTR; -1: none */
	uint8_t *in, *out;
	size_t in_start, in_end, out_start, out_end;
};

struct wire_frame {
	uint8_t type, stream;
	uint32_t length;
	const uint8_t *bytes; /* until the wire is read again */
};

MUST_USE int wire_init(struct wire *wire, int fd, struct error *e);
/* Also of a zeroed struct; the descriptor stays open. */
void wire_finish(struct wire *wire);

/* 1: *frame is the next; 0: it is not there yet; -EPROTO. */
MUST_USE int wire_next(struct wire *wire, struct wire_frame *frame, struct error *e);
/* Reads what is there. -EPIPE: the other side has closed. */
MUST_USE int wire_read(struct wire *wire, struct error *e);

/* Appends a frame. -ENOBUFS: the other side takes nothing although it makes us send. */
MUST_USE int wire_put(struct wire *wire, enum guest_type type, unsigned stream, const void *bytes, size_t length);
MUST_USE int wire_put_number(struct wire *wire, enum guest_type type, unsigned stream, uint32_t number);
MUST_USE int wire_put_failure(struct wire *wire, enum guest_type type, int code, const char *text);
/* Room for the GUEST_CHUNK bytes of a frame that wire_commit then appends with `length` of them. To be used when
 * wire_waiting is at most WIRE_OUT / 2. */
uint8_t *wire_reserve(struct wire *wire);
void wire_commit(struct wire *wire, enum guest_type type, unsigned stream, size_t length);

/* Writes what the other side takes now. */
MUST_USE int wire_write(struct wire *wire, struct error *e);
/* Bytes that were not taken yet. */
size_t wire_waiting(const struct wire *wire);

/* Waits until at most `limit` bytes are left to be taken (0), or a frame has come (1). -EINTR, -EPIPE, -ETIMEDOUT when
 * nothing moves for `patience_ms` (-1: no limit). */
MUST_USE int wire_settle(struct wire *wire, size_t limit, int patience_ms, struct error *e);
/* Waits for a frame; writes meanwhile. -EINTR, -EPIPE, -ETIMEDOUT. */
MUST_USE int wire_receive(struct wire *wire, struct wire_frame *frame, int patience_ms, struct error *e);

#endif
