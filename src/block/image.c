#include "block/image.h"

#include <errno.h>

#include "block/lock.h"
#include "block/qcow2_open.h"

int image_open_store(struct image **out, struct store *store, const struct image_options *options, struct error *e)
{
	return (options->format == BLOCK_QCOW2 ? qcow2_open : raw_open)(out, store, options, e);
}

int image_open(struct image **out, const char *path, const struct image_options *options, struct error *e)
{
	struct store *store;
	enum store_mode mode = options->read_only && !options->incoming ? STORE_READ_ONLY : STORE_WRITABLE;
	int r = store_open(&store, path, mode, options->direct, e);

	if (r < 0)
		return r;
	if (!options->no_lock && !options->incoming)
		r = lock_take(store, options->read_only ? LOCK_READER : LOCK_WRITER, e);
	if (r == 0)
		r = image_open_store(out, store, options, e);
	if (r < 0)
		store_close(store);
	return r;
}

int image_close(struct image *image, struct error *e)
{
	int result = 0;

	while (image) {
		struct image *backing = image->backing;
		struct store *store = image->store;
		int r = image->ops->close(image, result ? NULL : e);

		store_close(store);
		if (result == 0)
			result = r;
		image = backing;
	}
	return result;
}

/* What the chain has below `image`, from where that is absent. */
static bool descend(struct image **image, uint64_t offset, struct extent *out)
{
	*image = (*image)->backing;
	if (!*image || offset >= (*image)->size) {
		out->kind = EXTENT_ZERO;
		return false;
	}
	if (out->length > (*image)->size - offset)
		out->length = (*image)->size - offset;
	return true;
}

void image_lookup(struct image *image, uint64_t offset, uint64_t length, bool write, struct extent *out)
{
	image->ops->lookup(image, offset, length, write, out);
	while (out->kind == EXTENT_ABSENT && !write && descend(&image, offset, out))
		image->ops->lookup(image, offset, out->length, false, out);
}

int image_map(struct image *image, uint64_t offset, uint64_t length, struct extent *out)
{
	int r = image->ops->map(image, offset, length, out);

	while (r == 0 && out->kind == EXTENT_ABSENT && descend(&image, offset, out))
		r = image->ops->map(image, offset, out->length, out);
	return r;
}

int image_read(struct image *image, uint64_t offset, struct spans spans, uint64_t length)
{
	uint64_t inside = offset < image->size ? image->size - offset : 0;

	if (inside < length)
		spans_fill(spans_after(spans, inside), 0, length - inside);
	else
		inside = length;
	return inside ? image->ops->read(image, offset, spans, inside) : 0;
}
