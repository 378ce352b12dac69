#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/tree.h"

#define TEMPORARY_SIZE 24

/* A folder that entries go into. */
struct level {
	int fd;
	bool existed; /* before the tree came: its mode and time are its own */
	uint32_t mode;
	struct timespec modified;
	char name[GUEST_NAME_MAX + 1];
};

struct tree_receiver {
	enum tree_trust trust;
	mode_t mask; /* permissions that entries do not get */
	const struct tree_hooks *hooks;
	char path[PATH_MAX];
	int base;      /* where the root goes; -1: into `stream` */
	char root[GUEST_NAME_MAX + 1]; /* its name there; "": the one that it comes with */
	struct level *levels[GUEST_DEPTH_MAX + 1];
	unsigned depth;
	bool folder_only; /* `path` ends with a slash and is not there: it is to become a folder */
	unsigned skipped; /* folders that could not be made, one in the other: what is in them is left out */
	bool begun, ended;

	/* The file that comes. */
	bool in_file;
	int file;     /* -1: it could not be made, what comes of it is left out */
	bool in_place; /* a device or a stream: there is no name to give it, and holes are zeros */
	uint64_t size; /* so far */
	struct guest_entry entry; /* its name is below */
	char name[GUEST_NAME_MAX + 1];
	char temporary[TEMPORARY_SIZE];
	uint64_t done, total;
};

static int folder_of(const struct tree_receiver *receiver)
{
	return receiver->depth > 0 ? receiver->levels[receiver->depth - 1]->fd : receiver->base;
}

static int protocol_error(struct error *e)
{
	return error_set(e, ERROR_FAILED, -EPROTO, "the other side sends what is not the protocol");
}

/* Opens one component; the kernel makes sure that nothing leads elsewhere. */
static int open_beneath(int folder, const char *name, int flags, mode_t mode)
{
	struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
			       .mode = mode,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, folder, name, &how, sizeof how);

	/* Before Linux 5.6, or where a sandbox does not know it. A component that is no link can not lead elsewhere. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(folder, name, flags | O_CLOEXEC | O_NOFOLLOW, mode);
	return fd < 0 ? -errno : (int)fd;
}

static void problem(const struct tree_receiver *receiver, const char *name, int code)
{
	char path[PATH_MAX];
	size_t used = 0;

	for (unsigned i = 0; i <= receiver->depth; i++) {
		const char *part = i == 0 ? receiver->path : receiver->levels[i - 1]->name;

		/* The root's own name, when `path` says it already. */
		if (*part && (i != 1 || !*receiver->root))
			used += (size_t)snprintf(path + used, sizeof path - used, "%s%s",
						 used && path[used - 1] != '/' ? "/" : "", part);
		if (used >= sizeof path - GUEST_NAME_MAX - 2)
			break;
	}
	if (*name && (receiver->depth > 0 || !*receiver->root))
		snprintf(path + used, sizeof path - used, "%s%s", used && path[used - 1] != '/' ? "/" : "", name);
	receiver->hooks->problem(receiver->hooks->context, code, path);
}

/* Where the root goes: into the folder at `path`, or under this name into the one above. */
static int find_base(struct tree_receiver *receiver, const char *path, struct error *e)
{
	char above[PATH_MAX];
	size_t length;
	int r = tree_name_of(path, receiver->root);

	receiver->base = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (receiver->base >= 0) {
		*receiver->root = '\0';
		return 0;
	}
	receiver->folder_only = *path && path[strlen(path) - 1] == '/';
	snprintf(above, sizeof above, "%s", path);
	for (length = strlen(above); length > 0 && above[length - 1] == '/'; length--)
		;
	for (; length > 0 && above[length - 1] != '/'; length--)
		;
	strcpy(above + length, length > 0 ? "" : ".");
	if (r == 0 && !*receiver->root)
		r = -ENOENT;
	if (r == 0) {
		receiver->base = open(above, O_PATH | O_DIRECTORY | O_CLOEXEC);
		r = receiver->base < 0 ? -errno : 0;
	}
	return r < 0 ? error_errno(e, r, "%.300s", path) : 0;
}

/* A device or a pipe that the user names is written to as it is. */
static int find_device(struct tree_receiver *receiver, const char *path, struct error *e)
{
	struct stat status;

	if (stat(path, &status) < 0 || S_ISDIR(status.st_mode) || S_ISREG(status.st_mode))
		return 0;
	receiver->file = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (receiver->file < 0)
		return error_errno(e, -errno, "%.300s", path);
	receiver->in_place = true;
	return 0;
}

static struct tree_receiver *allocate(const char *path, enum tree_trust trust, const struct tree_hooks *hooks)
{
	struct tree_receiver *receiver = calloc(1, sizeof *receiver);

	if (!receiver)
		return NULL;
	receiver->trust = trust;
	receiver->hooks = hooks;
	receiver->base = receiver->file = -1;
	receiver->total = GUEST_SIZE_UNKNOWN;
	snprintf(receiver->path, sizeof receiver->path, "%s", path);
	if (trust == TREE_SUSPICIOUS) {
		receiver->mask = umask(077);
		umask(receiver->mask);
		receiver->mask |= 07000;
	}
	return receiver;
}

int tree_receiver_new(struct tree_receiver **out, const char *path, enum tree_trust trust,
		      const struct tree_hooks *hooks, struct error *e)
{
	struct tree_receiver *receiver = allocate(path, trust, hooks);
	int r = receiver ? find_device(receiver, path, e) : error_errno(e, -ENOMEM, "%.300s", path);

	if (r == 0 && !receiver->in_place)
		r = find_base(receiver, path, e);
	if (r < 0) {
		tree_receiver_free(receiver);
		return r;
	}
	*out = receiver;
	return 0;
}

void tree_receiver_free(struct tree_receiver *receiver)
{
	if (!receiver)
		return;
	if (receiver->file >= 0)
		close(receiver->file);
	if (*receiver->temporary)
		(void)unlinkat(folder_of(receiver), receiver->temporary, 0);
	while (receiver->depth > 0) {
		struct level *level = receiver->levels[--receiver->depth];

		close(level->fd);
		free(level);
	}
	if (receiver->base >= 0)
		close(receiver->base);
	free(receiver);
}

static void make_temporary(char name[TEMPORARY_SIZE])
{
	uint64_t number = 0;

	(void)!getrandom(&number, sizeof number, GRND_NONBLOCK);
	snprintf(name, TEMPORARY_SIZE, ".doppel-%015llx", (unsigned long long)(number >> 4));
}

static const char *name_of(const struct tree_receiver *receiver, const struct guest_entry *entry)
{
	return receiver->depth == 0 && *receiver->root ? receiver->root : entry->name;
}

static void begin_file(struct tree_receiver *receiver, const struct guest_entry *entry)
{
	int fd;

	receiver->in_file = true;
	receiver->size = 0;
	receiver->entry = *entry;
	snprintf(receiver->name, sizeof receiver->name, "%s", name_of(receiver, entry));
	if (receiver->depth == 0)
		receiver->total = entry->size;
	if (receiver->in_place)
		return;
	make_temporary(receiver->temporary);
	fd = open_beneath(folder_of(receiver), receiver->temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0) {
		problem(receiver, receiver->name, fd);
		*receiver->temporary = '\0';
	}
	receiver->file = fd < 0 ? -1 : fd;
}

/* What comes of the file from now on is left out. */
static void drop_file(struct tree_receiver *receiver, int code)
{
	problem(receiver, receiver->name, code);
	close(receiver->file);
	receiver->file = -1;
	if (*receiver->temporary)
		(void)unlinkat(folder_of(receiver), receiver->temporary, 0);
	*receiver->temporary = '\0';
}

static void take_link(const struct tree_receiver *receiver, const struct guest_entry *entry)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {entry->modified_s, entry->modified_ns}};
	char temporary[TEMPORARY_SIZE];
	int folder = folder_of(receiver), r = 0;

	make_temporary(temporary);
	if (receiver->in_place)
		r = -EINVAL;
	else if (symlinkat(entry->target, folder, temporary) < 0)
		r = -errno;
	if (r == 0) {
		(void)utimensat(folder, temporary, times, AT_SYMLINK_NOFOLLOW);
		if (renameat(folder, temporary, folder, name_of(receiver, entry)) < 0) {
			r = -errno;
			(void)unlinkat(folder, temporary, 0);
		}
	}
	if (r < 0)
		problem(receiver, name_of(receiver, entry), r);
}

/* Makes the folder, or finds that it is there. */
static int open_folder(const struct tree_receiver *receiver, const char *name, bool *existed)
{
	int folder = folder_of(receiver);

	*existed = !*name;
	if (!*name)
		return fcntl(folder, F_DUPFD_CLOEXEC, 3);
	if (mkdirat(folder, name, 0700) < 0) {
		if (errno != EEXIST)
			return -errno;
		*existed = true;
	}
	return open_beneath(folder, name, O_RDONLY | O_DIRECTORY, 0);
}

static int enter(struct tree_receiver *receiver, const struct guest_entry *entry)
{
	const char *name = name_of(receiver, entry);
	struct level *level = receiver->depth < ARRAY_SIZE(receiver->levels) ? malloc(sizeof *level) : NULL;
	bool existed = false;
	int fd;

	if (!level)
		return receiver->depth < ARRAY_SIZE(receiver->levels) ? -ENOMEM : -ENAMETOOLONG;
	fd = receiver->in_place ? -ENOTDIR : open_folder(receiver, name, &existed);
	if (fd < 0) {
		free(level);
		return fd;
	}
	*level = (struct level){.fd = fd,
				.existed = existed,
				.mode = entry->mode & ~receiver->mask,
				.modified = {entry->modified_s, entry->modified_ns}};
	snprintf(level->name, sizeof level->name, "%s", entry->name);
	receiver->levels[receiver->depth++] = level;
	return 0;
}

static void leave(struct tree_receiver *receiver)
{
	struct level *level = receiver->levels[receiver->depth - 1];
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, level->modified};

	if (!level->existed && (fchmod(level->fd, level->mode) < 0 || futimens(level->fd, times) < 0))
		problem(receiver, "", -errno);
	close(level->fd);
	free(level);
	receiver->depth--;
}

/* Nothing but the root has no name of its own, and there is one root. */
static int take_entry(struct tree_receiver *receiver, const struct wire_frame *frame, struct error *e)
{
	struct guest_entry entry;
	bool first = !receiver->begun;
	int r = guest_entry_decode(frame->bytes, frame->length, &entry);

	if (r < 0 || receiver->in_file || (!first && receiver->depth + receiver->skipped == 0) ||
	    (!*entry.name && (!first || entry.kind != GUEST_FOLDER)))
		return protocol_error(e);
	receiver->begun = true;
	if (first && receiver->folder_only && entry.kind != GUEST_FOLDER)
		return error_set(e, ERROR_NOT_FOUND, -ENOTDIR, "%.300s: there is no such folder", receiver->path);
	if (receiver->skipped > 0) {
		receiver->in_file = entry.kind == GUEST_FILE;
		receiver->skipped += entry.kind == GUEST_FOLDER;
		return 0;
	}
	if (entry.kind == GUEST_FILE) {
		begin_file(receiver, &entry);
	} else if (entry.kind == GUEST_LINK) {
		take_link(receiver, &entry);
	} else {
		r = enter(receiver, &entry);
		if (r < 0) {
			problem(receiver, name_of(receiver, &entry), r);
			receiver->skipped = 1;
		}
	}
	return 0;
}

static int write_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t count = write(fd, bytes, length);

		if (count < 0 && errno != EINTR)
			return -errno;
		bytes += count > 0 ? count : 0;
		length -= count > 0 ? (size_t)count : 0;
	}
	return 0;
}

static int write_zeros(int fd, uint64_t length)
{
	static const uint8_t zeros[4096];
	int r = 0;

	while (r == 0 && length > 0) {
		size_t part = length < sizeof zeros ? (size_t)length : sizeof zeros;

		r = write_all(fd, zeros, part);
		length -= part;
	}
	return r;
}

/* The hole is made by the size that the file gets at its end, and by what is written behind. */
static int pass_hole(struct tree_receiver *receiver, uint64_t length)
{
	uint64_t end;

	if (receiver->in_place)
		return write_zeros(receiver->file, length);
	if (__builtin_add_overflow(receiver->size, length, &end) || end > INT64_MAX)
		return -EFBIG;
	return lseek(receiver->file, (off_t)end, SEEK_SET) < 0 ? -errno : 0;
}

static int take_data(struct tree_receiver *receiver, const struct wire_frame *frame, struct error *e)
{
	uint64_t length = frame->length;
	int r = 0;

	if (!receiver->in_file ||
	    (frame->type == GUEST_HOLE && guest_size_decode(frame->bytes, frame->length, &length) < 0))
		return protocol_error(e);
	if (receiver->file >= 0)
		r = frame->type == GUEST_HOLE ? pass_hole(receiver, length)
					      : write_all(receiver->file, frame->bytes, frame->length);
	/* A stream whose reader has gone needs no more of it. */
	if (r < 0 && receiver->in_place)
		return error_errno(e, r, "%.300s", receiver->path);
	if (r < 0)
		drop_file(receiver, r);
	receiver->size += length;
	receiver->done += length;
	if (receiver->hooks->progress)
		receiver->hooks->progress(receiver->hooks->context, receiver->done, receiver->total);
	return 0;
}

static int seal(const struct tree_receiver *receiver)
{
	const struct guest_entry *entry = &receiver->entry;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {entry->modified_s, entry->modified_ns}};
	int folder = folder_of(receiver);

	if (ftruncate(receiver->file, (off_t)receiver->size) < 0 ||
	    fchmod(receiver->file, entry->mode & ~receiver->mask) < 0 || futimens(receiver->file, times) < 0 ||
	    renameat(folder, receiver->temporary, folder, receiver->name) < 0)
		return -errno;
	return 0;
}

static int take_finish(struct tree_receiver *receiver, struct error *e)
{
	int r;

	if (!receiver->in_file)
		return protocol_error(e);
	receiver->in_file = false;
	if (receiver->in_place || receiver->file < 0)
		return 0;
	r = seal(receiver);
	if (r < 0) {
		drop_file(receiver, r);
		return 0;
	}
	close(receiver->file);
	receiver->file = -1;
	*receiver->temporary = '\0';
	return 0;
}

static int take_leave(struct tree_receiver *receiver, struct error *e)
{
	if (receiver->in_file || receiver->depth + receiver->skipped == 0)
		return protocol_error(e);
	if (receiver->skipped > 0)
		receiver->skipped--;
	else
		leave(receiver);
	return 0;
}

static int take_problem(const struct tree_receiver *receiver, const struct wire_frame *frame, struct error *e)
{
	struct guest_failure failure;

	if (guest_failure_decode(frame->bytes, frame->length, &failure) < 0)
		return protocol_error(e);
	receiver->hooks->problem(receiver->hooks->context, failure.code, failure.text);
	return 0;
}

int tree_receiver_take(struct tree_receiver *receiver, const struct wire_frame *frame, struct error *e)
{
	switch ((enum guest_type)frame->type) {
	case GUEST_ENTRY:
		return take_entry(receiver, frame, e);
	case GUEST_CONTENT:
	case GUEST_HOLE:
		return take_data(receiver, frame, e);
	case GUEST_FINISH:
		return take_finish(receiver, e);
	case GUEST_LEAVE:
		return take_leave(receiver, e);
	case GUEST_PROBLEM:
		return take_problem(receiver, frame, e);
	case GUEST_FAILED:
		return tree_failure(frame, e);
	case GUEST_DONE:
		return receiver->in_file || receiver->depth + receiver->skipped > 0 ? protocol_error(e) : 1;
	default:
		return protocol_error(e);
	}
}

static int take_all(struct tree_receiver *receiver, struct wire *wire, struct error *e)
{
	struct wire_frame frame;
	int r = 0;

	while (r == 0) {
		r = wire_receive(wire, &frame, -1, e);
		if (r == 0)
			r = tree_receiver_take(receiver, &frame, e);
	}
	return r < 0 ? r : 0;
}

int tree_receive(struct wire *wire, const char *path, enum tree_trust trust, const struct tree_hooks *hooks,
		 struct error *e)
{
	struct tree_receiver *receiver = NULL;
	int r = tree_receiver_new(&receiver, path, trust, hooks, e);

	if (r == 0)
		r = take_all(receiver, wire, e);
	tree_receiver_free(receiver);
	return r;
}

int tree_receive_stream(struct wire *wire, int fd, const struct tree_hooks *hooks, struct error *e)
{
	struct tree_receiver *receiver = allocate("-", TREE_SUSPICIOUS, hooks);
	int r = receiver ? 0 : error_errno(e, -ENOMEM, "-");

	if (r == 0) {
		receiver->in_place = true;
		receiver->file = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		r = receiver->file < 0 ? error_errno(e, -errno, "standard output") : take_all(receiver, wire, e);
	}
	tree_receiver_free(receiver);
	return r;
}
