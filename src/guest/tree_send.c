#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guest/tree.h"

struct sender {
	struct wire *wire;
	const struct tree_hooks *hooks;
	uint64_t done, total;
	struct error *e;
	char path[PATH_MAX]; /* of what is being sent, for messages; cut off when it is longer */
	size_t path_length;
};

int tree_name_of(const char *path, char name[GUEST_NAME_MAX + 1])
{
	size_t end = strlen(path), start;

	while (end > 0 && path[end - 1] == '/')
		end--;
	for (start = end; start > 0 && path[start - 1] != '/'; start--)
		;
	if (end - start > GUEST_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, path + start, end - start);
	name[end - start] = '\0';
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		*name = '\0';
	return 0;
}

int tree_failure(const struct wire_frame *frame, struct error *e)
{
	struct guest_failure failure;

	if (guest_failure_decode(frame->bytes, frame->length, &failure) < 0)
		return error_set(e, ERROR_FAILED, -EPROTO, "the other side sends what is not the protocol");
	return error_set(e, error_kind_of(failure.code), failure.code, "%s", failure.text);
}

static int hear(struct sender *sender, const struct wire_frame *frame)
{
	struct guest_failure failure;

	if (frame->type == GUEST_FAILED)
		return tree_failure(frame, sender->e);
	if (frame->type != GUEST_PROBLEM || guest_failure_decode(frame->bytes, frame->length, &failure) < 0)
		return error_set(sender->e, ERROR_FAILED, -EPROTO, "the other side sends what is not the protocol");
	sender->hooks->problem(sender->hooks->context, failure.code, failure.text);
	return 0;
}

/* Waits until there is room for more, and hears what the other side says. */
static int push(struct sender *sender)
{
	struct wire_frame frame;
	int r;

	while ((r = wire_settle(sender->wire, WIRE_OUT / 2, -1, sender->e)) > 0) {
		r = wire_next(sender->wire, &frame, sender->e);
		if (r > 0)
			r = hear(sender, &frame);
		if (r < 0)
			break;
	}
	return r;
}

static int put(struct sender *sender, enum guest_type type, const void *bytes, size_t length)
{
	int r = wire_put(sender->wire, type, 0, bytes, length);

	return r < 0 ? error_errno(sender->e, r, "the connection") : push(sender);
}

/* What is wrong with one file is told, and is no failure of the whole. */
static void problem(const struct sender *sender, int code)
{
	sender->hooks->problem(sender->hooks->context, code, sender->path);
}

static void count(struct sender *sender, uint64_t bytes)
{
	sender->done += bytes;
	if (sender->hooks->progress)
		sender->hooks->progress(sender->hooks->context, sender->done, sender->total);
}

static int put_entry(struct sender *sender, enum guest_kind kind, const char *name, const struct stat *status,
		     const char *target)
{
	const struct guest_entry entry = {.kind = kind,
					  .mode = status->st_mode & 07777,
					  .size = S_ISREG(status->st_mode) ? (uint64_t)status->st_size : GUEST_SIZE_UNKNOWN,
					  .modified_s = status->st_mtim.tv_sec,
					  .modified_ns = (uint32_t)status->st_mtim.tv_nsec,
					  .name = name,
					  .target = target};
	uint8_t bytes[GUEST_ENTRY_MAX];
	size_t length;
	int r = guest_entry_encode(&entry, bytes, &length);

	return r < 0 ? r : put(sender, GUEST_ENTRY, bytes, length);
}

/* A piece of a file. 0: at its end; 1: there is more. What can not be read ends the file. */
static int put_piece(struct sender *sender, int fd, uint64_t limit)
{
	uint8_t *room = wire_reserve(sender->wire);
	ssize_t got;
	int r;

	do
		got = read(fd, room, limit < GUEST_CHUNK ? (size_t)limit : GUEST_CHUNK);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		problem(sender, -errno);
	if (got <= 0)
		return 0;
	wire_commit(sender->wire, GUEST_CONTENT, 0, (size_t)got);
	count(sender, (uint64_t)got);
	r = push(sender);
	return r < 0 ? r : 1;
}

static int put_until(struct sender *sender, int fd, uint64_t length)
{
	int r = 1;

	while (r > 0 && length > 0) {
		uint64_t before = sender->done;

		r = put_piece(sender, fd, length);
		length -= sender->done - before < length ? sender->done - before : length;
	}
	return r;
}

static int put_hole(struct sender *sender, uint64_t length)
{
	le64_t size = le64_put(length);

	count(sender, length);
	return put(sender, GUEST_HOLE, &size, sizeof size);
}

/* Data and holes as the file system tells them. */
static int put_sparse(struct sender *sender, int fd, off_t size)
{
	off_t at = 0;
	int r = 1;

	while (r > 0 && at < size) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;

		if (data < 0)
			data = size;
		r = data > at ? put_hole(sender, (uint64_t)(data - at)) : 0;
		if (r < 0 || data >= size)
			return r;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0 || lseek(fd, data, SEEK_SET) < 0)
			return 0;
		r = put_until(sender, fd, (uint64_t)(hole - data));
		at = hole;
	}
	return r;
}

static int put_file(struct sender *sender, int fd, const char *name, const struct stat *status)
{
	bool sparse = S_ISREG(status->st_mode) && status->st_blocks * 512 < status->st_size &&
		      lseek(fd, 0, SEEK_HOLE) >= 0;
	int r = put_entry(sender, GUEST_FILE, name, status, "");

	if (r < 0)
		return r;
	if (sparse)
		r = put_sparse(sender, fd, status->st_size);
	else
		r = put_until(sender, fd, UINT64_MAX);
	return r < 0 ? r : put(sender, GUEST_FINISH, NULL, 0);
}

static int put_folder(struct sender *sender, int fd, const char *name, const struct stat *status, unsigned depth);

static int put_link(struct sender *sender, int folder, const char *name, const struct stat *status)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(folder, name, target, sizeof target - 1);

	if (length <= 0) {
		problem(sender, length < 0 ? -errno : -EINVAL);
		return 0;
	}
	target[length] = '\0';
	return put_entry(sender, GUEST_LINK, name, status, target);
}

static int put_opened(struct sender *sender, int fd, const char *name, unsigned depth)
{
	struct stat status;
	int r = 0;

	if (fstat(fd, &status) < 0)
		problem(sender, -errno);
	else if (S_ISREG(status.st_mode))
		r = put_file(sender, fd, name, &status);
	else if (S_ISDIR(status.st_mode) && depth < GUEST_DEPTH_MAX)
		return put_folder(sender, fd, name, &status, depth);
	else
		problem(sender, S_ISDIR(status.st_mode) ? -ENAMETOOLONG : -EINVAL);
	close(fd);
	return r;
}

static int put_named(struct sender *sender, int folder, const char *name, unsigned depth)
{
	struct stat status;
	int fd;

	if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
		problem(sender, -errno);
		return 0;
	}
	if (S_ISLNK(status.st_mode))
		return put_link(sender, folder, name, &status);
	if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
		problem(sender, -EOPNOTSUPP);
		return 0;
	}
	/* Should it have become a pipe meanwhile, opening does not wait for a writer. */
	fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		problem(sender, -errno);
		return 0;
	}
	return put_opened(sender, fd, name, depth);
}

/* Lengthens the path for messages; returns its length before. */
static size_t path_enter(struct sender *sender, const char *name)
{
	size_t before = sender->path_length, room = sizeof sender->path - before;
	int added = snprintf(sender->path + before, room, "%s%s", before && sender->path[before - 1] == '/' ? "" : "/",
			     name);

	sender->path_length += added > 0 && (size_t)added < room ? (size_t)added : room - 1;
	return before;
}

static void path_leave(struct sender *sender, size_t before)
{
	sender->path_length = before;
	sender->path[before] = '\0';
}

static int put_contents(struct sender *sender, DIR *folder, unsigned depth)
{
	struct dirent *entry;
	int r = 0;

	while (r == 0 && (errno = 0, entry = readdir(folder))) {
		size_t before;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		before = path_enter(sender, entry->d_name);
		r = put_named(sender, dirfd(folder), entry->d_name, depth + 1);
		path_leave(sender, before);
	}
	if (r == 0 && errno)
		problem(sender, -errno);
	return r;
}

/* Takes the descriptor. */
static int put_folder(struct sender *sender, int fd, const char *name, const struct stat *status, unsigned depth)
{
	DIR *folder = fdopendir(fd);
	int r;

	if (!folder) {
		problem(sender, -errno);
		close(fd);
		return 0;
	}
	r = put_entry(sender, GUEST_FOLDER, name, status, "");
	if (r == 0)
		r = put_contents(sender, folder, depth);
	closedir(folder);
	return r < 0 ? r : put(sender, GUEST_LEAVE, NULL, 0);
}

static int put_root(struct sender *sender, const char *path, const char *name)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &status) < 0) {
		int r = error_errno(sender->e, -errno, "%.300s", path);

		if (fd >= 0)
			close(fd);
		return r;
	}
	if (S_ISDIR(status.st_mode))
		return put_folder(sender, fd, name, &status, 0);
	if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) {
		int r;

		sender->total = S_ISREG(status.st_mode) ? (uint64_t)status.st_size : GUEST_SIZE_UNKNOWN;
		r = put_file(sender, fd, name, &status);
		close(fd);
		return r;
	}
	close(fd);
	return error_set(sender->e, ERROR_USAGE, -EINVAL, "%.300s: it is neither a file nor a folder", path);
}

int tree_send(struct wire *wire, const char *path, const struct tree_hooks *hooks, struct error *e)
{
	struct sender *sender = calloc(1, sizeof *sender);
	char name[GUEST_NAME_MAX + 1];
	int r = sender ? tree_name_of(path, name) : -ENOMEM;

	if (r < 0) {
		free(sender);
		return error_errno(e, r, "%.300s", path);
	}
	*sender = (struct sender){.wire = wire, .hooks = hooks, .total = GUEST_SIZE_UNKNOWN, .e = e};
	sender->path_length = (size_t)snprintf(sender->path, sizeof sender->path, "%s", path);
	if (sender->path_length >= sizeof sender->path)
		sender->path_length = sizeof sender->path - 1;
	r = put_root(sender, path, name);
	if (r == 0)
		r = put(sender, GUEST_DONE, NULL, 0);
	free(sender);
	return r;
}

int tree_send_stream(struct wire *wire, int fd, const char *name, const struct tree_hooks *hooks, struct error *e)
{
	struct sender *sender = calloc(1, sizeof *sender);
	const struct stat status = {.st_mode = S_IFIFO | 0644, .st_mtim.tv_sec = time(NULL)};
	int r;

	if (!sender)
		return error_errno(e, -ENOMEM, "%.300s", name);
	*sender = (struct sender){.wire = wire, .hooks = hooks, .total = GUEST_SIZE_UNKNOWN, .e = e, .path = "-"};
	r = put_file(sender, fd, name, &status);
	if (r == 0)
		r = put(sender, GUEST_DONE, NULL, 0);
	free(sender);
	return r;
}
