#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/name.h"
#include "registry/private.h"

#define ATTEMPTS 16

static int flush(int folder)
{
	int r = registry_flush_file(folder, DOCUMENT_FILE);

	return r < 0 ? r : registry_flush_record(folder, NULL);
}

static int exists(const char *name, struct error *e)
{
	return error_set(e, ERROR_STATE, -EEXIST, "there is a machine %s already; choose another name, or remove it", name);
}

/* What a call of this file makes. */
struct making {
	const char *name;
	const void *document;
	size_t length;
	const struct record *record;
	const char *arriving;                   /* a token, or NULL */
	const struct registry_filling *filling; /* or NULL */
};

/* Whether it is on disk when the call returns. */
static bool is_flushed(const struct making *making)
{
	return !(making->filling && making->filling->soon);
}

static int fill_more(const struct registry *registry, const char *hidden, const struct registry_filling *filling,
		     struct error *e)
{
	char path[PATH_MAX];

	registry_folder_path(registry, hidden, path);
	return filling->fill(filling->context, path, e);
}

/* `folder`: the new one, open. */
static int fill(const struct registry *registry, const char *hidden, int folder, const struct making *making, struct error *e)
{
	struct record first = *making->record;
	int r = registry_replace_file(folder, DOCUMENT_FILE, making->document, making->length, false);

	first.created_s = first.changed_s = time(NULL);
	if (r == 0 && making->arriving)
		r = registry_mark_arriving(folder, making->arriving);
	if (r == 0)
		r = registry_write_record(folder, &first, NULL);
	if (r == 0 && is_flushed(making))
		r = flush(folder);
	if (r < 0)
		return error_errno(e, r, "machine %s can not be made", making->name);
	return making->filling ? fill_more(registry, hidden, making->filling, e) : 0;
}

/* Renaming never takes the place of a folder that has anything in it, and a machine's always has: of two who make one name,
 * one wins. */
static int show(int machines, const char *hidden, const struct making *making, struct error *e)
{
	if (renameat(machines, hidden, machines, making->name) == 0)
		return 0;
	if (errno == ENOTEMPTY || errno == ENOTDIR || errno == EEXIST)
		return exists(making->name, e);
	return error_errno(e, -errno, "machine %s can not be made", making->name);
}

/* A hidden folder, open. Where filling it takes long it is locked: one whose lock is free was left. -EAGAIN: somebody looked in
 * between, and has removed it. */
static int open_hidden(int machines, const char *hidden, bool locked, int *lock)
{
	int folder;

	if (mkdirat(machines, hidden, 0700) < 0)
		return -errno;
	folder = openat(machines, hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0)
		return -errno;
	*lock = locked ? registry_lock_at(folder) : -1;
	if (!locked || *lock >= 0)
		return folder;
	close(folder);
	return *lock == -EBUSY || *lock == -ENOENT ? -EAGAIN : *lock;
}

/* Made under a hidden name and shown when it is whole. */
static int make(const struct registry *registry, int machines, const struct making *making, struct error *e)
{
	AUTO_CLOSE lock = -1;
	AUTO_CLOSE folder = -EAGAIN;
	char hidden[NAME_MAX + 1];
	int r;

	for (unsigned i = 0; i < ATTEMPTS && folder == -EAGAIN; i++) {
		registry_hidden_name(MAKING_PREFIX, making->name, hidden);
		folder = open_hidden(machines, hidden, making->filling, &lock);
	}
	r = folder < 0 ? error_errno(e, folder, "machine %s can not be made", making->name)
		       : fill(registry, hidden, folder, making, e);
	if (r == 0)
		r = show(machines, hidden, making, e);
	if (r < 0)
		(void)registry_delete(machines, hidden);
	else if (is_flushed(making))
		(void)fsync(machines);
	return r;
}

static int create(const struct registry *registry, const struct making *making, struct error *e)
{
	AUTO_CLOSE machines = -1;
	struct stat stat;

	if (!name_is_valid(making->name))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "'%.80s' is no name for a machine: 1 to 63 letters, digits, dots, dashes and underscores, "
				 "the first a letter or digit",
				 making->name);
	machines = registry_root_open(registry, "machines", true);
	if (machines < 0)
		return error_errno(e, machines, "the directory for machines %.300s", registry->root);
	registry_sweep(machines);
	if (fstatat(machines, making->name, &stat, AT_SYMLINK_NOFOLLOW) == 0)
		return exists(making->name, e);
	return make(registry, machines, making, e);
}

int registry_create(struct registry *registry, const char *name, const void *document, size_t length,
		    const struct record *record, struct error *e)
{
	const struct making making = {.name = name, .document = document, .length = length, .record = record};

	return create(registry, &making, e);
}

int registry_create_arriving(struct registry *registry, const char *name, const void *document, size_t length,
			     const struct record *record, const char *token, struct error *e)
{
	const struct making making = {
		.name = name, .document = document, .length = length, .record = record, .arriving = token};

	return create(registry, &making, e);
}

int registry_create_filled(struct registry *registry, const char *name, const void *document, size_t length,
			   const struct record *record, const struct registry_filling *filling, struct error *e)
{
	const struct making making = {
		.name = name, .document = document, .length = length, .record = record, .filling = filling};

	return create(registry, &making, e);
}

int registry_flush(struct registry *registry, const char *name, struct error *e)
{
	AUTO_CLOSE machines = registry_root_open(registry, "machines", false);
	AUTO_CLOSE folder = -1;
	int r = machines < 0 ? machines : 0;

	if (r == 0) {
		folder = openat(machines, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = folder < 0 ? -errno : flush(folder);
	}
	if (r == 0 && fsync(machines) < 0)
		r = -errno;
	return r < 0 ? error_errno(e, r, "machine %s", name) : 0;
}
