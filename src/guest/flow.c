#include "guest/flow.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Small credits cost more than they bring. */
#define CREDIT_STEP (GUEST_WINDOW / 4)

int inflow_init(struct inflow *in, enum guest_stream stream, int fd)
{
	*in = (struct inflow){.stream = stream, .fd = fd, .bytes = malloc(GUEST_WINDOW)};
	return in->bytes ? 0 : -ENOMEM;
}

static void close_inflow(struct inflow *in)
{
	if (in->fd >= 0 && !in->keep)
		close(in->fd);
	in->fd = -1;
}

void inflow_finish(struct inflow *in)
{
	close_inflow(in);
	free(in->bytes);
	in->bytes = NULL;
}

static void append(struct inflow *in, const uint8_t *bytes, size_t length)
{
	size_t at = (in->start + in->used) % GUEST_WINDOW;
	size_t first = length < GUEST_WINDOW - at ? length : GUEST_WINDOW - at;

	memcpy(in->bytes + at, bytes, first);
	memcpy(in->bytes, bytes + first, length - first);
	in->used += length;
}

int inflow_take(struct inflow *in, const struct wire_frame *frame)
{
	if (in->ended)
		return -EPROTO;
	if (frame->type == GUEST_END) {
		in->ended = true;
		return frame->length == 0 ? 0 : -EPROTO;
	}
	if (frame->length > GUEST_WINDOW - in->used - in->owed)
		return -EPROTO;
	if (in->fd < 0)
		in->owed += frame->length;
	else
		append(in, frame->bytes, frame->length);
	return 0;
}

bool inflow_wants(const struct inflow *in)
{
	return in->fd >= 0 && (in->used > 0 || in->ended);
}

/* The reader is gone: a writer over there should know, as it would here. */
static int give_up(struct inflow *in, struct wire *wire)
{
	in->owed += (uint32_t)in->used;
	in->used = 0;
	close_inflow(in);
	return in->ended ? 0 : wire_put(wire, GUEST_END, in->stream, NULL, 0);
}

static int give_credit(struct inflow *in, struct wire *wire)
{
	int r = 0;

	if (!in->ended && in->owed >= CREDIT_STEP) {
		r = wire_put_number(wire, GUEST_CREDIT, in->stream, in->owed);
		in->owed = 0;
	}
	return r;
}

int inflow_write(struct inflow *in, struct wire *wire)
{
	size_t length = in->used < GUEST_WINDOW - in->start ? in->used : GUEST_WINDOW - in->start;
	ssize_t count = 0;

	if (in->gentle && length > PIPE_BUF)
		length = PIPE_BUF;
	if (in->fd >= 0 && length > 0)
		count = write(in->fd, in->bytes + in->start, length);
	if (count < 0 && errno != EAGAIN && errno != EINTR)
		return give_up(in, wire);
	if (count > 0) {
		in->start = (in->start + (size_t)count) % GUEST_WINDOW;
		in->used -= (size_t)count;
		in->owed += (uint32_t)count;
	}
	if (in->ended && in->used == 0)
		close_inflow(in);
	return give_credit(in, wire);
}

bool inflow_is_done(const struct inflow *in)
{
	return in->fd < 0 || (in->ended && in->used == 0);
}

void outflow_init(struct outflow *out, enum guest_stream stream, int fd)
{
	*out = (struct outflow){.stream = stream, .fd = fd, .credit = GUEST_WINDOW};
}

void outflow_finish(struct outflow *out)
{
	if (out->fd >= 0 && !out->keep)
		close(out->fd);
	out->fd = -1;
}

int outflow_credit(struct outflow *out, const struct wire_frame *frame)
{
	uint32_t more;

	if (guest_number_decode(frame->bytes, frame->length, &more) < 0 || more > GUEST_WINDOW - out->credit)
		return -EPROTO;
	out->credit += more;
	return 0;
}

bool outflow_wants(const struct outflow *out, const struct wire *wire)
{
	return out->fd >= 0 && out->credit > 0 && wire_waiting(wire) <= WIRE_OUT / 2;
}

int outflow_end(struct outflow *out, struct wire *wire)
{
	if (out->fd < 0)
		return 0;
	outflow_finish(out);
	return wire_put(wire, GUEST_END, out->stream, NULL, 0);
}

int outflow_read(struct outflow *out, struct wire *wire)
{
	uint8_t *room = wire_reserve(wire);
	ssize_t count = read(out->fd, room, out->credit < GUEST_CHUNK ? out->credit : GUEST_CHUNK);

	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	/* EIO: the last one has left the terminal. */
	if (count <= 0)
		return outflow_end(out, wire);
	wire_commit(wire, GUEST_DATA, out->stream, (size_t)count);
	out->credit -= (uint32_t)count;
	return 0;
}
