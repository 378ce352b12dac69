#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int exit_code;
	int http_status;
	int code;
} kinds[ERROR_KINDS] = {
	[ERROR_NONE] = {"none", 0, 200, 0},
	[ERROR_FAILED] = {"failed", 1, 500, -EIO},
	[ERROR_USAGE] = {"usage", 2, 400, -EINVAL},
	[ERROR_NOT_FOUND] = {"not-found", 3, 404, -ENOENT},
	[ERROR_STATE] = {"state", 4, 409, -EBUSY},
	[ERROR_PERMISSION] = {"permission", 5, 403, -EPERM},
	[ERROR_TIMEOUT] = {"timeout", 6, 504, -ETIMEDOUT},
};

static void put(struct error *e, enum error_kind kind, const char *message)
{
	e->kind = kind;
	snprintf(e->message, sizeof e->message, "%s", message);
}

int error_set(struct error *e, enum error_kind kind, int code, const char *format, ...)
{
	char message[sizeof e->message];
	va_list arguments;

	if (!e)
		return code;
	va_start(arguments, format);
	vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	put(e, kind, message);
	return code;
}

/* Joins two texts into `out`, shortening the first rather than the second when room is short. */
static void join(char *out, size_t size, const char *head, const char *tail)
{
	size_t tail_length = strlen(tail), head_length = strlen(head);

	if (tail_length > size - 1)
		tail_length = size - 1;
	if (head_length > size - 1 - tail_length)
		head_length = size - 1 - tail_length;
	memcpy(out, head, head_length);
	memcpy(out + head_length, tail, tail_length);
	out[head_length + tail_length] = '\0';
}

int error_errno(struct error *e, int code, const char *format, ...)
{
	char head[sizeof e->message], tail[128], whole[sizeof e->message];
	va_list arguments;

	if (!e)
		return code;
	va_start(arguments, format);
	vsnprintf(head, sizeof head, format, arguments);
	va_end(arguments);
	snprintf(tail, sizeof tail, ": %s", strerror(-code));
	join(whole, sizeof whole, head, tail);
	put(e, error_kind_of(code), whole);
	return code;
}

int error_prefix(struct error *e, int code, const char *format, ...)
{
	char head[sizeof e->message], whole[sizeof e->message];
	va_list arguments;
	size_t used;

	if (!e)
		return code;
	va_start(arguments, format);
	vsnprintf(head, sizeof head - 2, format, arguments);
	va_end(arguments);
	used = strlen(head);
	memcpy(head + used, ": ", 3);
	join(whole, sizeof whole, head, e->message);
	put(e, e->kind, whole);
	return code;
}

int error_exit_code(enum error_kind kind)
{
	return kind < ERROR_KINDS ? kinds[kind].exit_code : 1;
}

int error_http_status(enum error_kind kind)
{
	return kind < ERROR_KINDS ? kinds[kind].http_status : 500;
}

enum error_kind error_kind_of(int code)
{
	switch (-code) {
	case 0:
		return ERROR_NONE;
	case EINVAL:
	case ERANGE:
		return ERROR_USAGE;
	case ENOENT:
	case ENOTDIR:
	case ENODEV:
		return ERROR_NOT_FOUND;
	case EBUSY:
	case EEXIST:
		return ERROR_STATE;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERROR_PERMISSION;
	case ETIMEDOUT:
		return ERROR_TIMEOUT;
	default:
		return ERROR_FAILED;
	}
}

int error_code_of(enum error_kind kind)
{
	return kind < ERROR_KINDS ? kinds[kind].code : -EIO;
}

const char *error_kind_name(enum error_kind kind)
{
	return kinds[kind < ERROR_KINDS ? kind : ERROR_FAILED].name;
}

enum error_kind error_kind_named(const char *name)
{
	for (unsigned i = ERROR_FAILED; i < ERROR_KINDS; i++)
		if (strcmp(name, kinds[i].name) == 0)
			return (enum error_kind)i;
	return ERROR_FAILED;
}
