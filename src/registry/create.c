#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/name.h"
#include "registry/private.h"

static int flush(int folder)
{
	int r = registry_flush_file(folder, DOCUMENT_FILE);

	return r < 0 ? r : registry_flush_record(folder, NULL);
}

/* `folder`: the new one, open. */
static int fill(int folder, const void *document, size_t length, const struct record *record, const char *arriving, bool soon)
{
	struct record first = *record;
	int r = registry_replace_file(folder, DOCUMENT_FILE, document, length, false);

	first.created_s = first.changed_s = time(NULL);
	if (r == 0 && arriving)
		r = registry_mark_arriving(folder, arriving, NULL);
	if (r == 0)
		r = registry_write_record(folder, &first, NULL);
	return r < 0 || soon ? r : flush(folder);
}

/* Made under a hidden name and shown when it is whole. Renaming never takes the place of a folder that has anything in it,
 * and a machine's always has: of two who make one name, one wins. */
static int make(int machines, const char *name, const void *document, size_t length, const struct record *record,
		const char *arriving, bool soon)
{
	char hidden[NAME_MAX + 1];
	AUTO_CLOSE folder = -1;
	int r;

	registry_hidden_name(MAKING_PREFIX, name, hidden);
	if (mkdirat(machines, hidden, 0700) < 0)
		return -errno;
	folder = openat(machines, hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = folder < 0 ? -errno : fill(folder, document, length, record, arriving, soon);
	if (r == 0 && renameat(machines, hidden, machines, name) < 0)
		r = errno == ENOTEMPTY || errno == ENOTDIR ? -EEXIST : -errno;
	if (r < 0)
		(void)registry_delete(machines, hidden);
	else if (!soon)
		(void)fsync(machines);
	return r;
}

static int create(struct registry *registry, const char *name, const void *document, size_t length,
		  const struct record *record, const char *arriving, bool soon, struct error *e)
{
	AUTO_CLOSE machines = -1;
	struct stat stat;
	int r;

	if (!name_is_valid(name))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "'%.80s' is no name for a machine: 1 to 63 letters, digits, dots, dashes and underscores, "
				 "the first a letter or digit",
				 name);
	machines = registry_root_open(registry, "machines", true);
	if (machines < 0)
		return error_errno(e, machines, "the directory for machines %.300s", registry->root);
	registry_sweep(machines);
	if (fstatat(machines, name, &stat, AT_SYMLINK_NOFOLLOW) == 0)
		r = -EEXIST;
	else
		r = make(machines, name, document, length, record, arriving, soon);
	if (r == -EEXIST)
		return error_set(e, ERROR_STATE, r, "there is a machine %s already; choose another name, or remove it", name);
	return r < 0 ? error_errno(e, r, "machine %s can not be made", name) : 0;
}

int registry_create(struct registry *registry, const char *name, const void *document, size_t length,
		    const struct record *record, struct error *e)
{
	return create(registry, name, document, length, record, NULL, false, e);
}

int registry_create_arriving(struct registry *registry, const char *name, const void *document, size_t length,
			     const struct record *record, const char *token, struct error *e)
{
	return create(registry, name, document, length, record, token, false, e);
}

int registry_create_soon(struct registry *registry, const char *name, const void *document, size_t length,
			 const struct record *record, struct error *e)
{
	return create(registry, name, document, length, record, NULL, true, e);
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
