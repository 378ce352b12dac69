#include "snapshot/pack.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/file.h"
#include "snapshot/runs.h"

#define CHUNK_BYTES    (SNAPSHOT_CHUNK_PAGES * GUEST_PAGE_SIZE)
#define PROGRESS_EVERY 4096
#define NONE           UINT32_MAX

struct packing {
	const struct snapshot_chain *chain;
	const struct snapshot_packing *wish;
	int fd;
	struct snapshot_header header;
	struct snapshot_page *rows;
	char *facts;
	uint64_t cursor; /* where the next bytes go */
	ZSTD_CCtx *zstd;
	/* Pages that are stored. */
	uint32_t *row_of; /* by number: a row that has it */
	uint32_t stored;
	uint32_t *slots;  /* a hash table of numbers; NONE: free */
	uint64_t slot_mask;
	/* The chunk that is being filled. */
	uint8_t *pages, *compressed;
	size_t compressed_room;
	struct snapshot_chunk *chunks;
	struct snapshot_packed counts;
	/* Of all that is to be read. */
	snapshot_progress_fn *progress;
	void *context;
	uint64_t done, total;
};

static int write_failed(int r, struct error *e)
{
	return r < 0 ? error_errno(e, r, "writing the snapshot") : 0;
}

static int append(struct packing *p, const void *bytes, size_t length, struct error *e)
{
	int r = file_write_at(p->fd, bytes, length, p->cursor);

	p->cursor += length;
	return write_failed(r, e);
}

static struct snapshot_section *begin_section(struct packing *p, enum snapshot_section_kind kind)
{
	struct snapshot_section *section = &p->header.sections[p->header.section_count++];

	*section = (struct snapshot_section){.kind = kind, .offset = p->cursor};
	return section;
}

static int put_section(struct packing *p, enum snapshot_section_kind kind, const void *bytes, size_t length,
		       struct error *e)
{
	struct snapshot_section *section = begin_section(p, kind);

	section->length = length;
	section->checksum = XXH64(bytes, length, 0);
	return append(p, bytes, length, e);
}

static void tell(const struct packing *p)
{
	if (p->progress)
		p->progress(p->context, p->done, p->total);
}

/* ---- Memory ---- */

static uint32_t chunk_count(const struct packing *p)
{
	return (p->stored + SNAPSHOT_CHUNK_PAGES - 1) / SNAPSHOT_CHUNK_PAGES;
}

/* The last pages that were stored, which `pages` has. */
static int put_chunk(struct packing *p, struct error *e)
{
	uint32_t index = chunk_count(p) - 1, pages = p->stored - index * SNAPSHOT_CHUNK_PAGES;
	size_t whole = pages * GUEST_PAGE_SIZE;
	size_t length = ZSTD_compressCCtx(p->zstd, p->compressed, p->compressed_room, p->pages, whole, p->wish->level);
	const uint8_t *bytes = p->compressed;

	if (ZSTD_isError(length) || length >= whole) {
		bytes = p->pages;
		length = whole;
	}
	p->chunks[index] = (struct snapshot_chunk){.offset = le64_put(p->cursor),
						   .stored = le32_put((uint32_t)length),
						   .pages = le32_put(pages),
						   .checksum = le64_put(XXH64(bytes, length, 0))};
	return append(p, bytes, length, e);
}

static int store(struct packing *p, uint32_t row, const uint8_t *page, struct error *e)
{
	uint32_t in_chunk = p->stored % SNAPSHOT_CHUNK_PAGES;

	memcpy(p->pages + in_chunk * GUEST_PAGE_SIZE, page, GUEST_PAGE_SIZE);
	p->rows[row].number = le32_put(p->stored);
	p->row_of[p->stored++] = row;
	return in_chunk + 1 == SNAPSHOT_CHUNK_PAGES ? put_chunk(p, e) : 0;
}

/* Whether the page is what an earlier row has, whose hash is alike. */
static int is_same(const struct packing *p, uint32_t row, const uint8_t *page, bool *same, struct error *e)
{
	uint8_t other[GUEST_PAGE_SIZE];
	int r = snapshot_read_page(snapshot_chain_owner(p->chain, row), row, other, e);

	*same = r == 0 && memcmp(page, other, sizeof other) == 0;
	return r;
}

/* A page of the same bytes that is stored already, or NONE with the slot for this one. */
static int find(struct packing *p, uint32_t row, const uint8_t *page, uint32_t *number, uint64_t *slot, struct error *e)
{
	uint64_t at;

	memcpy(&at, p->rows[row].hash, sizeof at);
	for (at &= p->slot_mask; p->slots[at] != NONE; at = (at + 1) & p->slot_mask) {
		uint32_t other = p->row_of[p->slots[at]];
		bool same;
		int r;

		if (memcmp(p->rows[other].hash, p->rows[row].hash, sizeof p->rows[row].hash) != 0)
			continue;
		r = is_same(p, other, page, &same, e);
		if (r < 0)
			return r;
		if (same)
			break;
	}
	*number = p->slots[at];
	*slot = at;
	return 0;
}

static int put_page(struct packing *p, uint32_t row, struct error *e)
{
	struct snapshot *owner = snapshot_chain_owner(p->chain, row);
	uint8_t page[GUEST_PAGE_SIZE];
	uint32_t number = NONE;
	uint64_t slot = 0;
	int r;

	p->rows[row] = owner->pages[row];
	p->rows[row].number = le32_put(0);
	if (snapshot_kind(owner, row) == SNAPSHOT_PAGE_ZERO) {
		p->counts.zeros++;
		return 0;
	}
	r = snapshot_read_page(owner, row, page, e);
	if (r == 0)
		r = find(p, row, page, &number, &slot, e);
	if (r < 0)
		return r;
	if (number != NONE) {
		p->rows[row].number = le32_put(number);
		p->counts.duplicates++;
		return 0;
	}
	p->slots[slot] = p->stored;
	p->counts.stored++;
	return store(p, row, page, e);
}

static int put_memory(struct packing *p, struct error *e)
{
	struct snapshot_section *memory = begin_section(p, SNAPSHOT_MEMORY);
	int r = 0;

	for (uint32_t row = 0; r == 0 && row < p->header.pages; row++) {
		r = put_page(p, row, e);
		p->done += GUEST_PAGE_SIZE;
		if (row % PROGRESS_EVERY == 0)
			tell(p);
	}
	if (r == 0 && p->stored % SNAPSHOT_CHUNK_PAGES)
		r = put_chunk(p, e);
	memory->length = p->cursor - memory->offset;
	return r < 0 ? r : put_section(p, SNAPSHOT_CHUNKS, p->chunks, chunk_count(p) * sizeof *p->chunks, e);
}

/* ---- Files ---- */

struct stream {
	struct packing *p;
	struct snapshot_section *section;
	XXH64_state_t *sum;
	uint8_t *in, *out;
};

/* What was read goes into the frame; with `last` that ends. */
static int put_piece(struct stream *s, size_t length, bool last, struct error *e)
{
	ZSTD_inBuffer in = {.src = s->in, .size = length};
	size_t left;

	do {
		ZSTD_outBuffer out = {.dst = s->out, .size = CHUNK_BYTES};
		int r;

		left = ZSTD_compressStream2(s->p->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return error_set(e, ERROR_FAILED, -EIO, "zstd: %s", ZSTD_getErrorName(left));
		XXH64_update(s->sum, s->out, out.pos);
		s->section->length += out.pos;
		r = append(s->p, s->out, out.pos, e);
		if (r < 0)
			return r;
	} while (last ? left > 0 : in.pos < in.size);
	return 0;
}

static int put_stream(struct stream *s, const struct snapshot_file *file, struct error *e)
{
	uint64_t at = 0;
	int r = 0;

	XXH64_reset(s->sum, 0);
	ZSTD_CCtx_reset(s->p->zstd, ZSTD_reset_session_only);
	do {
		size_t length = file->size - at < CHUNK_BYTES ? (size_t)(file->size - at) : CHUNK_BYTES;

		r = file_read_at(file->fd, s->in, length, at);
		if (r < 0)
			return error_errno(e, r, "%s", file->name);
		at += length;
		r = put_piece(s, length, at == file->size, e);
		s->p->done += length;
		tell(s->p);
	} while (r == 0 && at < file->size);
	s->section->checksum = XXH64_digest(s->sum);
	return r;
}

static int put_files(struct packing *p, struct error *e)
{
	struct stream s = {.p = p, .sum = XXH64_createState(), .in = malloc(CHUNK_BYTES), .out = malloc(CHUNK_BYTES)};
	int r = s.sum && s.in && s.out ? 0 : error_errno(e, -ENOMEM, "packing a snapshot");

	for (unsigned i = 0; r == 0 && i < p->wish->file_count; i++) {
		s.section = begin_section(p, SNAPSHOT_FILE);
		r = put_stream(&s, &p->wish->files[i], e);
	}
	XXH64_freeState(s.sum);
	free(s.in);
	free(s.out);
	return r;
}

/* ---- All of it ---- */

static char *make_facts(const struct packing *p)
{
	json_t *facts = json_deep_copy(p->chain->files[0]->facts), *files = json_array();
	char *text;

	json_object_del(facts, "parent");
	for (unsigned i = 0; i < p->wish->file_count; i++)
		json_array_append_new(files, json_pack("{s:s, s:I}", "name", p->wish->files[i].name, "size",
						       (json_int_t)p->wish->files[i].size));
	json_object_set_new(facts, "files", files);
	if (p->wish->layer)
		json_object_set_new(facts, "disks", json_pack("[{s:i, s:s}]", "disk", 0, "layer", p->wish->layer));
	text = json_dumps(facts, JSON_COMPACT);
	json_decref(facts);
	return text;
}

static int prepare(struct packing *p, struct error *e)
{
	const struct snapshot *newest = p->chain->files[0];
	uint64_t pages = newest->header.pages, slots = 64;

	while (slots < 2 * pages)
		slots *= 2;
	p->header = newest->header;
	p->header.flags = SNAPSHOT_PACKED;
	p->header.section_count = 0;
	memset(p->header.parent, 0, sizeof p->header.parent);
	p->slot_mask = slots - 1;
	p->compressed_room = ZSTD_compressBound(CHUNK_BYTES);
	p->rows = calloc(pages + 1, sizeof *p->rows);
	p->row_of = calloc(pages + 1, sizeof *p->row_of);
	p->slots = malloc(slots * sizeof *p->slots);
	p->chunks = calloc(pages / SNAPSHOT_CHUNK_PAGES + 1, sizeof *p->chunks);
	p->pages = malloc(CHUNK_BYTES);
	p->compressed = malloc(p->compressed_room);
	p->zstd = ZSTD_createCCtx();
	p->facts = make_facts(p);
	if (!p->rows || !p->row_of || !p->slots || !p->chunks || !p->pages || !p->compressed || !p->zstd || !p->facts)
		return error_errno(e, -ENOMEM, "packing a snapshot");
	memset(p->slots, 0xff, slots * sizeof *p->slots);
	ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, p->wish->level);
	p->total = pages * GUEST_PAGE_SIZE;
	for (unsigned i = 0; i < p->wish->file_count; i++)
		p->total += p->wish->files[i].size;
	return 0;
}

static int put_runs(struct packing *p, struct error *e)
{
	struct snapshot_section *section = begin_section(p, SNAPSHOT_RUNS);
	int r = runs_put(p->fd, p->cursor, p->rows, p->header.pages, section);

	p->cursor += section->length;
	return write_failed(r, e);
}

static int put_all(struct packing *p, struct error *e)
{
	const struct snapshot *newest = p->chain->files[0];
	uint64_t table = p->header.pages * sizeof *p->rows;
	struct snapshot_section *rows = begin_section(p, SNAPSHOT_PAGES);
	uint8_t bytes[SNAPSHOT_HEADER];
	int r;

	*rows = (struct snapshot_section){.kind = SNAPSHOT_PAGES, .offset = SNAPSHOT_HEADER, .length = table};
	p->cursor = SNAPSHOT_HEADER + table;
	r = put_memory(p, e);
	if (r == 0)
		r = put_section(p, SNAPSHOT_STATE, newest->state, newest->state_length, e);
	if (r == 0)
		r = put_section(p, SNAPSHOT_FACTS, p->facts, strlen(p->facts), e);
	if (r == 0)
		r = put_runs(p, e);
	if (r == 0)
		r = put_files(p, e);
	if (r == 0)
		r = write_failed(file_write_at(p->fd, p->rows, table, SNAPSHOT_HEADER), e);
	if (r < 0)
		return r;
	rows->checksum = XXH64(p->rows, table, 0);
	p->header.length = p->counts.bytes = p->cursor;
	snapshot_header_put(&p->header, bytes);
	/* The file is a snapshot from here on. */
	return write_failed(file_write_at(p->fd, bytes, sizeof bytes, 0), e);
}

int snapshot_pack(const struct snapshot_chain *chain, const struct snapshot_packing *packing, int fd,
		  struct snapshot_packed *packed, snapshot_progress_fn *progress, void *context, struct error *e)
{
	struct packing p = {.chain = chain, .wish = packing, .fd = fd, .progress = progress, .context = context};
	int r = snapshot_chain_keep_rows(chain, e);

	if (r == 0)
		r = prepare(&p, e);
	if (r == 0)
		r = put_all(&p, e);
	if (r == 0 && packed)
		*packed = p.counts;
	ZSTD_freeCCtx(p.zstd);
	free(p.compressed);
	free(p.pages);
	free(p.chunks);
	free(p.slots);
	free(p.row_of);
	free(p.rows);
	free(p.facts);
	return r;
}
