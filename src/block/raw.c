/* Raw images: a disk's bytes are the file's, all of which are promised to be there. A length that is no multiple
 * of the sector is filled up with zeroes. */
#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "block/image.h"

#define RAW_OPTIMAL 4096

static int raw_close(struct image *image, struct error *e)
{
	int r = image->read_only ? 0 : store_sync(image->store);

	if (r < 0)
		error_errno(e, r, "writing to '%s' failed", image->store->path);
	free(image);
	return r;
}

static void raw_lookup(struct image *image, uint64_t offset, uint64_t length, bool write, struct extent *out)
{
	(void)write;
	*out = (struct extent){EXTENT_DATA, length, image->store, offset};
}

/* Holes are zeroes that need no reading; a file system that knows none calls everything data. */
static int raw_map(struct image *image, uint64_t offset, uint64_t length, struct extent *out)
{
	uint64_t data, hole;
	int r = store_next_data(image->store, offset, &data);

	raw_lookup(image, offset, length, false, out);
	if (r == 0 && data > offset) {
		out->kind = EXTENT_ZERO;
		if (data - offset < length)
			out->length = (data - offset) & ~(uint64_t)(BLOCK_SECTOR - 1);
		if (out->length == 0)
			*out = (struct extent){EXTENT_DATA, BLOCK_SECTOR, image->store, offset};
		return 0;
	}
	if (r == 0 && store_next_hole(image->store, offset, &hole) == 0 && hole > offset &&
	    hole - offset < length) {
		uint64_t end;

		if (checked_align(hole - offset, BLOCK_SECTOR, &end) && end < length)
			out->length = end;
	}
	return 0;
}

static int raw_read(struct image *image, uint64_t offset, struct spans spans, uint64_t length)
{
	return store_read_spans(image->store, offset, spans, length);
}

static int raw_write(struct image *image, uint64_t offset, struct spans spans, uint64_t length)
{
	return store_write_spans(image->store, offset, spans, length);
}

static int raw_zero(struct image *image, uint64_t offset, uint64_t length, bool unmap)
{
	int r = unmap ? store_punch(image->store, offset, length) : -EOPNOTSUPP;

	return r == -EOPNOTSUPP ? store_zero(image->store, offset, length) : r;
}

/* A hint: where no room can be given back, the bytes stay. */
static int raw_discard(struct image *image, uint64_t offset, uint64_t length)
{
	int r = store_punch(image->store, offset, length);

	return r == -EOPNOTSUPP ? 0 : r;
}

static int raw_flush(struct image *image)
{
	return store_sync(image->store);
}

static bool raw_needs_flush(struct image *image)
{
	(void)image;
	return false;
}

static int raw_resize(struct image *image, uint64_t size, bool shrink, struct error *e)
{
	int r;

	if (image->store->device)
		return error_set(e, ERROR_USAGE, -EINVAL, "'%s' is a device: its size can not be changed",
				 image->store->path);
	if (size < image->size && !shrink)
		return error_set(e, ERROR_USAGE, -EINVAL, "'%s' would be cut, which was not asked for",
				 image->store->path);
	r = store_resize(image->store, size);
	if (r < 0)
		return error_errno(e, r, "cannot resize '%s'", image->store->path);
	store_promise(image->store, size);
	image->size = size;
	return 0;
}

static unsigned raw_enter(struct image *image)
{
	(void)image;
	return 0;
}

static void raw_leave(struct image *image, unsigned ticket)
{
	(void)image;
	(void)ticket;
}

static const struct image_ops raw_ops = {
	.name = "raw",
	.close = raw_close,
	.lookup = raw_lookup,
	.map = raw_map,
	.read = raw_read,
	.write = raw_write,
	.zero = raw_zero,
	.discard = raw_discard,
	.flush = raw_flush,
	.needs_flush = raw_needs_flush,
	.resize = raw_resize,
	.settle = raw_flush,
	.enter = raw_enter,
	.leave = raw_leave,
};

/* A device may not end between sectors, and a file that does is grown for a writer: a full last sector can be
 * written anyway. */
int raw_open(struct image **out, struct store *store, const struct image_options *options, struct error *e)
{
	struct image *image;
	uint64_t size;
	int r = store_size(store, &size);

	if (r < 0)
		return error_errno(e, r, "cannot tell the size of '%s'", store->path);
	store_promise(store, size);
	if (!checked_align(size, BLOCK_SECTOR, &size))
		return error_set(e, ERROR_USAGE, -EFBIG, "'%s' is too large for a disk", store->path);
	image = calloc(1, sizeof *image);
	if (!image)
		return error_errno(e, -ENOMEM, "cannot open '%s'", store->path);
	*image = (struct image){.ops = &raw_ops,
				.store = store,
				.size = size,
				.read_only = options->read_only,
				.optimal = RAW_OPTIMAL};
	*out = image;
	return 0;
}
