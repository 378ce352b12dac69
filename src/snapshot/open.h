/*
 * A snapshot file that is read, and a chain of them: the newest, its parent, and so on to one that has all.
 *
 * Opening reads and checks everything but the memory and the table of its pages. What kind each page is, which is all that
 * mapping the memory takes, the runs tell; the table is read and checked when a hash is needed first, and pages one by one as
 * they are read. Of a file of version 1, which has no runs, the table is looked at twice. Bytes that are wrong are told with
 * the file's name and where. What is in a file was judged hostile and is checked; the file must not change while it
 * is open.
 *
 * Thread: one at a time.
 */
#ifndef DOPPEL_SNAPSHOT_OPEN_H
#define DOPPEL_SNAPSHOT_OPEN_H

#include <jansson.h>

#include "snapshot/format.h"

#define SNAPSHOT_CHUNKS_KEPT 16

struct snapshot {
	char *name; /* for messages */
	int fd;
	struct snapshot_header header;
	json_t *facts; /* an object */
	uint8_t *state;
	size_t state_length;
	uint8_t *kinds; /* of header.pages rows, four in a byte */
	struct snapshot_page *pages; /* the rows; NULL until they are asked for (snapshot_keep_rows) */
	/* Packed files: */
	struct snapshot_chunk *chunks;
	uint64_t chunk_count;
	uint8_t *unpacked; /* chunks that were read last, each in the place that its number gives: duplicates lie far apart */
	uint64_t unpacked_chunks[SNAPSHOT_CHUNKS_KEPT];
};

/* `fd` belongs to the snapshot, also on failure. -EBADMSG, -ENOTSUP (a newer version), -ENOMEM, errors of reading. */
MUST_USE int snapshot_open(struct snapshot **out, int fd, const char *name, struct error *e);
/* One whose memory is being written, by what stands in it already: header, facts, state, and where the memory will be. Nothing of
 * its memory may be asked for here (snapshot/filling.h does). -EBADMSG: it was not begun so. */
MUST_USE int snapshot_open_early(struct snapshot **out, int fd, const char *name, struct error *e);
/* Header and facts only: nothing else of it may be asked for. */
MUST_USE int snapshot_open_facts(struct snapshot **out, int fd, const char *name, struct error *e);
void snapshot_close(struct snapshot *snapshot); /* accepts NULL */

/* The bytes of a page that the file has (HERE or ZERO), compared with its hash. -EBADMSG. */
MUST_USE int snapshot_read_page(struct snapshot *snapshot, uint64_t row, uint8_t *to, struct error *e);
/* `count` pages of a plain file, all HERE, likewise; a bare one has nothing to compare them with. `to` may be the guest's memory
 * while nothing uses it. */
MUST_USE int snapshot_read_pages(struct snapshot *snapshot, uint64_t row, uint64_t count, uint8_t *to, struct error *e);
/* Reads the table of pages, unless that was done: `pages` is there from then on. -EOPNOTSUPP (ERROR_STATE): a bare file has
 * none. */
MUST_USE int snapshot_keep_rows(struct snapshot *snapshot, struct error *e);
enum snapshot_page_kind snapshot_kind(const struct snapshot *snapshot, uint64_t row);
/* The first row from `row` on that is not of this kind; `end` when there is none before. */
uint64_t snapshot_skip(const struct snapshot *snapshot, uint64_t row, uint64_t end, enum snapshot_page_kind kind);
/* Where the row's page is in the guest's physical memory. */
uint64_t snapshot_address(const struct snapshot *snapshot, uint64_t row);
/* Called now and then, with bytes done and in all. Where one can be given, it may be NULL. */
typedef void snapshot_progress_fn(void *context, uint64_t done, uint64_t total);
/* Reads all that the file has of memory, and compares it with its hashes. -EBADMSG. */
MUST_USE int snapshot_verify(struct snapshot *snapshot, snapshot_progress_fn *progress, void *context, struct error *e);

#define SNAPSHOT_CHAIN_MAX 64
struct snapshot_chain {
	struct snapshot *files[SNAPSHOT_CHAIN_MAX]; /* the newest first; the chain's */
	unsigned count;
};

/* Adds the parent of the last one, or the first one; it belongs to the chain, also on failure. -EBADMSG: it is not the
 * parent, or has another memory. -ELOOP: too many. */
MUST_USE int snapshot_chain_add(struct snapshot_chain *chain, struct snapshot *snapshot, struct error *e);
/* Whether the last one needs a parent still. */
bool snapshot_chain_open_ended(const struct snapshot_chain *chain);
void snapshot_chain_finish(struct snapshot_chain *chain);
/* snapshot_keep_rows of each of its files. */
MUST_USE int snapshot_chain_keep_rows(const struct snapshot_chain *chain, struct error *e);
/* snapshot_verify of each of its files, one after the other: `progress` tells of the file that it is at. */
MUST_USE int snapshot_chain_verify(const struct snapshot_chain *chain, snapshot_progress_fn *progress, void *context,
				   struct error *e);
/* The file that has the page, HERE or ZERO; of a chain that is whole. */
struct snapshot *snapshot_chain_owner(const struct snapshot_chain *chain, uint64_t row);

/* 32 hexadecimal digits and NUL. */
#define SNAPSHOT_ID_TEXT 33
void snapshot_id_text(const uint8_t id[SNAPSHOT_ID_BYTES], char out[SNAPSHOT_ID_TEXT]);

#endif
