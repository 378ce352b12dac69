/*
 * A virtual disk: a stack of filters over a file, raw or qcow2.
 *
 *   device -> throttle -> overlay (qcow2 over a base) -> format (raw, qcow2) -> file (io_uring or threads)
 *
 * Requests are asynchronous: block_submit begins one, its `done` is called later (or before submit returns) on the
 * loop's thread. Many may be in flight; they complete in any order. Overlapping requests in flight have no order
 * among themselves, but no bytes outside of them are touched. A flush covers what had completed when it was
 * submitted.
 *
 * Formats are never guessed from bytes that a guest can write: a writable disk's format is named or follows from
 * how the file was made (docs/internals/block.md); images are locked against a second writer.
 *
 * Thread: open, close and resize from one owner; submit and drain on the loop's thread, statistics on any. Between
 * block_open and the first submit the block is handed to a loop, which may be another thread's, by block_attach.
 */
#ifndef DOPPEL_BLOCK_BLOCK_H
#define DOPPEL_BLOCK_BLOCK_H

#include <sys/uio.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/types.h"

#define BLOCK_SECTOR 512

enum block_format { BLOCK_FORMAT_AUTO, BLOCK_RAW, BLOCK_QCOW2 };

/* Of qcow2 clusters; values as in the format. */
enum block_compression { BLOCK_ZLIB, BLOCK_ZSTD };

/* How the host's files are read and written: AUTO takes io_uring where it is allowed, else threads. */
enum block_engine { BLOCK_ENGINE_AUTO, BLOCK_ENGINE_URING, BLOCK_ENGINE_THREADS };

/* Bytes and operations a second, with bursts of so many seconds' worth after a rest (0: 0.1); 0: no limit. */
struct block_limits {
	uint64_t bytes_per_second, operations_per_second;
	double burst_seconds;
};

struct block_options {
	const char *path;
	enum block_format
		format; /* AUTO: by the bytes, for read-only disks and bases; a writable one: see block_open */
	bool read_only;
	bool overlay; /* writes go to a new temporary qcow2 file, gone at close; `path` stays untouched */
	const char *overlay_path; /* with `overlay`: to this file instead, made when absent, and kept; or NULL */
	bool backing_anywhere;    /* backing files may lie outside the image's own folder */
	bool direct;              /* O_DIRECT where the file system takes it */
	/* A writable disk that another process may have still: neither locked nor written until block_refresh and
	 * block_own. */
	bool incoming;
	enum block_engine engine;
	struct block_limits limits;
};

enum block_operation {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,   /* data and metadata of completed writes are on stable storage */
	BLOCK_DISCARD, /* contents may be forgotten; reads as zeroes where the format can tell, else as before */
	BLOCK_ZERO,    /* reads as zeroes after; `unmap`: room may be given back */
	BLOCK_OPERATIONS,
};

struct block_request;
/* result: 0 or a negative errno: -EIO, -ENOSPC (the host's disk is full: nothing of the request is promised, it
 * may be submitted again), -EROFS, -EINVAL (outside of the disk, or not in sectors). */
typedef void block_done_fn(struct block_request *request, int result);

/* Memory of the caller until `done`; it may be submitted again from there. */
struct block_request {
	enum block_operation operation;
	bool unmap;
	uint64_t offset, length; /* bytes; multiples of BLOCK_SECTOR, inside the disk */
	const struct iovec
		*spans; /* READ, WRITE: `length` bytes in all; the caller's until done; may be guest memory */
	unsigned span_count;
	block_done_fn *done;
	void *owner;   /* the caller's */
	void *private; /* the stack's while in flight */
};

/* All of it is uint64_t. */
struct block_statistics {
	uint64_t operations[BLOCK_OPERATIONS], bytes_read, bytes_written, errors, throttled_ns;
	uint64_t in_flight, in_flight_max;
};

struct block;

/* Opens and locks. ERROR_USAGE when the format of a writable disk is not named and does not follow from its
 * name (.qcow2, .raw, .img) and content agreeing; -EBUSY (ERROR_STATE) when another process writes it; others
 * by errno. */
MUST_USE int block_open(struct block **out, const struct block_options *options, struct error *e);
/* Whether there is such a file, without opening anything: for who wants to know before work that takes long.
 * -ENOENT (ERROR_NOT_FOUND). */
MUST_USE int block_look(const struct block_options *options, struct error *e);
/* All I/O from now on belongs to `loop`. Once, before the first submit. */
MUST_USE int block_attach(struct block *block, struct loop *loop, struct error *e);
/* After the last `done` has returned. On the loop's thread, or after that has ended. Writes back what is cached
 * and unlocks; a failure of that is told, and the block is gone all the same. Accepts NULL. */
int block_close(struct block *block, struct error *e);

uint64_t block_size(const struct block *block); /* bytes, a multiple of BLOCK_SECTOR */
bool block_read_only(const struct block *block);
/* "raw" or "qcow2"; of an overlay its own. */
const char *block_format_name(const struct block *block);
/* The file that is written; the block's. */
const char *block_path(const struct block *block);
/* Bytes that I/O is best a multiple of and aligned to: 512 or 4096 and up. */
uint32_t block_optimal(const struct block *block);
void block_submit(struct block *block, struct block_request *request);
/* Requests submitted between the two are handed to the host in one call where that saves work. They nest;
 * nobody waits for a completion in between. */
void block_begin(struct block *block);
void block_commit(struct block *block);
/* Calls fn(arg) on the loop's thread when nothing is in flight (at once, if so). The block may be closed from
 * there. */
void block_drain(struct block *block, loop_fn *fn, void *arg);
/* Grows (or with `shrink` cuts) the disk; nothing is in flight. -EROFS, -EINVAL, -ENOSPC. */
MUST_USE int block_resize(struct block *block, uint64_t size, bool shrink, struct error *e);
/* ---- While the guest runs ---- */

#define BLOCK_TRACK_PART (64 * KIB)
/* Parts of BLOCK_TRACK_PART bytes that are changed from now on are counted, a bit each. Collecting copies the bits
 * into `bitmap` (block_track_words words) and clears them; what was in flight meanwhile is in the next. begin by
 * the owner, while nothing is in flight or the guest writes nothing that matters yet; collect by any thread.
 * -ENOMEM; -EBUSY: it was resized since an earlier beginning. */
MUST_USE int block_track_begin(struct block *block, struct error *e);
void block_track_end(struct block *block);
void block_track_collect(struct block *block, uint64_t *bitmap);
uint64_t block_track_words(const struct block *block);

/* ---- While the machine moves: the same file on both sides, or a copy. The guest stands still, but for the marks. ---- */

/* Whoever else has the file open, on any host that shares it with its locks, sees a mark at `place`, which is
 * beyond 2^60. Marks go with the process. block_marked: 1 when somebody else has marked it, 0, or a negative
 * errno. */
MUST_USE int block_mark(struct block *block, uint64_t place, bool on);
MUST_USE int block_marked(const struct block *block, uint64_t place);
/* All that was written is in the file and on stable storage. Nothing is in flight. */
MUST_USE int block_settle(struct block *block, struct error *e);
/* Of one that was opened `incoming`: what others have written so far is seen, and the locks are taken: `alone`
 * (-EBUSY when it is in use), or beside the one that gives it away. Nothing is in flight. -ESTALE: its size
 * changed. */
MUST_USE int block_refresh(struct block *block, bool alone, struct error *e);
/* Whether it is written by this process. Given away, nothing is written any more, not even at its close. */
void block_own(struct block *block, bool own);
/* A copy's side: plain access beside the requests of the guest, that blocks. Inside the disk, in sectors; `bytes`
 * NULL: zeroes. By any thread. 0 or a negative errno; of block_peek 1 where the image itself knows that all are zeroes:
 * they were not read, and `bytes` is as it was. */
MUST_USE int block_peek(struct block *block, uint64_t offset, void *bytes, size_t length);
MUST_USE int block_poke(struct block *block, uint64_t offset, const void *bytes, size_t length);
MUST_USE int block_sync(struct block *block);

/* The disk stays as it is for good: what is written from now on goes to an overlay, an empty qcow2 image of the
 * disk's size, open for reading and writing at `fd`, which belongs to the block on success. `path` is the
 * overlay's, for messages. The image that the block had is written back and only read from now on; others may read
 * it too. Nothing is in flight. -EROFS: it is not written anyway; -EINVAL: the overlay does not fit.
 * block/freeze.c */
MUST_USE int block_freeze(struct block *block, int fd, const char *path, struct error *e);
void block_set_limits(struct block *block, const struct block_limits *limits);
void block_get_statistics(const struct block *block, struct block_statistics *out);

/* ---- Images as files, for `doppel disk` and for making images; synchronous. ---- */

struct block_create_options {
	enum block_format format; /* AUTO: by the name's end */
	uint64_t size;            /* 0 with a backing file: its size */
	uint32_t cluster_size;    /* qcow2: 512 to 2 MiB, a power of two; 0: 64 KiB */
	const char *backing;      /* qcow2: path as stored, relative to the new image's folder */
	enum block_format backing_format;
	bool preallocate;
	enum block_compression compression; /* qcow2: of what is compressed in it */
};
/* Never replaces a file: -EEXIST. Nothing is left behind on failure. */
MUST_USE int block_create(const char *path, const struct block_create_options *options, struct error *e);

struct block_description {
	enum block_format format;
	uint64_t size, file_bytes; /* virtual size, and what it takes on the host */
	uint32_t cluster_size, version;
	char backing[1024];
	enum block_format backing_format;
	uint64_t clusters_allocated, clusters_compressed;
	enum block_compression compression;
	unsigned snapshots;
	bool corrupt; /* it was found damaged, and is not written before a repair */
	bool dirty;   /* it was not closed properly: a check is due */
};
/* Takes no lock: of an image in use it tells what was written back so far. */
MUST_USE int block_describe(const char *path, enum block_format format, struct block_description *out,
			    struct error *e);

struct block_check_result {
	uint64_t leaked_clusters, corruptions, repaired; /* after a repair: what is left in the first two */
};
/* Reads all metadata; `repair` puts right what can be without losing data. */
MUST_USE int block_check(const char *path, enum block_format format, bool repair, struct block_check_result *out,
			 struct error *e);
/* Copies a disk's contents into a new image; zeroes take no room. `progress` may be NULL: bytes done and in
 * all. */
MUST_USE int block_convert(const struct block_options *from, const char *to, const struct block_create_options *as,
			   bool compress, void (*progress)(void *context, uint64_t done, uint64_t total),
			   void *context, struct error *e);

#endif
