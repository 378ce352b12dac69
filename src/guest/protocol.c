#include "guest/protocol.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'d', 'o', 'p', 'p', 'e', 'l', '-', 'g'};

static uint32_t get32(const uint8_t *bytes)
{
	le32_t value;

	memcpy(&value, bytes, sizeof value);
	return le32_get(value);
}

static uint64_t get64(const uint8_t *bytes)
{
	le64_t value;

	memcpy(&value, bytes, sizeof value);
	return le64_get(value);
}

static void put32(uint8_t *bytes, uint32_t number)
{
	le32_t value = le32_put(number);

	memcpy(bytes, &value, sizeof value);
}

static void put64(uint8_t *bytes, uint64_t number)
{
	le64_t value = le64_put(number);

	memcpy(bytes, &value, sizeof value);
}

void guest_hello_encode(uint8_t out[GUEST_HELLO_SIZE])
{
	memcpy(out, magic, sizeof magic);
	put32(out + 8, GUEST_VERSION_LOWEST);
	put32(out + 12, GUEST_VERSION_HIGHEST);
}

int guest_hello_decode(const uint8_t *bytes, size_t length, uint32_t *version)
{
	uint32_t lowest, highest;

	/* A later version may say more. */
	if (length < GUEST_HELLO_SIZE || memcmp(bytes, magic, sizeof magic) != 0)
		return -EPROTO;
	lowest = get32(bytes + 8);
	highest = get32(bytes + 12);
	if (lowest > GUEST_VERSION_HIGHEST || highest < GUEST_VERSION_LOWEST)
		return -EPROTONOSUPPORT;
	*version = highest < GUEST_VERSION_HIGHEST ? highest : GUEST_VERSION_HIGHEST;
	return 0;
}

/* The string at *at, which moves behind its NUL; NULL when there is none. */
static const char *take_string(const uint8_t *bytes, size_t length, size_t *at)
{
	const uint8_t *end = *at < length ? memchr(bytes + *at, 0, length - *at) : NULL;
	const char *text = (const char *)bytes + *at;

	if (!end)
		return NULL;
	*at = (size_t)(end - bytes) + 1;
	return text;
}

#define COMMAND_HEAD 16
#define FLAG_TTY     1

static size_t list_size(const char *const *list, uint32_t *count)
{
	size_t size = 0;

	for (*count = 0; list[*count]; ++*count)
		size += strlen(list[*count]) + 1;
	return size;
}

static uint8_t *append_string(uint8_t *at, const char *text)
{
	size_t size = strlen(text) + 1;

	memcpy(at, text, size);
	return at + size;
}

int guest_command_encode(const struct guest_command *command, uint8_t **bytes, size_t *length)
{
	uint32_t arguments, variables;
	size_t size = COMMAND_HEAD + strlen(command->directory) + strlen(command->user) + 2;
	uint8_t *out, *at;

	size += list_size(command->arguments, &arguments);
	size += list_size(command->environment, &variables);
	if (size > GUEST_PAYLOAD_MAX)
		return -E2BIG;
	out = malloc(size);
	if (!out)
		return -ENOMEM;
	put32(out, command->tty ? FLAG_TTY : 0);
	put32(out + 4, (uint32_t)command->rows | (uint32_t)command->columns << 16);
	put32(out + 8, arguments);
	put32(out + 12, variables);
	at = append_string(append_string(out + COMMAND_HEAD, command->directory), command->user);
	for (uint32_t i = 0; i < arguments; i++)
		at = append_string(at, command->arguments[i]);
	for (uint32_t i = 0; i < variables; i++)
		at = append_string(at, command->environment[i]);
	*bytes = out;
	*length = size;
	return 0;
}

/* `count` strings as a list of its own, which ends with NULL. -EPROTO, -ENOMEM. */
static int take_list(const uint8_t *bytes, size_t length, size_t *at, uint32_t count, const char *const **out)
{
	const char **list;

	/* Each takes a byte at least. */
	if (count > length - *at)
		return -EPROTO;
	list = calloc((size_t)count + 1, sizeof *list);
	if (!list)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		list[i] = take_string(bytes, length, at);
		if (!list[i]) {
			free(list);
			return -EPROTO;
		}
	}
	*out = list;
	return 0;
}

int guest_command_decode(const uint8_t *bytes, size_t length, struct guest_command *out)
{
	struct guest_command command = {.tty = false};
	size_t at = COMMAND_HEAD;
	uint32_t flags, window;
	int r;

	if (length < COMMAND_HEAD || get32(bytes + 8) == 0)
		return -EPROTO;
	flags = get32(bytes);
	window = get32(bytes + 4);
	command.directory = take_string(bytes, length, &at);
	command.user = take_string(bytes, length, &at);
	if (flags & ~(uint32_t)FLAG_TTY || !command.directory || !command.user)
		return -EPROTO;
	command.tty = flags & FLAG_TTY;
	command.rows = (uint16_t)window;
	command.columns = (uint16_t)(window >> 16);
	r = take_list(bytes, length, &at, get32(bytes + 8), &command.arguments);
	if (r == 0)
		r = take_list(bytes, length, &at, get32(bytes + 12), &command.environment);
	if (r == 0 && at != length)
		r = -EPROTO;
	if (r < 0)
		guest_command_finish(&command);
	else
		*out = command;
	return r;
}

void guest_command_finish(struct guest_command *command)
{
	free((void *)command->arguments);
	free((void *)command->environment);
	command->arguments = command->environment = NULL;
}

#define ENTRY_HEAD 28

int guest_entry_encode(const struct guest_entry *entry, uint8_t out[GUEST_ENTRY_MAX], size_t *length)
{
	size_t name = strlen(entry->name) + 1, target = strlen(entry->target) + 1;

	if (name > GUEST_NAME_MAX + 1 || target > 4096)
		return -ENAMETOOLONG;
	put32(out, (uint32_t)entry->kind);
	put32(out + 4, entry->mode & 07777);
	put64(out + 8, entry->size);
	put64(out + 16, (uint64_t)entry->modified_s);
	put32(out + 24, entry->modified_ns);
	memcpy(out + ENTRY_HEAD, entry->name, name);
	memcpy(out + ENTRY_HEAD + name, entry->target, target);
	*length = ENTRY_HEAD + name + target;
	return 0;
}

static bool is_component(const char *name)
{
	return strlen(name) <= GUEST_NAME_MAX && !strchr(name, '/') && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

int guest_entry_decode(const uint8_t *bytes, size_t length, struct guest_entry *out)
{
	struct guest_entry entry;
	size_t at = ENTRY_HEAD;

	if (length < ENTRY_HEAD || length > GUEST_ENTRY_MAX || get32(bytes) >= GUEST_KINDS)
		return -EPROTO;
	entry = (struct guest_entry){.kind = (enum guest_kind)get32(bytes),
				     .mode = get32(bytes + 4),
				     .size = get64(bytes + 8),
				     .modified_s = (int64_t)get64(bytes + 16),
				     .modified_ns = get32(bytes + 24)};
	entry.name = take_string(bytes, length, &at);
	entry.target = take_string(bytes, length, &at);
	if (!entry.name || !entry.target || at != length || !is_component(entry.name) || entry.mode > 07777 ||
	    entry.modified_ns >= 1000000000 || (entry.kind == GUEST_LINK) != (*entry.target != '\0'))
		return -EPROTO;
	*out = entry;
	return 0;
}

size_t guest_failure_encode(int code, const char *text, uint8_t out[4 + GUEST_TEXT_MAX])
{
	size_t length = strnlen(text, GUEST_TEXT_MAX);

	put32(out, (uint32_t)-code);
	memcpy(out + 4, text, length);
	return 4 + length;
}

int guest_failure_decode(const uint8_t *bytes, size_t length, struct guest_failure *out)
{
	uint32_t code;

	if (length < 4 || length > 4 + GUEST_TEXT_MAX || memchr(bytes + 4, 0, length - 4))
		return -EPROTO;
	code = get32(bytes);
	/* 4095 is the last that Linux can return. */
	if (code == 0 || code > 4095)
		return -EPROTO;
	out->code = -(int)code;
	memcpy(out->text, bytes + 4, length - 4);
	out->text[length - 4] = '\0';
	return 0;
}

int guest_number_decode(const uint8_t *bytes, size_t length, uint32_t *out)
{
	if (length != 4)
		return -EPROTO;
	*out = get32(bytes);
	return 0;
}

int guest_pair_decode(const uint8_t *bytes, size_t length, uint32_t *first, uint32_t *second)
{
	if (length != 8)
		return -EPROTO;
	*first = get32(bytes);
	*second = get32(bytes + 4);
	return 0;
}

int guest_size_decode(const uint8_t *bytes, size_t length, uint64_t *out)
{
	if (length != 8)
		return -EPROTO;
	*out = get64(bytes);
	return 0;
}

int guest_window_decode(const uint8_t *bytes, size_t length, uint16_t *rows, uint16_t *columns)
{
	if (length != 4)
		return -EPROTO;
	*rows = (uint16_t)get32(bytes);
	*columns = (uint16_t)(get32(bytes) >> 16);
	return 0;
}

int guest_path_decode(const uint8_t *bytes, size_t length, const char **out)
{
	size_t at = 0;
	const char *path = take_string(bytes, length, &at);

	if (!path || at != length || !*path || length > PATH_MAX)
		return -EPROTO;
	*out = path;
	return 0;
}
