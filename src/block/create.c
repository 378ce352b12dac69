#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "block/backing.h"
#include "block/open.h"
#include "block/qcow2.h"
#include "block/qcow2_create.h"

/* The backing's size, and its format where the options do not tell it. */
static int look_at_backing(const char *path, struct block_create_options *options, uint64_t *size, struct error *e)
{
	/* Only its size counts, which does not change while somebody writes it. */
	struct image_options below = {
		.read_only = true, .backing_anywhere = true, .no_backing = true, .no_lock = true};
	struct image *image = NULL;
	char *backing = backing_path(path, options->backing);
	int r = backing ? 0 : error_errno(e, -ENOMEM, "cannot make '%s'", path);

	if (r == 0)
		r = open_find_format(backing, true, &options->backing_format, e);
	below.format = options->backing_format;
	if (r == 0)
		r = image_open(&image, backing, &below, e);
	free(backing);
	if (r < 0)
		return error_prefix(e, r, "the backing file");
	*size = image->size;
	return image_close(image, e);
}

static int preallocate(const char *path, struct error *e)
{
	struct image_options options = {.format = BLOCK_QCOW2, .no_backing = true};
	struct image *image;
	int r = image_open(&image, path, &options, e), closed;

	if (r < 0)
		return r;
	r = qcow2_preallocate(qcow2_of(image));
	if (r < 0)
		error_errno(e, r, "cannot set room aside for '%s'", path);
	closed = image_close(image, r < 0 ? NULL : e);
	return r < 0 ? r : closed;
}

static int fill(struct store *store, const struct block_create_options *options, uint64_t size, struct error *e)
{
	int r;

	if (options->format == BLOCK_QCOW2) {
		r = qcow2_create(store, options, size, e);
		if (r < 0)
			return r;
	} else {
		r = store_resize(store, size);
		if (r == 0 && options->preallocate)
			r = store_allocate(store, size);
	}
	if (r == 0)
		r = store_sync(store);
	return r < 0 ? error_errno(e, r, "cannot make '%s'", store->path) : 0;
}

static int check(const char *path, const struct block_create_options *options, struct error *e)
{
	if (options->format == BLOCK_FORMAT_AUTO)
		return error_set(
			e, ERROR_USAGE, -EINVAL,
			"the name of '%s' does not tell its format, as .qcow2, .raw or .img would; say it: "
			"--image-format raw or --image-format qcow2",
			path);
	if (options->backing && options->format != BLOCK_QCOW2)
		return error_set(e, ERROR_USAGE, -EINVAL, "only qcow2 images have a backing file");
	if (options->backing && options->preallocate)
		return error_set(e, ERROR_USAGE, -EINVAL, "an image with a backing file can not be preallocated");
	if (options->size % BLOCK_SECTOR || options->size > INT64_MAX)
		return error_set(e, ERROR_USAGE, -EINVAL, "a disk's size is a multiple of %d bytes", BLOCK_SECTOR);
	return 0;
}

int block_create(const char *path, const struct block_create_options *options, struct error *e)
{
	struct block_create_options all = *options;
	uint64_t backing_size = 0;
	struct store *store;
	int r;

	if (all.format == BLOCK_FORMAT_AUTO)
		all.format = open_format_of_name(path);
	r = check(path, &all, e);
	if (r == 0 && all.backing)
		r = look_at_backing(path, &all, &backing_size, e);
	if (r < 0)
		return r;
	if (all.size == 0)
		all.size = backing_size;
	if (all.size == 0)
		return error_set(e, ERROR_USAGE, -EINVAL, "the size of '%s' is missing", path);
	r = store_create(&store, path, e);
	if (r < 0)
		return r;
	r = fill(store, &all, all.size, e);
	store_close(store);
	if (r == 0 && all.preallocate && all.format == BLOCK_QCOW2)
		r = preallocate(path, e);
	if (r < 0)
		unlink(path);
	return r;
}
