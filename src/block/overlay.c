#include "block/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block/backing.h"
#include "block/qcow2_create.h"
#include "block/qcow2_open.h"

static int open_temporary(struct image **out, const struct image_options *options, struct error *e)
{
	struct block_create_options create = {.format = BLOCK_QCOW2};
	struct store *store;
	int r = store_temporary(&store, e);

	if (r < 0)
		return r;
	r = qcow2_create(store, &create, options->backing->size, e);
	if (r == 0)
		r = qcow2_open(out, store, options, e);
	if (r < 0)
		store_close(store);
	return r;
}

static int make(const char *path, const char *base, enum block_format base_format, struct error *e)
{
	struct block_create_options create = {.format = BLOCK_QCOW2, .backing_format = base_format};
	char *real = realpath(base, NULL);
	int r;

	if (!real)
		return error_errno(e, -errno, "cannot open '%s'", base);
	create.backing = real;
	r = block_create(path, &create, e);
	free(real);
	return r;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat first, second;

	return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

/* Over another base its clusters would make no sense. */
static int check_base(const char *path, const char *base, struct error *e)
{
	struct qcow2_header header;
	struct store *store;
	char *named;
	bool same;
	int r = store_open(&store, path, STORE_READ_ONLY, false, e);

	if (r < 0)
		return r;
	r = qcow2_read_header(store, &header, e);
	store_close(store);
	if (r < 0)
		return r;
	named = backing_path(path, header.backing);
	same = named && *header.backing && is_same_file(named, base);
	free(named);
	if (same)
		return 0;
	return error_set(e, ERROR_STATE, -EEXIST,
			 "'%s' is there already and is no overlay of '%s'; choose another name", path, base);
}

int overlay_open(struct image **out, struct image *base, enum block_format base_format, const char *path,
		 const struct image_options *as, struct error *e)
{
	struct image_options options = {.format = BLOCK_QCOW2, .backing = base, .direct = as->direct};
	int r;

	if (!path)
		return open_temporary(out, &options, e);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		r = make(path, base->store->path, base_format, e);
	else
		r = check_base(path, base->store->path, e);
	options.incoming = options.read_only = as->incoming;
	return r < 0 ? r : image_open(out, path, &options, e);
}
