/*
 * Reads a tar stream as it arrives and hands over the entries that someone wants.
 *
 * Knows what dpkg-deb writes: ustar headers and GNU long names. Headers are checked by their checksum; POSIX
 * extended headers (which could rename what follows) and sparse files are refused. A regular file that is wanted
 * may have TAR_FILE_MAX bytes. Thread: the caller's.
 */
#ifndef DOPPEL_IMAGE_TAR_H
#define DOPPEL_IMAGE_TAR_H

#include "base/error.h"
#include "base/types.h"

#define TAR_FILE_MAX ((uint64_t)256 << 20)

enum tar_type {
	TAR_FILE = '0',
	TAR_HARD_LINK = '1',
	TAR_LINK = '2',
	TAR_CHARACTER_DEVICE = '3',
	TAR_BLOCK_DEVICE = '4',
	TAR_DIRECTORY = '5',
	TAR_PIPE = '6',
};

/* The strings are the reader's, until the callback returns. Nothing in them is checked: "..", say, may be
 * there. */
struct tar_entry {
	const char *path;   /* without a leading "./" or "/" and without slashes at its end; "" for the top */
	const char *target; /* TAR_LINK: as it is; TAR_HARD_LINK: made plain as `path` is; otherwise "" */
	enum tar_type type;
	uint32_t mode; /* 07777 at most */
	uint32_t user, group;
	int64_t modified; /* seconds since 1970 */
};

struct tar_visitor {
	/* Whether `take` shall be called for this regular file. */
	bool (*want)(void *context, const struct tar_entry *entry);
	/* `bytes` is now the visitor's to free(), never NULL. A negative errno ends the reading with it. */
	int (*take)(void *context, const struct tar_entry *entry, uint8_t *bytes, size_t size);
	/* Everything that is not a regular file. NULL: it is passed over. */
	int (*place)(void *context, const struct tar_entry *entry);
	void *context;
};

struct tar;

struct tar *tar_new(const struct tar_visitor *visitor); /* NULL when memory is short */
void tar_free(struct tar *tar);

/* The next piece of the stream, of any size. -EBADMSG: no tar; -EFBIG, -ENOMEM; what `take` or `place`
 * returned. */
MUST_USE int tar_feed(struct tar *tar, const void *bytes, size_t size);
/* Whether the stream ended where an archive may: 0 or -EBADMSG. */
MUST_USE int tar_end(const struct tar *tar);

#endif
