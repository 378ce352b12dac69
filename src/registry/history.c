#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/name.h"
#include "registry/private.h"

#define TEXT_MAX 4096                 /* of a line, with its newline */
#define TURN_OVER ((off_t)MIB)        /* a file of this size is put aside when the next monitor begins */
#define FULL      ((off_t)(16 * MIB)) /* nothing is added beyond */

/* NAME.jsonl, and NAME.jsonl.old for what came before: no machine's file has such a name. */
static void file_of(const char *name, bool old, char out[NAME_MAX + 1])
{
	snprintf(out, NAME_MAX + 1, "%.*s.jsonl%s", REGISTRY_NAME_SIZE - 1, name, old ? ".old" : "");
}

/* A monitor keeps its descriptor for as long as it lives: only when none does, the file may be put aside. */
static void turn_over(struct registry *registry, int history, const char *name)
{
	AUTO_CLOSE machines = registry_root_open(registry, "machines", false);
	char file[NAME_MAX + 1], old[NAME_MAX + 1], lock[REGISTRY_NAME_SIZE + 16];
	struct stat stat;

	file_of(name, false, file);
	file_of(name, true, old);
	snprintf(lock, sizeof lock, "%s/" LOCK_FILE, name);
	if (fstatat(history, file, &stat, AT_SYMLINK_NOFOLLOW) == 0 && stat.st_size >= TURN_OVER &&
	    (machines < 0 || registry_is_locked(machines, lock) == 0))
		(void)renameat(history, file, history, old);
}

int registry_history_open(struct registry *registry, const char *name, int *fd, struct error *e)
{
	AUTO_CLOSE history = -1;
	char file[NAME_MAX + 1];
	int own;

	if (!name_is_valid(name))
		return error_set(e, ERROR_USAGE, -EINVAL, "'%.80s' is no name of a machine", name);
	history = registry_root_open(registry, "history", true);
	if (history >= 0)
		turn_over(registry, history, name);
	file_of(name, false, file);
	own = history < 0 ? history : registry_open_file(history, file, O_RDWR | O_CREAT | O_APPEND);
	if (own < 0)
		return error_errno(e, own, "the history of machine %s", name);
	*fd = own;
	return 0;
}

/* The line without its newline; free() it. NULL: no room, or `details` is no object. */
static char *line_of(const struct timespec *when, const char *event, const char *details)
{
	json_t *object = json_object(), *more = details ? json_loads(details, JSON_REJECT_DUPLICATES, NULL) : json_object();
	char *text = NULL, time[CLOCK_TEXT];

	clock_text(when, time);
	if (object && json_is_object(more) && json_object_set_new(object, "time", json_string(time)) == 0 &&
	    json_object_set_new(object, "event", json_string(event)) == 0 && json_object_update_missing(object, more) == 0)
		text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	json_decref(more);
	return text;
}

/* After a line that was cut short (the disk was full) the next one begins on a line of its own. */
static bool is_torn(int fd, off_t size)
{
	char last = '\n';

	return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

static int append(int fd, const char *text)
{
	char line[TEXT_MAX + 2];
	struct stat stat;
	ssize_t count;
	int length;

	if (fstat(fd, &stat) < 0)
		return -errno;
	if (stat.st_size >= FULL)
		return -EFBIG;
	length = snprintf(line, sizeof line, "%s%s\n", is_torn(fd, stat.st_size) ? "\n" : "", text);
	if (length >= (int)sizeof line)
		return -EMSGSIZE;
	do
		count = write(fd, line, (size_t)length);
	while (count < 0 && errno == EINTR);
	return count == length ? 0 : count < 0 ? -errno : -ENOSPC;
}

int registry_history_add_at(int fd, const struct timespec *when, const char *event, const char *details, struct error *e)
{
	char *text = line_of(when, event, details);
	int r = text ? append(fd, text) : -EINVAL;

	free(text);
	return r < 0 ? error_errno(e, r, "'%.40s' can not be added to the history", event) : 0;
}

int registry_history_add(int fd, const char *event, const char *details, struct error *e)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return registry_history_add_at(fd, &now, event, details, e);
}

struct reader {
	void (*each)(void *context, const char *line);
	void *context;
	char line[TEXT_MAX + 1];
	size_t length;
	bool skip; /* the rest of a line that is too long */
};

static void end_line(struct reader *reader)
{
	json_t *object = NULL;

	reader->line[reader->length] = '\0';
	if (!reader->skip && reader->length)
		object = json_loads(reader->line, 0, NULL); /* what `each` sees, if a NUL is among it */
	if (json_is_object(object))
		reader->each(reader->context, reader->line);
	json_decref(object);
	reader->length = 0;
	reader->skip = false;
}

static void take(struct reader *reader, const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (bytes[i] == '\n')
			end_line(reader);
		else if (reader->length < TEXT_MAX)
			reader->line[reader->length++] = bytes[i];
		else
			reader->skip = true;
	}
}

/* Of a file that has grown beyond all reason, the end. */
static int read_one(int history, const char *file, struct reader *reader)
{
	AUTO_CLOSE fd = registry_open_file(history, file, O_RDONLY);
	char bytes[16 * KIB];
	struct stat stat;
	ssize_t count;
	off_t at = 0;

	if (fd < 0)
		return fd;
	if (fstat(fd, &stat) < 0)
		return -errno;
	if (stat.st_size > 2 * FULL) {
		at = stat.st_size - FULL;
		reader->skip = true;
	}
	for (off_t end = at + 2 * FULL; at < end; at += count) {
		count = pread(fd, bytes, sizeof bytes, at);
		if (count < 0 && errno != EINTR)
			return -errno;
		if (count == 0)
			break;
		if (count < 0)
			count = 0;
		take(reader, bytes, (size_t)count);
	}
	end_line(reader);
	return 0;
}

int registry_history_read(struct registry *registry, const char *name, void (*each)(void *context, const char *line),
			  void *context, struct error *e)
{
	struct reader reader = {.each = each, .context = context};
	AUTO_CLOSE history = registry_root_open(registry, "history", false);
	char file[NAME_MAX + 1];
	int old, r;

	if (history < 0 || !name_is_valid(name))
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "nothing was ever done to a machine '%.80s'", name);
	file_of(name, true, file);
	old = read_one(history, file, &reader);
	file_of(name, false, file);
	r = read_one(history, file, &reader);
	if (old == -ENOENT && r == -ENOENT)
		return error_set(e, ERROR_NOT_FOUND, r, "nothing was ever done to a machine '%s'", name);
	if (r == 0 || r == -ENOENT)
		r = old == -ENOENT ? 0 : old;
	return r < 0 ? error_errno(e, r, "the history of machine %s", name) : 0;
}

/* The machine whose file this is. What was put aside has a newer file beside it. */
static bool name_of(const char *file, char out[REGISTRY_NAME_SIZE])
{
	size_t length = strlen(file), end = strlen(".jsonl");

	if (length <= end || length - end >= REGISTRY_NAME_SIZE || strcmp(file + length - end, ".jsonl") != 0)
		return false;
	snprintf(out, REGISTRY_NAME_SIZE, "%.*s", (int)(length - end), file);
	return name_is_valid(out);
}

static int gather_names(DIR *directory, char (**names)[REGISTRY_NAME_SIZE], size_t *count)
{
	const struct dirent *entry;

	while ((entry = readdir(directory))) {
		char name[REGISTRY_NAME_SIZE], (*grown)[REGISTRY_NAME_SIZE];

		if (!name_of(entry->d_name, name))
			continue;
		grown = realloc(*names, (*count + 1) * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		*names = grown;
		memcpy(grown[(*count)++], name, sizeof name);
	}
	return 0;
}

int registry_history_names(struct registry *registry, char (**out)[REGISTRY_NAME_SIZE], size_t *count, struct error *e)
{
	int fd = registry_root_open(registry, "history", false), r;
	char (*names)[REGISTRY_NAME_SIZE] = NULL;
	size_t found = 0;
	DIR *directory;

	if (fd == -ENOENT) {
		*out = NULL;
		*count = 0;
		return 0;
	}
	directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		r = fd < 0 ? fd : -errno;
		if (fd >= 0)
			close(fd);
		return error_errno(e, r, "the histories");
	}
	r = gather_names(directory, &names, &found);
	closedir(directory);
	if (r < 0) {
		free(names);
		return error_errno(e, r, "the histories");
	}
	*out = names;
	*count = found;
	return 0;
}
