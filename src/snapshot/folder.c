#include "snapshot/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static bool is_snapshot(const char *file)
{
	size_t length = strlen(file), suffix = strlen(SNAPSHOT_SUFFIX);

	return *file != '.' && length > suffix && strcmp(file + length - suffix, SNAPSHOT_SUFFIX) == 0;
}

/* 1: *header is it; 0: that file has none; -ENOENT: it is gone. */
static int read_header(int folder, const char *file, struct snapshot_header *header)
{
	int fd = openat(folder, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	uint8_t bytes[SNAPSHOT_HEADER];
	struct stat stat;
	bool good;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : 0;
	good = fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) &&
	       pread(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes &&
	       snapshot_header_get(header, bytes, (uint64_t)stat.st_size, file, NULL) == 0;
	close(fd);
	return good;
}

int snapshot_each(const char *folder, void (*fn)(void *context, const char *file, const struct snapshot_header *header),
		  void *context, struct error *e)
{
	DIR *directory = opendir(folder);
	struct snapshot_header header;
	struct dirent *entry;
	int good;

	if (!directory)
		return errno == ENOENT ? 0 : error_errno(e, -errno, "%.300s", folder);
	while ((entry = readdir(directory))) {
		good = is_snapshot(entry->d_name) ? read_header(dirfd(directory), entry->d_name, &header) : -ENOENT;
		if (good >= 0)
			fn(context, entry->d_name, good ? &header : NULL);
	}
	closedir(directory);
	return 0;
}

int snapshot_chain_add_file(struct snapshot_chain *chain, const char *path, struct error *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r;
	struct snapshot *snapshot;

	if (fd < 0)
		return error_errno(e, -errno, "%.300s", path);
	r = snapshot_open(&snapshot, fd, path, e);
	return r < 0 ? r : snapshot_chain_add(chain, snapshot, e);
}

struct search {
	const uint8_t *id;
	char found[NAME_MAX + 1];
};

static void compare(void *context, const char *file, const struct snapshot_header *header)
{
	struct search *search = context;

	if (header && memcmp(header->id, search->id, SNAPSHOT_ID_BYTES) == 0)
		snprintf(search->found, sizeof search->found, "%s", file);
}

static int open_parent(struct snapshot_chain *chain, const char *folder, struct error *e)
{
	const struct snapshot *child = chain->files[chain->count - 1];
	struct search search = {.id = child->header.parent};
	char path[PATH_MAX], id[SNAPSHOT_ID_TEXT];
	int r = snapshot_each(folder, compare, &search, e);

	if (r < 0)
		return r;
	snapshot_id_text(child->header.parent, id);
	if (!*search.found)
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "%s needs its parent, the snapshot %s, which is not in %.300s",
				 child->name, id, folder);
	r = file_path(folder, search.found, path, e);
	return r < 0 ? r : snapshot_chain_add_file(chain, path, e);
}

int snapshot_chain_load(struct snapshot_chain *chain, const char *path, struct error *e)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	int r;

	*chain = (struct snapshot_chain){.count = 0};
	snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	r = snapshot_chain_add_file(chain, path, e);
	while (r == 0 && snapshot_chain_open_ended(chain))
		r = open_parent(chain, folder, e);
	if (r < 0)
		snapshot_chain_finish(chain);
	return r;
}
