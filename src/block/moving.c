#include "block/moving.h"

#include <errno.h>
#include <string.h>

#include "block/lock.h"

static int check_size(const struct image *fresh, const struct image *old, struct error *e)
{
	if (fresh->size == old->size)
		return 0;
	return error_set(e, ERROR_FAILED, -ESTALE, "the size of '%s' has changed meanwhile", old->store->path);
}

/* The tables that were read before the other side wrote are of no use. What is below is only read, by both. */
int moving_refresh(struct image **image, bool alone, struct error *e)
{
	struct image *old = *image, *fresh;
	const struct image_options options = {
		.format = strcmp(old->ops->name, "raw") == 0 ? BLOCK_RAW : BLOCK_QCOW2,
		.backing = old->backing,
		.no_backing = !old->backing,
	};
	int r = alone ? lock_take(old->store, LOCK_WRITER, e) : lock_join(old->store, e);

	if (r < 0)
		return r;
	r = image_open_store(&fresh, old->store, &options, e);
	if (r < 0)
		return r;
	fresh->read_only = true;
	fresh->backing = old->backing;
	r = check_size(fresh, old, e);
	/* Nothing is written by the end of an image that is only read; store and backing are not ended by it. */
	(void)(r == 0 ? old : fresh)->ops->close(r == 0 ? old : fresh, NULL);
	if (r == 0)
		*image = fresh;
	return r;
}
