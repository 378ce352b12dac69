/*
 * Streams of a command with credit, for both sides: neither holds more than GUEST_WINDOW bytes of one, however slowly
 * it is read.
 *
 * Thread: that of the wire.
 */
#ifndef DOPPEL_GUEST_FLOW_H
#define DOPPEL_GUEST_FLOW_H

#include "guest/wire.h"

/* From the wire to a descriptor. */
struct inflow {
	enum guest_stream stream;
	int fd;      /* owned; -1: closed, what comes is dropped */
	bool gentle; /* it may block: never more than a pipe takes at once */
	bool keep;   /* it is not closed at the end */
	bool ended;  /* the other side has sent END */
	uint8_t *bytes;
	size_t start, used; /* a ring of GUEST_WINDOW */
	uint32_t owed;      /* written, and not given back as credit yet */
};

MUST_USE int inflow_init(struct inflow *in, enum guest_stream stream, int fd);
void inflow_finish(struct inflow *in); /* also of a zeroed struct with fd -1 */
/* DATA and END. -EPROTO: more than the credit, or after the end. */
MUST_USE int inflow_take(struct inflow *in, const struct wire_frame *frame);
/* Whether its descriptor should be watched for POLLOUT. */
bool inflow_wants(const struct inflow *in);
/* Writes what the descriptor takes, gives credit back. A reader that is gone is told to the other side by END; that is
 * no failure. Closes the descriptor after the last byte. */
MUST_USE int inflow_write(struct inflow *in, struct wire *wire);
/* All has been written, or nobody reads. */
bool inflow_is_done(const struct inflow *in);

/* From a descriptor to the wire. */
struct outflow {
	enum guest_stream stream;
	int fd;    /* owned; -1: at its end */
	bool keep; /* it is not closed at the end */
	uint32_t credit;
};

void outflow_init(struct outflow *out, enum guest_stream stream, int fd);
void outflow_finish(struct outflow *out);
/* CREDIT. -EPROTO: more than ever was taken. */
MUST_USE int outflow_credit(struct outflow *out, const struct wire_frame *frame);
bool outflow_wants(const struct outflow *out, const struct wire *wire);
/* Sends what is there as one frame. -EAGAIN: nothing is. At its end, or when it can not be read, sends END. */
MUST_USE int outflow_read(struct outflow *out, struct wire *wire);
/* Sends END and closes. */
MUST_USE int outflow_end(struct outflow *out, struct wire *wire);

#endif
