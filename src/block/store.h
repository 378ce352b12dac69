/*
 * A store: one open file of the host that holds (part of) an image, and the plain operations on it.
 *
 * Everything here blocks until it is done; the asynchronous way to the same file is io.h. Reads beyond the end
 * give zeroes, but where bytes were promised to be: a file that somebody cut meanwhile fails with -ESTALE from
 * where it ends on, also when it is longer again, for what was there is lost. With `direct` the file is open
 * twice: O_DIRECT for what is aligned, through the page cache for the rest (metadata).
 *
 * A failed fdatasync leaves nobody knowing what reached the disk, and a second one may claim success: the store
 * remembers the failure, and every later sync fails with it.
 *
 * Thread: any for what does I/O; open and close by the owner. Results are 0 or a negative errno.
 */
#ifndef DOPPEL_BLOCK_STORE_H
#define DOPPEL_BLOCK_STORE_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/types.h"
#include "block/spans.h"

#define STORE_DIRECT_ALIGNMENT 4096

struct store {
	char *path; /* for messages; a file without a name has that of its folder */
	int fd;
	int direct_fd; /* -1: none */
	bool read_only;
	bool device; /* a block device: its size is fixed */
	/* Since it was opened: how many writes are done, and how many of them a sync has covered. */
	_Atomic uint64_t writes, synced;
	atomic_int failure; /* of a sync; 0: none */
	_Atomic uint64_t promised; /* what is read before this is in the file */
	_Atomic uint64_t cut;      /* from here on it is not any more; UINT64_MAX: all is there */
};

enum store_operation { STORE_READ, STORE_WRITE, STORE_SYNC, STORE_PUNCH, STORE_ZERO, STORE_RESIZE };

/* Sees every operation of every store before it is done; what it returns, other than 0, is the result instead.
 * Only for tests of what a crash or a full disk leaves behind; io.h uses no ring while there is one. */
struct store_hook {
	int (*before)(void *context, const struct store *store, enum store_operation operation, uint64_t offset,
		      const struct spans *spans, uint64_t length);
	void *context;
};
/* While no store is in use; NULL: none. */
void store_set_hook(const struct store_hook *hook);
bool store_has_hook(void);

enum store_mode { STORE_READ_ONLY, STORE_WRITABLE };

/* A regular file or a block device. */
MUST_USE int store_open(struct store **out, const char *path, enum store_mode mode, bool direct, struct error *e);
/* Whether that would find something at the path. */
MUST_USE int store_look(const char *path, struct error *e);
/* A new file, writable: -EEXIST when there is one. */
MUST_USE int store_create(struct store **out, const char *path, struct error *e);
/* A new file without a name in the folder for temporary files; gone when it is closed or the process dies. */
MUST_USE int store_temporary(struct store **out, struct error *e);
/* Over a descriptor, which belongs to the store on success; `path` is for messages. */
MUST_USE int store_adopt(struct store **out, int fd, const char *path, enum store_mode mode, struct error *e);
/* Accepts NULL. */
void store_close(struct store *store);

/* From now on the file has so many bytes, or it was cut. */
void store_promise(struct store *store, uint64_t bytes);
/* Whether nothing of the bytes up to `end` is known to be lost. */
static inline bool store_is_whole(const struct store *store, uint64_t end)
{
	return likely(end <= atomic_load_explicit(&store->cut, memory_order_relaxed));
}
MUST_USE int store_size(const struct store *store, uint64_t *size);
/* What it takes on the host, in bytes. */
uint64_t store_room(const struct store *store);
MUST_USE int store_read_spans(struct store *store, uint64_t offset, struct spans spans, uint64_t length);
MUST_USE int store_write_spans(struct store *store, uint64_t offset, struct spans spans, uint64_t length);
MUST_USE int store_read(struct store *store, uint64_t offset, void *to, size_t length);
MUST_USE int store_write(struct store *store, uint64_t offset, const void *from, size_t length);
/* What was written before is on stable storage. */
MUST_USE int store_sync(struct store *store);
/* Reads as zeroes, room is given back; -EOPNOTSUPP: this file system can not. */
MUST_USE int store_punch(struct store *store, uint64_t offset, uint64_t length);
/* Reads as zeroes and stays allocated; written out where the file system knows no better. Inside the file's
 * size. */
MUST_USE int store_zero(struct store *store, uint64_t offset, uint64_t length);
/* Where, from `offset` on, data or a hole begins; the file's end is a hole. -EOPNOTSUPP: nobody can tell. */
MUST_USE int store_next_data(const struct store *store, uint64_t offset, uint64_t *at);
MUST_USE int store_next_hole(const struct store *store, uint64_t offset, uint64_t *at);
MUST_USE int store_resize(struct store *store, uint64_t size);
/* Room for the first `size` bytes is set aside. */
MUST_USE int store_allocate(struct store *store, uint64_t size);

/* For io.h: counts of writes and syncs done elsewhere. `covered`: `writes` when the sync was begun. */
void store_count_write(struct store *store);
int store_count_sync(struct store *store, uint64_t covered, int result);

#endif
