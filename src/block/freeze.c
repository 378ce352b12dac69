#include "block/freeze.h"

#include <errno.h>
#include <inttypes.h>

#include "block/lock.h"
#include "block/qcow2_open.h"

static int check_size(const struct image *image, struct store *overlay, struct error *e)
{
	struct qcow2_header header;
	int r = qcow2_read_header(overlay, &header, e);

	if (r < 0)
		return r;
	if (header.size == image->size)
		return 0;
	return error_set(e, ERROR_FAILED, -EINVAL, "'%s' is no overlay of '%s': it has %" PRIu64 " bytes instead of %" PRIu64,
			 overlay->path, image->store->path, header.size, image->size);
}

static int put_over(struct image **image, struct store *overlay, struct error *e)
{
	struct image_options options = {.format = BLOCK_QCOW2, .backing = *image};
	struct image *top;
	int r = check_size(*image, overlay, e);

	if (r == 0)
		r = lock_take(overlay, LOCK_WRITER, e);
	if (r < 0)
		return r;
	r = (*image)->ops->settle(*image);
	if (r < 0)
		return error_errno(e, r, "writing back '%s' failed", (*image)->store->path);
	r = image_open_store(&top, overlay, &options, e);
	if (r < 0)
		return r;
	(*image)->read_only = true;
	lock_lower((*image)->store);
	*image = top;
	return 0;
}

int freeze_under(struct image **image, int fd, const char *path, struct error *e)
{
	struct store *overlay;
	int r;

	if ((*image)->read_only)
		return error_set(e, ERROR_STATE, -EROFS, "'%s' is read-only", (*image)->store->path);
	r = store_adopt(&overlay, fd, path, STORE_WRITABLE, e);
	if (r < 0)
		return r;
	r = put_over(image, overlay, e);
	if (r < 0) {
		overlay->fd = -1; /* the caller's still */
		store_close(overlay);
	}
	return r;
}
