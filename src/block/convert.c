#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/zeros.h"
#include "block/open.h"
#include "block/qcow2.h"

#define PIECE (2 * MIB) /* a multiple of every cluster size */

struct conversion {
	struct image *from, *to;
	uint8_t *bytes; /* PIECE */
	uint64_t unit;  /* what is zero in whole is left out */
	bool compress;
	bool over_backing; /* zeroes must be said */
};

static int put_zeroes(struct conversion *c, uint64_t offset, uint64_t length)
{
	return c->over_backing ? c->to->ops->zero(c->to, offset, length, true) : 0;
}

static int put_bytes(struct conversion *c, uint64_t offset, size_t at, size_t length)
{
	struct iovec span = {c->bytes + at, length};

	/* Compression takes whole clusters; what is behind the disk's end is zero. */
	if (c->compress)
		return qcow2_write_compressed(c->to, offset, c->bytes + at);
	return c->to->ops->write(c->to, offset, (struct spans){&span, 1, 0}, length);
}

/* The run of units from `at` on that are all zero, or all not. */
static size_t run_of(const struct conversion *c, size_t at, size_t length, bool *zero)
{
	size_t unit = c->unit < length - at ? c->unit : length - at, end = at + unit;

	*zero = zeros_only(c->bytes + at, unit);
	while (end < length && !(c->compress && !*zero)) {
		unit = c->unit < length - end ? c->unit : length - end;
		if (zeros_only(c->bytes + end, unit) != *zero)
			break;
		end += unit;
	}
	return end - at;
}

static int copy_piece(struct conversion *c, uint64_t offset, size_t length)
{
	struct iovec span = {c->bytes, length};
	int r = image_read(c->from, offset, (struct spans){&span, 1, 0}, length);

	memset(c->bytes + length, 0, PIECE - length);
	for (size_t at = 0; r == 0 && at < length;) {
		bool zero;
		size_t run = run_of(c, at, length, &zero);

		r = zero ? put_zeroes(c, offset + at, run) : put_bytes(c, offset + at, at, run);
		at += run;
	}
	return r;
}

/* One piece or, where the source knows of zeroes, all of those. */
static int copy_next(struct conversion *c, uint64_t offset, uint64_t *done)
{
	uint64_t left = c->from->size - offset;
	struct extent extent;
	int r = image_map(c->from, offset, left, &extent);

	if (r < 0)
		return r;
	*done = left < PIECE ? left : PIECE;
	if (extent.kind != EXTENT_ZERO || extent.length < *done)
		return copy_piece(c, offset, *done);
	*done = extent.length == left ? left : extent.length & ~(PIECE - 1);
	return put_zeroes(c, offset, *done);
}

static int copy(struct conversion *c, void (*progress)(void *context, uint64_t done, uint64_t total),
		void *context)
{
	uint64_t offset = 0, total = c->from->size;
	int r = 0;

	while (r == 0 && offset < total) {
		uint64_t done = 0;

		r = copy_next(c, offset, &done);
		offset += done;
		if (progress && r == 0)
			progress(context, offset, total);
	}
	return r;
}

static int fill(struct conversion *c, const char *to, const struct block_create_options *as,
		void (*progress)(void *context, uint64_t done, uint64_t total), void *context, struct error *e)
{
	struct image_options options = {.format = as->format, .backing_anywhere = true};
	int r = image_open(&c->to, to, &options, e), closed;

	if (r < 0)
		return r;
	c->over_backing = c->to->backing != NULL;
	c->unit = as->format == BLOCK_QCOW2 ? qcow2_of(c->to)->cluster_size : 4096;
	r = copy(c, progress, context);
	if (r < 0)
		error_errno(e, r, "cannot copy '%s' to '%s'", c->from->store->path, to);
	closed = image_close(c->to, r < 0 ? NULL : e);
	return r < 0 ? r : closed;
}

static int check(const struct image *from, struct block_create_options *as, bool compress, struct error *e)
{
	if (compress && as->format != BLOCK_QCOW2)
		return error_set(e, ERROR_USAGE, -EINVAL, "only qcow2 images can be compressed");
	if (compress && as->preallocate)
		return error_set(e, ERROR_USAGE, -EINVAL, "an image can not be both compressed and preallocated");
	if (as->size == 0)
		as->size = from->size;
	if (as->size < from->size)
		return error_set(e, ERROR_USAGE, -EINVAL, "the new image would be smaller than '%s'",
				 from->store->path);
	return 0;
}

int block_convert(const struct block_options *from, const char *to, const struct block_create_options *as,
		  bool compress, void (*progress)(void *context, uint64_t done, uint64_t total), void *context,
		  struct error *e)
{
	struct block_options source = *from;
	struct block_create_options create = *as;
	struct conversion c = {.compress = compress};
	int r;

	if (create.format == BLOCK_FORMAT_AUTO)
		create.format = open_format_of_name(to);
	source.read_only = true;
	source.overlay = false;
	r = open_stack(&c.from, &source, e);
	if (r < 0)
		return r;
	c.bytes = malloc(PIECE);
	r = c.bytes ? check(c.from, &create, compress, e)
		    : error_errno(e, -ENOMEM, "cannot copy '%s'", from->path);
	if (r == 0)
		r = block_create(to, &create, e);
	if (r == 0) {
		r = fill(&c, to, &create, progress, context, e);
		if (r < 0)
			unlink(to);
	}
	free(c.bytes);
	(void)image_close(c.from, NULL);
	return r;
}
