/*
 * The bytes of a snapshot file: docs/internals/snapshot.md has them one by one.
 *
 * A header of one page tells where everything is: facts (a JSON object), the state of cpus and devices (state/), a table
 * with a row for each page of RAM, and the memory. In a plain file the memory is laid out as the guest has it, with holes, so
 * that it can be mapped; in a packed one equal pages are stored once, in compressed chunks. A file with a parent has only
 * the pages that differ from it.
 *
 * Everything here is hostile until it is checked. Thread: any.
 */
#ifndef DOPPEL_SNAPSHOT_FORMAT_H
#define DOPPEL_SNAPSHOT_FORMAT_H

#include "base/error.h"
#include "base/types.h"
#include "memory/memory.h"

#define SNAPSHOT_VERSION  2 /* written; 1, which has no section RUNS, is read too */
#define SNAPSHOT_HEADER   4096 /* bytes; the table of pages follows in a file as we write it */
#define SNAPSHOT_EARLY_AT 4096 /* where the header of one that is being written is */
#define SNAPSHOT_SECTIONS 16
#define SNAPSHOT_ID_BYTES 16

enum snapshot_flag {
	SNAPSHOT_PACKED = 1,
	SNAPSHOT_BARE = 2, /* without PAGES, so of its memory nothing can be compared; plain, without a parent */
	/* Of a second header behind the place of the first, with BARE: the memory is being written. Without RUNS. */
	SNAPSHOT_EARLY = 4,
};

enum snapshot_section_kind {
	SNAPSHOT_FACTS = 1,
	SNAPSHOT_STATE = 2,
	SNAPSHOT_PAGES = 3,
	SNAPSHOT_MEMORY = 4,
	SNAPSHOT_CHUNKS = 5, /* packed files only */
	SNAPSHOT_FILE = 6,   /* of the machine's folder; its name is among the facts, in the same order. Packed files only */
	SNAPSHOT_RUNS = 7,   /* of PAGES */
	SNAPSHOT_MARKS = 8,  /* with EARLY only: snapshot/marks.h */
};

struct snapshot_section {
	uint32_t kind;
	uint64_t offset, length;
	uint64_t checksum; /* XXH64, seed 0; 0 for SNAPSHOT_MEMORY, whose pages have their own */
};

struct snapshot_region {
	uint64_t base, size; /* guest-physical; whole pages */
};

/* The header, as numbers. */
struct snapshot_header {
	uint32_t version; /* of a file that was read; what is written is SNAPSHOT_VERSION */
	uint32_t flags;
	uint8_t id[SNAPSHOT_ID_BYTES];
	uint8_t parent[SNAPSHOT_ID_BYTES]; /* zeros: none */
	uint64_t created_ns;               /* of the Unix epoch */
	uint64_t length;                   /* of the file */
	uint64_t pages;                    /* of all regions */
	uint32_t region_count, section_count;
	struct snapshot_region regions[MEMORY_REGIONS_MAX];
	struct snapshot_section sections[SNAPSHOT_SECTIONS];
};

enum snapshot_page_kind {
	SNAPSHOT_PAGE_NONE,   /* no row was written */
	SNAPSHOT_PAGE_ZERO,
	SNAPSHOT_PAGE_HERE,
	SNAPSHOT_PAGE_PARENT, /* as the parent has it */
};

/* A row of the table, in the file's order of bytes. Rows are in the order of the regions. */
struct snapshot_page {
	uint8_t hash[16]; /* XXH3, 128 bits, canonical, of the page's bytes; zeros for a page of zeros */
	le32_t kind;
	le32_t number;    /* packed and HERE: which stored page; else 0 */
};
_Static_assert(sizeof(struct snapshot_page) == 24, "row as in docs/internals/snapshot.md");

/* So many rows, one after the other, are of this kind. */
struct snapshot_run {
	le32_t kind;
	le32_t pages; /* never 0 */
};
_Static_assert(sizeof(struct snapshot_run) == 8, "row as in docs/internals/snapshot.md");

/* Of a packed file: so many stored pages, one after the other, compressed together by zstd, unless that saved nothing. */
#define SNAPSHOT_CHUNK_PAGES 64
struct snapshot_chunk {
	le64_t offset; /* in the file */
	le32_t stored; /* bytes there; as many as the pages have: they are not compressed */
	le32_t pages;  /* SNAPSHOT_CHUNK_PAGES, or fewer in the last one */
	le64_t checksum; /* XXH64 of the bytes there */
};
_Static_assert(sizeof(struct snapshot_chunk) == 24, "row as in docs/internals/snapshot.md");

/* Sizes beyond which a file is refused. */
#define SNAPSHOT_FACTS_MAX (1 * MIB)
#define SNAPSHOT_STATE_MAX (256 * MIB)
#define SNAPSHOT_PAGES_MAX (UINT64_C(1) << 30)

void snapshot_header_put(const struct snapshot_header *header, uint8_t out[SNAPSHOT_HEADER]);
/* Of a file that has `size` bytes; `name` is for messages. -EBADMSG with what and where; -ENOTSUP: a newer version. Afterwards
 * every section lies in the file, each kind but FILE comes once, sizes fit each other and `pages`. Of a file that grows, which an
 * early header tells of, they lie in what was there when that was written. */
MUST_USE int snapshot_header_get(struct snapshot_header *out, const uint8_t bytes[SNAPSHOT_HEADER], uint64_t size,
				 const char *name, struct error *e);
/* The first section of that kind, or NULL. */
const struct snapshot_section *snapshot_find(const struct snapshot_header *header, enum snapshot_section_kind kind);
bool snapshot_has_parent(const struct snapshot_header *header);

/* XXH3 of a page, or zeros for one of zeros; returns whether it is. Async-signal-safe. */
bool snapshot_hash_page(const uint8_t *page, uint8_t hash[16]);

#endif
