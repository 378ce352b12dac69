/*
 * An image: a disk's contents in some format, over a store and maybe over another image (its backing).
 *
 * There are two ways to the contents. `lookup` answers at once, without I/O, where bytes lie in a store, so that
 * the loop can begin asynchronous I/O on them; where it can not tell, or there is more to do than plain I/O, the
 * blocking functions do the whole work on a thread of the pool (block.c decides). Several threads may use an image
 * at once.
 *
 * All results are 0 or a negative errno. Offsets and lengths are inside the image, multiples of BLOCK_SECTOR.
 */
#ifndef DOPPEL_BLOCK_IMAGE_H
#define DOPPEL_BLOCK_IMAGE_H

#include "block/block.h"
#include "block/store.h"

enum extent_kind {
	EXTENT_DATA,   /* in `store` at `offset`; when asked for a write: may be overwritten there */
	EXTENT_ZERO,   /* reads as zeroes */
	EXTENT_ABSENT, /* what the backing has there */
	EXTENT_SLOW,   /* only the blocking functions know */
};

struct extent {
	enum extent_kind kind;
	uint64_t length; /* of what was asked for, from its beginning */
	struct store *store;
	uint64_t offset;
};

struct image;

struct image_ops {
	const char *name;
	/* Writes back, ends everything but the store and the backing. */
	int (*close)(struct image *image, struct error *e);
	void (*lookup)(struct image *image, uint64_t offset, uint64_t length, bool write, struct extent *out);
	/* As lookup, but may block; SLOW is left for what is compressed. */
	int (*map)(struct image *image, uint64_t offset, uint64_t length, struct extent *out);
	int (*read)(struct image *image, uint64_t offset, struct spans spans, uint64_t length);
	int (*write)(struct image *image, uint64_t offset, struct spans spans, uint64_t length);
	int (*zero)(struct image *image, uint64_t offset, uint64_t length, bool unmap);
	int (*discard)(struct image *image, uint64_t offset, uint64_t length);
	int (*flush)(struct image *image);
	/* Whether a flush is more than a sync of the store. */
	bool (*needs_flush)(struct image *image);
	int (*resize)(struct image *image, uint64_t size, bool shrink, struct error *e);
	/* Nothing is in flight, and nobody writes any more: all is written back, as at close. */
	int (*settle)(struct image *image);
	/* Around every use of the functions above but close and resize, any thread: nothing that lookup told
	 * becomes untrue in between, beyond what other requests for the same bytes do. */
	unsigned (*enter)(struct image *image);
	void (*leave)(struct image *image, unsigned ticket);
};

struct image {
	const struct image_ops *ops;
	struct store *store;
	struct image *backing; /* owned; NULL: none */
	uint64_t size;         /* a multiple of BLOCK_SECTOR */
	bool read_only;
	uint32_t optimal;
};

struct image_options {
	enum block_format format; /* RAW or QCOW2 */
	bool read_only;
	bool backing_anywhere;
	bool direct;
	bool no_lock;
	bool incoming;         /* read-only and without a lock for now, but its file can be written later (moving.h) */
	bool no_backing;       /* the backing file, if there is one, is not opened: reads of it give -EIO */
	struct image *backing; /* instead of the one that the image names; taken over on success */
	unsigned depth;        /* of the chain so far */
};

#define IMAGE_DEPTH_MAX 64

/* Opens and locks. */
MUST_USE int image_open(struct image **out, const char *path, const struct image_options *options,
			struct error *e);
/* The same over a store that is open and locked; it belongs to the image on success. */
MUST_USE int image_open_store(struct image **out, struct store *store, const struct image_options *options,
			      struct error *e);
/* With its backing chain. Accepts NULL. */
int image_close(struct image *image, struct error *e);

/* As the ops of that name, down the whole chain: never ABSENT. */
void image_lookup(struct image *image, uint64_t offset, uint64_t length, bool write, struct extent *out);
MUST_USE int image_map(struct image *image, uint64_t offset, uint64_t length, struct extent *out);
/* Beyond the end of the image zeroes are read. */
MUST_USE int image_read(struct image *image, uint64_t offset, struct spans spans, uint64_t length);

/* raw.c; see qcow2_open.h for the other. The store belongs to the image on success. */
MUST_USE int raw_open(struct image **out, struct store *store, const struct image_options *options,
		      struct error *e);

#endif
