#include "migrate/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#define XXH_STATIC_LINKING_ONLY /* the size of its state */
#include <xxhash.h>

#define PARTS_MAX      4
#define ABORT_WAIT_MS  1000
#define ABORT_TEXT_MAX 512

static const uint8_t magic[4] = {'D', 'M', 'I', 'G'};

struct header {
	uint8_t magic[4];
	le16_t kind, version;
	le32_t length, number;
	le64_t reserved; /* 0 */
	le64_t sum;      /* XXH64 of the payload, seeded with that of all before this */
};
_Static_assert(sizeof(struct header) == STREAM_HEADER, "header as in docs/internals/migrate.md");

#define JOIN_MAX 1024

/* Of each kind: its name, and how long its payload may be. */
static const struct {
	const char *name;
	uint32_t least, most;
} kinds[STREAM_KINDS] = {
	[STREAM_HELLO] = {"hello", 8, 8},
	[STREAM_OFFER] = {"offer", 2, STREAM_TEXT_MAX},
	[STREAM_ANSWER] = {"answer", 2, STREAM_TEXT_MAX},
	[STREAM_INVENTORY] = {"inventory", 2, STREAM_TEXT_MAX},
	[STREAM_RESERVED] = {"reserved", 0, 8},
	[STREAM_PAGES] = {"pages", 1, STREAM_DATA_MAX},
	[STREAM_ROUND] = {"round", 8, 8},
	[STREAM_STATE] = {"state", 1, STREAM_DATA_MAX},
	[STREAM_FINISH] = {"finish", 24, 24},
	[STREAM_READY] = {"ready", 0, 0},
	[STREAM_COMMIT] = {"commit", 32, 32},
	[STREAM_DONE] = {"done", 32, 32},
	[STREAM_ABORT] = {"abort", 0, ABORT_TEXT_MAX},
	[STREAM_ASK] = {"ask", 32, 32},
	[STREAM_VERDICT] = {"verdict", 1, 1},
	[STREAM_DISK] = {"disk", 24, STREAM_DATA_MAX},
	[STREAM_JOIN] = {"join", 2, JOIN_MAX},
	[STREAM_JOINED] = {"joined", 0, 0},
	[STREAM_MISSING] = {"missing", 16, STREAM_DATA_MAX},
	[STREAM_WANT] = {"want", 8, 8},
	[STREAM_PUSHED] = {"pushed", 0, 0},
	[STREAM_COMPLETE] = {"complete", 0, 0},
	[STREAM_PACKED] = {"packed", 9, STREAM_DATA_MAX},
	[STREAM_FLOWS] = {"flows", 38, STREAM_DATA_MAX},
};

const char *stream_kind_name(enum stream_kind kind)
{
	return (unsigned)kind < STREAM_KINDS && kinds[kind].name ? kinds[kind].name : "unknown";
}

void stream_plain(const uint8_t *text, size_t length, char *out, size_t room)
{
	size_t n = length < room - 1 ? length : room - 1;

	for (size_t i = 0; i < n; i++)
		out[i] = text[i] >= ' ' && text[i] <= '~' ? (char)text[i] : '?';
	out[n] = '\0';
}

void stream_init(struct stream *stream, int fd, int wake)
{
	*stream = (struct stream){.fd = fd, .wake = wake, .stall_ms = STREAM_STALL_MS};
}

void stream_finish(struct stream *stream)
{
	free(stream->payload);
	stream->payload = NULL;
	stream->room = 0;
}

/* Until the socket has one of `events`: 0, -ECANCELED, -ETIMEDOUT. */
static int await(const struct stream *stream, short events, int timeout_ms)
{
	struct pollfd fds[2] = {{.fd = stream->fd, .events = events}, {.fd = stream->wake, .events = POLLIN}};
	int r;

	do
		r = poll(fds, 2, timeout_ms);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (fds[1].revents)
		return -ECANCELED;
	return r == 0 ? -ETIMEDOUT : 0;
}

static int broken(int r, struct error *e)
{
	switch (r) {
	case -ECANCELED:
		return error_set(e, ERROR_STATE, r, "the move was cancelled");
	case -ETIMEDOUT:
		return error_set(e, ERROR_TIMEOUT, r, "the link stands still: the other side takes and says nothing");
	case -EPIPE:
	case -ECONNRESET:
		return error_set(e, ERROR_FAILED, r, "the link broke: the other side is gone");
	default:
		return error_errno(e, r, "the link");
	}
}

static int refuse(struct error *e, const char *what, unsigned long long value)
{
	return error_set(e, ERROR_FAILED, -EPROTO, "the other side does not speak as a doppel of this age: %s (%llu)", what,
			 value);
}

static size_t total(const struct iovec *parts, unsigned count)
{
	size_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += parts[i].iov_len;
	return sum;
}

static uint64_t sum_of(const struct header *header, const struct iovec *parts, unsigned count)
{
	XXH64_state_t state;

	XXH64_reset(&state, XXH64(header, offsetof(struct header, sum), 0));
	for (unsigned i = 0; i < count; i++)
		if (parts[i].iov_len)
			XXH64_update(&state, parts[i].iov_base, parts[i].iov_len);
	return XXH64_digest(&state);
}

/* Takes `done` bytes off the front. */
static void advance(struct msghdr *message, size_t done)
{
	while (message->msg_iovlen && done >= message->msg_iov->iov_len) {
		done -= message->msg_iov->iov_len;
		message->msg_iov++;
		message->msg_iovlen--;
	}
	if (!message->msg_iovlen)
		return;
	message->msg_iov->iov_base = (uint8_t *)message->msg_iov->iov_base + done;
	message->msg_iov->iov_len -= done;
}

static int send_all(struct stream *stream, struct iovec *parts, unsigned count, int timeout_ms)
{
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};

	advance(&message, 0);
	while (message.msg_iovlen) {
		ssize_t n = sendmsg(stream->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r = n < 0 ? -errno : 0;

		if (r == -EAGAIN)
			r = await(stream, POLLOUT, timeout_ms);
		if (r < 0 && r != -EINTR)
			return r;
		if (n > 0) {
			advance(&message, (size_t)n);
			stream->bytes_sent += (uint64_t)n;
		}
	}
	return 0;
}

/* What it said last, before it did not take any more. */
static int reason(struct stream *stream, int r, struct error *e)
{
	struct stream_frame frame;
	struct error own;

	while (r == -EPIPE || r == -ECONNRESET) {
		int next = stream_receive(stream, 0, &frame, &own);

		if (next == -ECONNABORTED)
			return error_set(e, own.kind, next, "%s", own.message);
		if (next < 0)
			break;
	}
	return broken(r, e);
}

int stream_send(struct stream *stream, enum stream_kind kind, const struct iovec *parts, unsigned count, struct error *e)
{
	struct header header = {
		.kind = le16_put((uint16_t)kind),
		.version = le16_put((uint16_t)(stream->version ? stream->version : STREAM_OLDEST)),
		.length = le32_put((uint32_t)total(parts, count)),
		.number = le32_put(stream->sent),
	};
	struct iovec whole[PARTS_MAX + 1] = {{.iov_base = &header, .iov_len = sizeof header}};
	int r;

	memcpy(header.magic, magic, sizeof magic);
	header.sum = le64_put(sum_of(&header, parts, count));
	for (unsigned i = 0; i < count && i < PARTS_MAX; i++)
		whole[i + 1] = parts[i];
	stream->sent++;
	r = send_all(stream, whole, count + 1, stream->stall_ms);
	return r < 0 ? reason(stream, r, e) : 0;
}

int stream_send_bytes(struct stream *stream, enum stream_kind kind, const void *bytes, size_t length, struct error *e)
{
	const struct iovec part = {.iov_base = (void *)bytes, .iov_len = length};

	return stream_send(stream, kind, &part, 1, e);
}

static int receive_all(struct stream *stream, void *to, size_t length, int timeout_ms)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = recv(stream->fd, (uint8_t *)to + done, length - done, MSG_DONTWAIT);
		int r = n < 0 ? -errno : 0;

		if (n == 0)
			return -EPIPE;
		if (r == -EAGAIN)
			r = await(stream, POLLIN, done ? stream->stall_ms : timeout_ms);
		if (r < 0 && r != -EINTR)
			return r;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

/* A greeting tells which versions its sender has; all else is of the one that both speak. */
static int check_version(struct stream *stream, enum stream_kind kind, unsigned version, struct error *e)
{
	bool known = stream->version ? version == stream->version : version >= STREAM_OLDEST && version <= STREAM_VERSION;

	if (kind == STREAM_HELLO || kind == STREAM_ABORT)
		return 0;
	if (!known)
		return refuse(e, "a frame of an unknown version", version);
	stream->version = version;
	return version > 1 || kind < STREAM_JOIN ? 0 : refuse(e, "a frame of a kind that its version has not", kind);
}

static int check(struct stream *stream, const struct header *header, struct error *e)
{
	unsigned kind = le16_get(header->kind);
	uint32_t length = le32_get(header->length);

	if (memcmp(header->magic, magic, sizeof magic) != 0)
		return refuse(e, "no frame begins here", le32_get(header->number));
	if (kind == 0 || kind >= STREAM_KINDS || !kinds[kind].name)
		return refuse(e, "a frame of an unknown kind", kind);
	if (length < kinds[kind].least || length > kinds[kind].most)
		return refuse(e, "a frame of a wrong length", length);
	if (le32_get(header->number) != stream->received || le64_get(header->reserved) != 0)
		return refuse(e, "a frame out of order", le32_get(header->number));
	return check_version(stream, (enum stream_kind)kind, le16_get(header->version), e);
}

static int make_room(struct stream *stream, size_t length)
{
	uint8_t *grown;

	if (stream->room >= length && stream->payload)
		return 0;
	grown = realloc(stream->payload, length ? length : 1);
	if (!grown)
		return -ENOMEM;
	stream->payload = grown;
	stream->room = length;
	return 0;
}

static int aborted(const struct stream_frame *frame, struct error *e)
{
	char text[ABORT_TEXT_MAX + 1];

	stream_plain(frame->bytes, frame->length, text, sizeof text);
	return error_set(e, ERROR_FAILED, -ECONNABORTED, "%s", *text ? text : "the other side gave up");
}

int stream_receive(struct stream *stream, int timeout_ms, struct stream_frame *out, struct error *e)
{
	struct header header;
	struct iovec part;
	int r = receive_all(stream, &header, sizeof header, timeout_ms < 0 ? stream->stall_ms : timeout_ms);

	if (r < 0)
		return broken(r, e);
	r = check(stream, &header, e);
	if (r < 0)
		return r;
	part.iov_len = le32_get(header.length);
	r = make_room(stream, part.iov_len);
	if (r == 0)
		r = receive_all(stream, stream->payload, part.iov_len, stream->stall_ms);
	if (r < 0)
		return broken(r, e);
	part.iov_base = stream->payload;
	if (sum_of(&header, &part, 1) != le64_get(header.sum))
		return refuse(e, "a frame with a wrong checksum", le32_get(header.number));
	stream->received++;
	*out = (struct stream_frame){(enum stream_kind)le16_get(header.kind), stream->payload, part.iov_len};
	return out->kind == STREAM_ABORT ? aborted(out, e) : 0;
}

int stream_expect(struct stream *stream, enum stream_kind kind, int timeout_ms, struct stream_frame *out, struct error *e)
{
	int r = stream_receive(stream, timeout_ms, out, e);

	if (r == 0 && out->kind != kind)
		return error_set(e, ERROR_FAILED, -EPROTO, "the other side sent a frame \"%s\" where \"%s\" was due",
				 stream_kind_name(out->kind), stream_kind_name(kind));
	return r;
}

void stream_abort(struct stream *stream, const struct error *why)
{
	const int wake = stream->wake, stall = stream->stall_ms;
	size_t length = strnlen(why->message, ABORT_TEXT_MAX);
	int r;

	/* Also after a cancellation. */
	stream->wake = -1;
	stream->stall_ms = ABORT_WAIT_MS;
	r = stream_send_bytes(stream, STREAM_ABORT, why->message, length, NULL);
	stream->wake = wake;
	stream->stall_ms = stall;
	(void)r;
}

struct versions {
	le32_t oldest, newest;
};

static int say_hello(struct stream *stream, struct error *e)
{
	const struct versions own = {le32_put(STREAM_OLDEST), le32_put(STREAM_VERSION)};

	return stream_send_bytes(stream, STREAM_HELLO, &own, sizeof own, e);
}

static int hear_hello(struct stream *stream, struct error *e)
{
	struct stream_frame frame;
	struct versions theirs;
	int r = stream_expect(stream, STREAM_HELLO, -1, &frame, e);

	if (r < 0)
		return r;
	memcpy(&theirs, frame.bytes, sizeof theirs);
	if (le32_get(theirs.newest) >= STREAM_OLDEST && le32_get(theirs.oldest) <= STREAM_VERSION) {
		stream->version = le32_get(theirs.newest) < STREAM_VERSION ? le32_get(theirs.newest) : STREAM_VERSION;
		return 0;
	}
	return error_set(e, ERROR_FAILED, -EPROTONOSUPPORT,
			 "the other side speaks versions %u to %u of the stream, this one %u to %u: update the older one",
			 le32_get(theirs.oldest), le32_get(theirs.newest), STREAM_OLDEST, STREAM_VERSION);
}

int stream_greet(struct stream *stream, bool source, struct error *e)
{
	int r = source ? say_hello(stream, e) : hear_hello(stream, e);

	if (r < 0)
		return r;
	return source ? hear_hello(stream, e) : say_hello(stream, e);
}

int stream_ask(struct stream *stream, const char *token, struct error *e)
{
	struct stream_frame frame;
	int r = stream_greet(stream, true, e);

	if (r == 0)
		r = stream_send_bytes(stream, STREAM_ASK, token, strlen(token), e);
	if (r == 0)
		r = stream_expect(stream, STREAM_VERDICT, -1, &frame, e);
	if (r < 0)
		return r;
	if (*frame.bytes > 1)
		return error_set(e, ERROR_FAILED, -EPROTO, "the other side's verdict is %u", *frame.bytes);
	return *frame.bytes;
}
