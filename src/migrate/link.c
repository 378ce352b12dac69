#include "migrate/link.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/name.h"
#include "base/pass.h"

static const char *const roles[LINK_ROLES] = {[LINK_MAIN] = "main", [LINK_FAULTS] = "faults", [LINK_PAGES] = "pages"};

int link_join(struct stream *stream, const char *name, const char *token, enum link_role role, struct error *e)
{
	json_t *object = json_pack("{s:s, s:s, s:s}", "name", name, "token", token, "role", roles[role]);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
	struct stream_frame frame;
	int r;

	json_decref(object);
	if (!text)
		return error_errno(e, -ENOMEM, "a further connection");
	r = stream_send_bytes(stream, STREAM_JOIN, text, strlen(text), e);
	free(text);
	if (r == 0)
		r = stream_receive(stream, -1, &frame, e);
	if (r < 0 || frame.kind == STREAM_JOINED)
		return r;
	if (frame.kind == STREAM_COMPLETE)
		return 1;
	return error_set(e, ERROR_FAILED, -EPROTO, "the other side sent a frame \"%s\" where \"joined\" was due",
			 stream_kind_name(frame.kind));
}

static int role_of(const char *text)
{
	for (int i = 0; text && i < LINK_ROLES; i++)
		if (strcmp(text, roles[i]) == 0)
			return i;
	return -1;
}

int link_read_join(const struct stream_frame *frame, char name[LINK_NAME_SIZE], struct link_letter *out, struct error *e)
{
	json_t *object = json_loadb((const char *)frame->bytes, frame->length, JSON_REJECT_DUPLICATES, NULL);
	const char *own = json_string_value(json_object_get(object, "name"));
	const char *token = json_string_value(json_object_get(object, "token"));
	int role = role_of(json_string_value(json_object_get(object, "role")));
	bool good = own && name_is_valid(own) && strlen(own) < LINK_NAME_SIZE && migrate_token_valid(token) && role >= 0;

	if (good) {
		*out = (struct link_letter){.role = (uint8_t)role};
		memcpy(out->token, token, sizeof out->token);
		memcpy(name, own, strlen(own) + 1);
	}
	json_decref(object);
	return good ? 0 : error_set(e, ERROR_FAILED, -EPROTO, "a further connection lacks a valid name, token or role");
}

int link_deliver(int door, const struct link_letter *letter, int fd, struct error *e)
{
	int r = pass_send(door, letter, sizeof *letter, &fd, 1);

	return r < 0 ? error_errno(e, r, "handing a connection to a monitor") : 0;
}

int link_take(int socket, struct link_letter *letter, int *fd)
{
	int r = pass_receive(socket, letter, sizeof *letter, fd, 1, MSG_DONTWAIT);

	if (r < 0)
		return r;
	if (r == 1 && letter->role < LINK_ROLES)
		return 0;
	if (r == 1)
		close(*fd);
	return -EPROTO;
}
