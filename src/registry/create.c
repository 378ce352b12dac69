#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/name.h"
#include "registry/private.h"

/* `folder`: the new one, open. */
static int fill(int folder, const void *document, size_t length, const struct record *record)
{
	struct record first = *record;
	int r = registry_replace_file(folder, DOCUMENT_FILE, document, length);

	first.created_s = first.changed_s = time(NULL);
	if (r == 0)
		r = registry_write_record(folder, &first, NULL);
	return r == 0 && fsync(folder) < 0 ? -errno : r;
}

/* Made under a hidden name and shown when it is whole. Renaming never takes the place of a folder that has anything in it,
 * and a machine's always has: of two who make one name, one wins. */
static int make(int machines, const char *name, const void *document, size_t length, const struct record *record)
{
	char hidden[NAME_MAX + 1];
	AUTO_CLOSE folder = -1;
	int r;

	registry_hidden_name(MAKING_PREFIX, name, hidden);
	if (mkdirat(machines, hidden, 0700) < 0)
		return -errno;
	folder = openat(machines, hidden, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = folder < 0 ? -errno : fill(folder, document, length, record);
	if (r == 0 && renameat(machines, hidden, machines, name) < 0)
		r = errno == ENOTEMPTY || errno == ENOTDIR ? -EEXIST : -errno;
	if (r < 0)
		(void)registry_delete(machines, hidden);
	else
		(void)fsync(machines);
	return r;
}

int registry_create(struct registry *registry, const char *name, const void *document, size_t length,
		    const struct record *record, struct error *e)
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
		r = make(machines, name, document, length, record);
	if (r == -EEXIST)
		return error_set(e, ERROR_STATE, r, "there is a machine %s already; choose another name, or remove it", name);
	return r < 0 ? error_errno(e, r, "machine %s can not be made", name) : 0;
}
