#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry/private.h"

#define RECORD_MAX 4096
#define READS      3 /* of one that may be amid being written over */

static void failed(struct record *record, const char *message)
{
	record->state = MACHINE_FAILED;
	record->stalled = false;
	snprintf(record->message, sizeof record->message, "%s", message);
}

/* As much of it as fits and is UTF-8: a path may be anything. */
static json_t *text_of(const char *text)
{
	char plain[256];
	json_t *value = json_string(text);

	if (value)
		return value;
	snprintf(plain, sizeof plain, "%s", text);
	for (char *at = plain; *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	return json_string(plain);
}

/* Every record has the same length, so that a new one can be written over an old one where there is no room for both. */
static int write_padded(int folder, const char *text)
{
	char bytes[RECORD_MAX];
	size_t length = strlen(text);
	int r, over;

	if (length > sizeof bytes)
		return -EMSGSIZE;
	memcpy(bytes, text, length);
	memset(bytes + length, ' ', sizeof bytes - length);
	r = registry_replace_file(folder, RECORD_FILE, bytes, sizeof bytes, false);
	if (r != -ENOSPC && r != -EDQUOT)
		return r;
	over = registry_overwrite_file(folder, RECORD_FILE, bytes, sizeof bytes);
	return over < 0 ? r : 0;
}

int registry_write_record(int folder, const struct record *record, struct error *e)
{
	json_t *object;
	char *text;
	int r;

	object = json_pack("{s:i, s:s, s:b, s:b, s:i, s:s, s:I, s:I, s:i, s:o, s:o, s:I, s:I}", "version", 1, "state",
			   machine_state_name(record->state), "stalled", record->stalled, "foreground", record->foreground, "monitor",
			   (int)record->monitor, "boot", registry_boot_id(), "created", (json_int_t)record->created_s, "changed",
			   (json_int_t)record->changed_s, "exit_code", record->exit_code, "message",
			   text_of(record->message), "image", text_of(record->image), "memory",
			   (json_int_t)record->memory_bytes, "cpus", (json_int_t)record->cpus);
	text = object ? json_dumps(object, JSON_INDENT(1)) : NULL;
	json_decref(object);
	r = text ? write_padded(folder, text) : -ENOMEM;
	free(text);
	return r < 0 ? error_errno(e, r, "the record of machine %s", record->name) : 0;
}

int registry_flush_record(int folder, struct error *e)
{
	int r = registry_flush_file(folder, RECORD_FILE);

	if (r == 0 && fsync(folder) < 0)
		r = -errno;
	return r < 0 ? error_errno(e, r, "the record of a machine") : 0;
}

static bool number(const json_t *object, const char *key, int64_t low, int64_t high, int64_t *out)
{
	const json_t *value = json_object_get(object, key);

	*out = json_integer_value(value);
	return json_is_integer(value) && *out >= low && *out <= high;
}

static bool text(const json_t *object, const char *key, char *out, size_t room)
{
	const json_t *value = json_object_get(object, key);
	const char *from = json_string_value(value);

	return from && snprintf(out, room, "%s", from) < (int)room;
}

static bool flag(const json_t *object, const char *key, bool *out)
{
	const json_t *value = json_object_get(object, key);

	*out = json_is_true(value);
	return json_is_boolean(value);
}

static bool state(const json_t *object, enum machine_state *out)
{
	const char *name = json_string_value(json_object_get(object, "state"));

	for (unsigned i = MACHINE_CREATED; name && i <= MACHINE_FAILED; i++)
		if (strcmp(name, machine_state_name((enum machine_state)i)) == 0) {
			*out = (enum machine_state)i;
			return true;
		}
	return false;
}

/* Whether all of it is there and in range. */
static bool understand(const json_t *object, struct record *out, char *boot, size_t room)
{
	int64_t version, monitor, exit_code, memory, cpus;

	if (!number(object, "version", 1, 1, &version) || !state(object, &out->state) ||
	    !flag(object, "stalled", &out->stalled) || !flag(object, "foreground", &out->foreground) ||
	    !number(object, "monitor", 0, INT32_MAX, &monitor) || !text(object, "boot", boot, room) ||
	    !number(object, "created", 0, INT64_MAX, &out->created_s) ||
	    !number(object, "changed", 0, INT64_MAX, &out->changed_s) ||
	    !number(object, "exit_code", INT32_MIN, INT32_MAX, &exit_code) ||
	    !text(object, "message", out->message, sizeof out->message) ||
	    !text(object, "image", out->image, sizeof out->image) ||
	    !number(object, "memory", 0, INT64_MAX, &memory) || !number(object, "cpus", 0, INT32_MAX, &cpus))
		return false;
	out->monitor = (pid_t)monitor;
	out->exit_code = (int)exit_code;
	out->memory_bytes = (uint64_t)memory;
	out->cpus = (unsigned)cpus;
	return true;
}

static bool parse(const char *bytes, size_t length, struct record *out, char *boot, size_t room)
{
	json_t *object;
	bool good;

	/* Sooner than the parser would. */
	while (length && bytes[length - 1] == ' ')
		length--;
	object = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, NULL);
	good = object && understand(object, out, boot, room);
	json_decref(object);
	return good;
}

/* A record that tells of a monitor which does not live any more. */
static void bury(struct record *record, const char *boot)
{
	char message[sizeof record->message];
	pid_t monitor = record->monitor;

	record->monitor = 0;
	if (record->state == MACHINE_STOPPED || record->state == MACHINE_FAILED)
		return;
	if (strcmp(boot, registry_boot_id()) != 0)
		snprintf(message, sizeof message, "the host was started anew while it %s",
			 record->state == MACHINE_PAUSED ? "was paused" : "ran");
	else
		snprintf(message, sizeof message, "its monitor, process %d, was killed", (int)monitor);
	failed(record, message);
}

/* Its monitor, if one lives, can still be asked, and writes a new one at the next change. */
static int damaged(int machines, struct record *out, const char *lock, const char *name, const char *what)
{
	char message[sizeof out->message];
	pid_t monitor = registry_holder(machines, lock);

	*out = (struct record){.monitor = monitor};
	snprintf(out->name, sizeof out->name, "%s", name);
	snprintf(message, sizeof message, "its " RECORD_FILE " is %s; %s", what,
		 monitor ? "its monitor lives, and doppel inspect asks it" : "starting it makes a new one");
	failed(out, message);
	return 0;
}

int registry_record_at(int machines, const char *name, struct record *out)
{
	char path[REGISTRY_NAME_SIZE + 16], lock[REGISTRY_NAME_SIZE + 16], bytes[RECORD_MAX + 1], boot[64];
	struct record record = {0};
	struct stat stat;
	bool good = false;
	ssize_t length;

	snprintf(path, sizeof path, "%s/" RECORD_FILE, name);
	snprintf(lock, sizeof lock, "%s/" LOCK_FILE, name);
	length = registry_read_file(machines, path, bytes, RECORD_MAX);
	if (length < 0 && (fstatat(machines, name, &stat, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(stat.st_mode)))
		return -ENOENT;
	if (length == -ENOENT)
		return damaged(machines, out, lock, name, "gone");
	for (int i = 0; length >= 0 && !(good = parse(bytes, (size_t)length, &record, boot, sizeof boot)) && i < READS; i++)
		length = registry_read_file(machines, path, bytes, RECORD_MAX);
	if (!good)
		return damaged(machines, out, lock, name, "damaged");
	snprintf(record.name, sizeof record.name, "%s", name);
	if (record.monitor && registry_is_locked(machines, lock) == 0)
		bury(&record, boot);
	*out = record;
	return 0;
}
