/*
 * What passes between a monitor and its clients over a Unix stream socket: frames, each a JSON object, some with a
 * descriptor.
 *
 *   bytes 0 to 3   length of the text, little-endian, 1 to FRAME_MAX
 *   text           a JSON object in UTF-8
 *
 * A descriptor travels with a frame's first byte (SCM_RIGHTS), at most one with each.
 *
 * A request is {"call": NAME, "with": {...}}. Its answer is {"result": ...} or {"error": {"kind": ..., "message": ...}},
 * kind as error_kind_name says. After a call that streams, {"event": {...}} follow until one side closes. Requests of one
 * client are answered in order.
 *
 * Whoever sends anything else is cut off: a length out of range, text that is no object or names a member twice, more than
 * one descriptor, objects and arrays in each other more than FRAME_DEPTH deep, more than FRAME_VALUES values.
 *
 * Thread: one at a time.
 */
#ifndef DOPPEL_CONTROL_FRAME_H
#define DOPPEL_CONTROL_FRAME_H

#include <jansson.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/types.h"

#define FRAME_HEADER 4
#define FRAME_MAX    (1 * MIB)
#define FRAME_DEPTH  64
#define FRAME_VALUES 32768 /* each costs a hundred times the memory that its text does */

/* Takes a stream apart; zeroed at first. Memory grows with what came, not with what a length promises. */
struct frame_reader {
	uint8_t header[FRAME_HEADER];
	unsigned header_length;
	uint8_t *text;
	uint32_t size, length, room; /* announced, here, allocated */
	int passed; /* a descriptor that came, plus 1; 0: none */
};

/* Reads what the socket has. 1: a frame, *object (a new reference) and *passed (-1: none; the caller's) are set; 0: not
 * yet, on a non-blocking socket; -EPIPE: the other side has closed; -EPROTO with the reason. */
MUST_USE int frame_read(struct frame_reader *reader, int socket, json_t **object, int *passed, struct error *e);
/* Also of one that has failed; it is as new then. */
void frame_reader_finish(struct frame_reader *reader);

/* The bytes of a frame, free() them. -EMSGSIZE, -ENOMEM. */
MUST_USE int frame_make(const json_t *object, uint8_t **bytes, size_t *length);
/* Sends some of a frame's bytes on a non-blocking socket, with a descriptor when `fd` is not -1: the count, or a negative
 * errno, never with SIGPIPE. The descriptor went along when any byte did. */
ssize_t frame_send(int socket, const uint8_t *bytes, size_t length, int fd);

/* {"error": ...} of `e`, and back; a new reference. */
json_t *frame_of_error(const struct error *e);
/* Fills `e` from an answer that has an "error", fit for a terminal whatever the other side sent; returns the negative
 * errno that fits. */
int frame_to_error(const json_t *answer, struct error *e);

#endif
