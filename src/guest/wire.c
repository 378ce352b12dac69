#include "guest/wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int wire_init(struct wire *wire, int fd, struct error *e)
{
	*wire = (struct wire){.fd = fd, .wake = -1, .in = malloc(WIRE_IN), .out = malloc(WIRE_OUT)};
	if (wire->in && wire->out)
		return 0;
	wire_finish(wire);
	return error_set(e, ERROR_FAILED, -ENOMEM, "no memory for a connection to the guest");
}

void wire_finish(struct wire *wire)
{
	free(wire->in);
	free(wire->out);
	wire->in = wire->out = NULL;
}

static uint32_t payload_length(const uint8_t *head)
{
	le32_t length;

	memcpy(&length, head, sizeof length);
	return le32_get(length);
}

/* Whether the next frame is there, or is none. */
static int look(const struct wire *wire)
{
	const uint8_t *head = wire->in + wire->in_start;
	size_t there = wire->in_end - wire->in_start;

	if (there < WIRE_HEAD)
		return 0;
	if (payload_length(head) > GUEST_PAYLOAD_MAX || head[5] >= GUEST_STREAMS || head[6] != 0 || head[7] != 0)
		return -EPROTO;
	return there - WIRE_HEAD >= payload_length(head);
}

int wire_next(struct wire *wire, struct wire_frame *frame, struct error *e)
{
	const uint8_t *head = wire->in + wire->in_start;
	int r = look(wire);

	if (r < 0)
		return error_set(e, ERROR_FAILED, r, "the other side sends what is not the protocol");
	if (r == 0)
		return 0;
	*frame = (struct wire_frame){
		.type = head[4], .stream = head[5], .length = payload_length(head), .bytes = head + WIRE_HEAD};
	wire->in_start += WIRE_HEAD + frame->length;
	return 1;
}

int wire_read(struct wire *wire, struct error *e)
{
	ssize_t count;

	if (wire->in_start > 0) {
		memmove(wire->in, wire->in + wire->in_start, wire->in_end - wire->in_start);
		wire->in_end -= wire->in_start;
		wire->in_start = 0;
	}
	if (wire->in_end == WIRE_IN)
		return 0;
	do
		count = recv(wire->fd, wire->in + wire->in_end, WIRE_IN - wire->in_end, MSG_DONTWAIT);
	while (count < 0 && errno == EINTR);
	if (count < 0 && errno == EAGAIN)
		return 0;
	if (count <= 0)
		return error_set(e, ERROR_FAILED, -EPIPE, "the connection to the guest has ended; does the machine still run?");
	wire->in_end += (size_t)count;
	return 0;
}

static void make_room(struct wire *wire, size_t size)
{
	if (WIRE_OUT - wire->out_end >= size)
		return;
	memmove(wire->out, wire->out + wire->out_start, wire->out_end - wire->out_start);
	wire->out_end -= wire->out_start;
	wire->out_start = 0;
}

static void put_head(struct wire *wire, enum guest_type type, unsigned stream, size_t length)
{
	uint8_t *head = wire->out + wire->out_end;
	le32_t size = le32_put((uint32_t)length);

	memcpy(head, &size, sizeof size);
	head[4] = (uint8_t)type;
	head[5] = (uint8_t)stream;
	head[6] = head[7] = 0;
}

int wire_put(struct wire *wire, enum guest_type type, unsigned stream, const void *bytes, size_t length)
{
	make_room(wire, WIRE_HEAD + length);
	if (WIRE_OUT - wire->out_end < WIRE_HEAD + length)
		return -ENOBUFS;
	put_head(wire, type, stream, length);
	if (length > 0)
		memcpy(wire->out + wire->out_end + WIRE_HEAD, bytes, length);
	wire->out_end += WIRE_HEAD + length;
	return 0;
}

int wire_put_number(struct wire *wire, enum guest_type type, unsigned stream, uint32_t number)
{
	le32_t value = le32_put(number);

	return wire_put(wire, type, stream, &value, sizeof value);
}

int wire_put_failure(struct wire *wire, enum guest_type type, int code, const char *text)
{
	uint8_t bytes[4 + GUEST_TEXT_MAX];

	return wire_put(wire, type, 0, bytes, guest_failure_encode(code, text, bytes));
}

uint8_t *wire_reserve(struct wire *wire)
{
	make_room(wire, WIRE_HEAD + GUEST_CHUNK);
	return wire->out + wire->out_end + WIRE_HEAD;
}

void wire_commit(struct wire *wire, enum guest_type type, unsigned stream, size_t length)
{
	put_head(wire, type, stream, length);
	wire->out_end += WIRE_HEAD + length;
}

int wire_write(struct wire *wire, struct error *e)
{
	ssize_t count;

	while (wire->out_start < wire->out_end) {
		count = send(wire->fd, wire->out + wire->out_start, wire->out_end - wire->out_start,
			     MSG_NOSIGNAL | MSG_DONTWAIT);
		if (count < 0 && errno == EAGAIN)
			return 0;
		if (count < 0 && errno != EINTR)
			return error_set(e, ERROR_FAILED, -EPIPE, "the connection to the guest has ended; does the machine still run?");
		wire->out_start += count > 0 ? (size_t)count : 0;
	}
	wire->out_start = wire->out_end = 0;
	return 0;
}

size_t wire_waiting(const struct wire *wire)
{
	return wire->out_end - wire->out_start;
}

/* One round: waits for what is possible, and does it. */
static int step(struct wire *wire, int patience_ms, struct error *e)
{
	struct pollfd polls[] = {
		{.fd = wire->fd, .events = (short)(POLLIN | (wire_waiting(wire) > 0 ? POLLOUT : 0))},
		{.fd = wire->wake, .events = POLLIN},
	};
	int r = poll(polls, ARRAY_SIZE(polls), patience_ms);

	if (r == 0)
		return error_set(e, ERROR_TIMEOUT, -ETIMEDOUT, "the other side does not answer");
	if (r < 0)
		return errno == EINTR ? 0 : error_errno(e, -errno, "the connection to the guest");
	if (polls[1].revents)
		return error_set(e, ERROR_FAILED, -EINTR, "interrupted");
	r = polls[0].revents & POLLOUT ? wire_write(wire, NULL) : 0;
	/* What the other side said before it closed matters more than that writing failed. */
	return polls[0].revents & (POLLIN | POLLHUP | POLLERR) || r < 0 ? wire_read(wire, e) : 0;
}

/* Also when nothing ever has to be waited for. */
static int check_wake(const struct wire *wire, struct error *e)
{
	struct pollfd poll_wake = {.fd = wire->wake, .events = POLLIN};

	if (wire->wake < 0 || poll(&poll_wake, 1, 0) <= 0)
		return 0;
	return error_set(e, ERROR_FAILED, -EINTR, "interrupted");
}

int wire_settle(struct wire *wire, size_t limit, int patience_ms, struct error *e)
{
	int r = check_wake(wire, e);

	if (r == 0 && wire_write(wire, NULL) < 0)
		r = wire_read(wire, e);
	while (r == 0 && look(wire) == 0 && wire_waiting(wire) > limit)
		r = step(wire, patience_ms, e);
	return r < 0 ? r : look(wire) != 0;
}

int wire_receive(struct wire *wire, struct wire_frame *frame, int patience_ms, struct error *e)
{
	int r = check_wake(wire, e);

	if (r < 0)
		return r;
	while ((r = wire_next(wire, frame, e)) == 0) {
		r = step(wire, patience_ms, e);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : 0;
}
