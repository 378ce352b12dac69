#include "control/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_ROOM 1024

static int cut_off(struct error *e, const char *why)
{
	return error_set(e, ERROR_FAILED, -EPROTO, "the control socket carries no frame: %s", why);
}

void frame_reader_finish(struct frame_reader *reader)
{
	free(reader->text);
	if (reader->passed)
		close(reader->passed - 1);
	*reader = (struct frame_reader){0};
}

/* Takes the descriptors out of a message; whether they are allowed. All but the first are closed. */
static bool take_descriptors(struct frame_reader *reader, struct msghdr *message)
{
	bool good = !(message->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
		const unsigned char *data = CMSG_DATA(part);
		size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, data + i * sizeof fd, sizeof fd);
			if (reader->passed) {
				good = false;
				close(fd);
			} else {
				reader->passed = fd + 1;
			}
		}
	}
	return good;
}

/* Bytes received, 0 at the end, or a negative errno. */
static ssize_t receive(struct frame_reader *reader, int socket, void *to, size_t room)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {0};
	struct iovec vector = {.iov_base = to, .iov_len = room};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof control};
	ssize_t count;

	do
		count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (count < 0 && errno == EINTR);
	if (count < 0)
		return -errno;
	return take_descriptors(reader, &message) ? count : -EPROTO;
}

static int make_room(struct frame_reader *reader)
{
	uint32_t room = reader->room ? reader->room * 2 : FIRST_ROOM;
	uint8_t *larger;

	if (reader->length < reader->room)
		return 0;
	if (room > reader->size)
		room = reader->size;
	larger = realloc(reader->text, room);
	if (!larger)
		return -ENOMEM;
	reader->text = larger;
	reader->room = room;
	return 0;
}

/* Reads once: more than 0, or as `receive`. */
static ssize_t read_part(struct frame_reader *reader, int socket)
{
	ssize_t count;

	if (reader->header_length < FRAME_HEADER) {
		count = receive(reader, socket, reader->header + reader->header_length,
				FRAME_HEADER - reader->header_length);
		if (count > 0)
			reader->header_length += (unsigned)count;
		return count;
	}
	count = make_room(reader);
	if (count < 0)
		return count;
	count = receive(reader, socket, reader->text + reader->length, reader->room - reader->length);
	if (count > 0)
		reader->length += (uint32_t)count;
	return count;
}

/* The parser would follow any depth, and spend much memory on many small values. A bracket or comma outside of strings
 * stands for at least each value. */
static bool is_bounded(const uint8_t *text, size_t length)
{
	unsigned depth = 0, values = 0;
	bool quoted = false;

	for (size_t i = 0; i < length; i++) {
		if (quoted) {
			quoted = text[i] != '"';
			i += text[i] == '\\';
		} else if (text[i] == '"') {
			quoted = true;
		} else if (text[i] == '{' || text[i] == '[') {
			depth++;
			values++;
		} else if (text[i] == ',') {
			values++;
		} else if (text[i] == '}' || text[i] == ']') {
			depth -= depth > 0;
		}
		if (depth > FRAME_DEPTH || values > FRAME_VALUES)
			return false;
	}
	return true;
}

static int parse(struct frame_reader *reader, json_t **object, struct error *e)
{
	json_t *value = NULL;

	if (!is_bounded(reader->text, reader->size))
		return cut_off(e, "too many values, or too deep in each other");
	value = json_loadb((const char *)reader->text, reader->size, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(value)) {
		json_decref(value);
		return cut_off(e, "its text is no JSON object");
	}
	*object = value;
	return 0;
}

static int finish_frame(struct frame_reader *reader, json_t **object, int *passed, struct error *e)
{
	int r = parse(reader, object, e);

	if (r < 0)
		return r;
	*passed = reader->passed - 1;
	reader->passed = 0;
	frame_reader_finish(reader);
	return 1;
}

static int check_header(struct frame_reader *reader, struct error *e)
{
	le32_t size;

	memcpy(&size, reader->header, sizeof size);
	reader->size = le32_get(size);
	return reader->size >= 1 && reader->size <= FRAME_MAX ? 0 : cut_off(e, "its length is out of range");
}

int frame_read(struct frame_reader *reader, int socket, json_t **object, int *passed, struct error *e)
{
	while (true) {
		ssize_t count = read_part(reader, socket);

		if (count == -EAGAIN)
			return 0;
		if (count == 0 || count == -ECONNRESET)
			return error_set(e, ERROR_STATE, -EPIPE, "the other side of the control socket has gone");
		if (count == -EPROTO)
			return cut_off(e, "it comes with more than one descriptor");
		if (count < 0)
			return error_errno(e, (int)count, "the control socket");
		if (reader->size == 0 && reader->header_length == FRAME_HEADER) {
			int r = check_header(reader, e);

			if (r < 0)
				return r;
		}
		if (reader->size && reader->length == reader->size)
			return finish_frame(reader, object, passed, e);
	}
}

int frame_make(const json_t *object, uint8_t **bytes, size_t *length)
{
	size_t size = json_dumpb(object, NULL, 0, JSON_COMPACT);
	uint8_t *frame;
	le32_t header;

	if (size == 0)
		return -ENOMEM;
	if (size > FRAME_MAX)
		return -EMSGSIZE;
	frame = malloc(FRAME_HEADER + size);
	if (!frame)
		return -ENOMEM;
	header = le32_put((uint32_t)size);
	memcpy(frame, &header, sizeof header);
	if (json_dumpb(object, (char *)frame + FRAME_HEADER, size, JSON_COMPACT) != size) {
		free(frame);
		return -ENOMEM;
	}
	*bytes = frame;
	*length = FRAME_HEADER + size;
	return 0;
}

ssize_t frame_send(int socket, const uint8_t *bytes, size_t length, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
	ssize_t count;

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
		message.msg_control = &control;
		message.msg_controllen = CMSG_LEN(sizeof(int));
	}
	do
		count = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (count < 0 && errno == EINTR);
	return count < 0 ? -errno : count;
}

/* Of a message with bytes that are no UTF-8 (a path may have them), what remains. */
static json_t *message_of(const char *message)
{
	char plain[sizeof((struct error *)NULL)->message];
	json_t *text = json_string(message);

	if (text)
		return text;
	for (size_t i = 0; i < sizeof plain; i++)
		plain[i] = (unsigned char)message[i] < 0x80 ? message[i] : '?';
	plain[sizeof plain - 1] = '\0';
	return json_string(plain);
}

json_t *frame_of_error(const struct error *e)
{
	return json_pack("{s:{s:s, s:o}}", "error", "kind", error_kind_name(e->kind), "message", message_of(e->message));
}

/* A message goes to a terminal: what could be a control sequence does not pass. */
static void make_harmless(char *text)
{
	for (unsigned char *at = (unsigned char *)text; *at; at++) {
		if (*at < 0x20 || *at == 0x7f)
			*at = '?';
		else if (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
			at[0] = at[1] = '?';
	}
}

int frame_to_error(const json_t *answer, struct error *e)
{
	const json_t *error = json_object_get(answer, "error");
	const char *kind = json_string_value(json_object_get(error, "kind"));
	const char *message = json_string_value(json_object_get(error, "message"));
	enum error_kind known;

	if (!kind || !message || !*message)
		return cut_off(e, "it has neither a result nor an error");
	known = error_kind_named(kind);
	(void)error_set(e, known, 0, "%s", message);
	if (e)
		make_harmless(e->message);
	return error_code_of(known);
}
