#include "snapshot/open.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/huge.h"

#define CHUNK_BYTES   (SNAPSHOT_CHUNK_PAGES * GUEST_PAGE_SIZE)
#define VERIFY_EVERY  4096 /* pages between two calls of progress */
#define NO_CHUNK      UINT64_MAX
#define KIND_BITS     2
#define KINDS_A_BYTE  4
#define SCAN_ROWS     1024
#define TABLE         "the table of pages"

struct scan {
	struct snapshot_page *rows; /* SCAN_ROWS */
	XXH64_state_t *sum;
	int refused; /* a row, and why; told when the checksum is right, as a wrong one says more */
	struct error why;
};

static int read_at(const struct snapshot *snapshot, void *bytes, size_t length, uint64_t offset, struct error *e)
{
	int r = file_read_at(snapshot->fd, bytes, length, offset);

	if (r == -EBADMSG)
		return error_set(e, ERROR_FAILED, r, "%s: the file ends amid its memory, before byte %" PRIu64, snapshot->name,
				 offset + length);
	return r < 0 ? error_errno(e, r, "%s", snapshot->name) : 0;
}

static int damaged(const struct snapshot *snapshot, const struct snapshot_section *section, const char *what, struct error *e)
{
	return error_set(e, ERROR_FAILED, -EBADMSG,
			 "%s: %s (bytes %" PRIu64 " to %" PRIu64 ") is damaged: its checksum is wrong", snapshot->name, what,
			 section->offset, section->offset + section->length - 1);
}

/* Its bytes, and the checksum compared. */
static int fill_section(const struct snapshot *snapshot, const struct snapshot_section *section, const char *what, uint8_t *bytes,
			struct error *e)
{
	int r = read_at(snapshot, bytes, section->length, section->offset, e);

	if (r == 0 && XXH64(bytes, section->length, 0) != section->checksum)
		r = damaged(snapshot, section, what, e);
	return r;
}

/* A whole section, and a NUL behind; free() it. */
static int read_section(const struct snapshot *snapshot, enum snapshot_section_kind kind, const char *what, void *out,
			struct error *e)
{
	const struct snapshot_section *section = snapshot_find(&snapshot->header, kind);
	uint8_t *bytes = malloc(section->length + 1);
	int r = bytes ? fill_section(snapshot, section, what, bytes, e) : error_errno(e, -ENOMEM, "%s", snapshot->name);

	if (!bytes)
		return r;
	if (r < 0) {
		free(bytes);
		return r;
	}
	bytes[section->length] = 0;
	memcpy(out, &bytes, sizeof bytes);
	return 0;
}

static int read_facts(struct snapshot *snapshot, struct error *e)
{
	json_error_t why;
	char *text;
	int r = read_section(snapshot, SNAPSHOT_FACTS, "what it tells of the machine", &text, e);

	if (r < 0)
		return r;
	snapshot->facts = json_loads(text, JSON_REJECT_DUPLICATES, &why);
	free(text);
	if (json_is_object(snapshot->facts))
		return 0;
	return error_set(e, ERROR_FAILED, -EBADMSG, "%s: what it tells of the machine is no JSON object", snapshot->name);
}

static int refuse_row(const struct snapshot *snapshot, uint64_t row, const char *why, struct error *e)
{
	return error_set(e, ERROR_FAILED, -EBADMSG, "%s: row %" PRIu64 " of the table of pages %s", snapshot->name, row, why);
}

/* What rows may say. */
struct row_rules {
	bool parent, packed;
	uint64_t stored; /* pages of a packed file */
};

static struct row_rules rules_of(const struct snapshot *snapshot)
{
	struct row_rules rules = {.parent = snapshot_has_parent(&snapshot->header),
				  .packed = snapshot->header.flags & SNAPSHOT_PACKED};

	for (uint64_t i = 0; i < snapshot->chunk_count; i++)
		rules.stored += le32_get(snapshot->chunks[i].pages);
	return rules;
}

static int check_row(const struct snapshot *snapshot, const struct row_rules *rules, uint64_t row,
		     const struct snapshot_page *page, struct error *e)
{
	/* Not among the others: it is most rows. */
	if (le32_get(page->kind) == SNAPSHOT_PAGE_ZERO)
		return 0;
	switch (le32_get(page->kind)) {
	case SNAPSHOT_PAGE_HERE:
		if (rules->packed && le32_get(page->number) >= rules->stored)
			return refuse_row(snapshot, row, "names a page that is not stored", e);
		return 0;
	case SNAPSHOT_PAGE_PARENT:
		return rules->parent ? 0 : refuse_row(snapshot, row, "names a parent that there is not", e);
	default:
		return refuse_row(snapshot, row, "has no kind that there is", e);
	}
}

static void keep_kind(struct snapshot *snapshot, uint64_t row, uint32_t kind)
{
	snapshot->kinds[row / KINDS_A_BYTE] |= (uint8_t)(kind << row % KINDS_A_BYTE * KIND_BITS);
}

static void keep_kinds(struct snapshot *snapshot, uint64_t row, uint64_t count, uint32_t kind)
{
	uint64_t end = row + count;

	for (; row < end && row % KINDS_A_BYTE; row++)
		keep_kind(snapshot, row, kind);
	memset(snapshot->kinds + row / KINDS_A_BYTE, (int)(UINT8_MAX / 3 * kind), (end - row) / KINDS_A_BYTE);
	for (row += (end - row) / KINDS_A_BYTE * KINDS_A_BYTE; row < end; row++)
		keep_kind(snapshot, row, kind);
}

/* A part of the table, through a buffer that stays in the processor's cache. */
static int scan_some(struct snapshot *snapshot, const struct row_rules *rules, uint64_t first, struct scan *scan, struct error *e)
{
	uint64_t rest = snapshot->header.pages - first, count = rest < SCAN_ROWS ? rest : SCAN_ROWS;
	uint64_t start = snapshot_find(&snapshot->header, SNAPSHOT_PAGES)->offset;
	int r = read_at(snapshot, scan->rows, count * sizeof scan->rows[0], start + first * sizeof scan->rows[0], e);

	if (r == 0)
		XXH64_update(scan->sum, scan->rows, count * sizeof scan->rows[0]);
	for (uint64_t i = 0; r == 0 && scan->refused == 0 && i < count; i++) {
		scan->refused = check_row(snapshot, rules, first + i, &scan->rows[i], &scan->why);
		if (scan->refused == 0)
			keep_kind(snapshot, first + i, le32_get(scan->rows[i].kind));
	}
	return r;
}

static int scan_all(struct snapshot *snapshot, struct scan *scan, struct error *e)
{
	const struct snapshot_section *section = snapshot_find(&snapshot->header, SNAPSHOT_PAGES);
	const struct row_rules rules = rules_of(snapshot);
	int r = 0;

	XXH64_reset(scan->sum, 0);
	for (uint64_t row = 0; r == 0 && row < snapshot->header.pages; row += SCAN_ROWS)
		r = scan_some(snapshot, &rules, row, scan, e);
	if (r == 0 && XXH64_digest(scan->sum) != section->checksum)
		return damaged(snapshot, section, TABLE, e);
	if (r == 0 && scan->refused < 0 && e)
		*e = scan->why;
	return r < 0 ? r : scan->refused;
}

static int scan_pages(struct snapshot *snapshot, struct error *e)
{
	struct scan scan = {.rows = malloc(SCAN_ROWS * sizeof scan.rows[0]), .sum = XXH64_createState()};
	int r = 0;

	if (!scan.rows || !scan.sum)
		r = error_errno(e, -ENOMEM, "%s", snapshot->name);
	if (r == 0)
		r = scan_all(snapshot, &scan, e);
	XXH64_freeState(scan.sum);
	free(scan.rows);
	return r;
}

/* Why it is none, or NULL. `left`: rows that no run has had yet. */
static const char *refuse_run(const struct snapshot *snapshot, const struct snapshot_run *run, uint64_t left)
{
	uint32_t kind = le32_get(run->kind), pages = le32_get(run->pages);

	if (pages == 0 || pages > left)
		return "has pages that there are not";
	if (kind != SNAPSHOT_PAGE_ZERO && kind != SNAPSHOT_PAGE_HERE && kind != SNAPSHOT_PAGE_PARENT)
		return "has no kind that there is";
	return kind != SNAPSHOT_PAGE_PARENT || snapshot_has_parent(&snapshot->header) ? NULL
										     : "names a parent that there is not";
}

static int take_runs(struct snapshot *snapshot, const struct snapshot_run *runs, uint64_t count, struct error *e)
{
	uint64_t row = 0, pages = snapshot->header.pages;

	for (uint64_t i = 0; i < count; i++) {
		const char *why = refuse_run(snapshot, &runs[i], pages - row);

		if (why)
			return error_set(e, ERROR_FAILED, -EBADMSG, "%s: run %" PRIu64 " of pages %s", snapshot->name, i, why);
		keep_kinds(snapshot, row, le32_get(runs[i].pages), le32_get(runs[i].kind));
		row += le32_get(runs[i].pages);
	}
	return row == pages ? 0 : error_set(e, ERROR_FAILED, -EBADMSG, "%s: the runs of pages end before the pages",
					    snapshot->name);
}

static int read_runs(struct snapshot *snapshot, struct error *e)
{
	struct snapshot_run *runs;
	int r = read_section(snapshot, SNAPSHOT_RUNS, "the list of runs of pages", &runs, e);

	if (r < 0)
		return r;
	r = take_runs(snapshot, runs, snapshot_find(&snapshot->header, SNAPSHOT_RUNS)->length / sizeof *runs, e);
	free(runs);
	return r;
}

static int read_kinds(struct snapshot *snapshot, struct error *e)
{
	snapshot->kinds = calloc(snapshot->header.pages / KINDS_A_BYTE + 1, 1);
	if (!snapshot->kinds)
		return error_errno(e, -ENOMEM, "%s", snapshot->name);
	return snapshot->header.version > 1 ? read_runs(snapshot, e) : scan_pages(snapshot, e);
}

static size_t pages_room(const struct snapshot *snapshot)
{
	uint64_t length = snapshot_find(&snapshot->header, SNAPSHOT_PAGES)->length;

	return (length + HUGE_PAGE) & ~(HUGE_PAGE - 1);
}

/* They may not be what was read before, by whoever wrote the file or since. */
static int check_rows(const struct snapshot *snapshot, const struct snapshot_page *pages, struct error *e)
{
	const struct row_rules rules = rules_of(snapshot);
	int r = 0;

	for (uint64_t row = 0; r == 0 && row < snapshot->header.pages; row++)
		r = le32_get(pages[row].kind) == snapshot_kind(snapshot, row)
			    ? check_row(snapshot, &rules, row, &pages[row], e)
			    : refuse_row(snapshot, row, "is of another kind than the file told when it was opened", e);
	return r;
}

/* In huge pages: the faults of small ones take longer than all else that is done with megabytes of rows. */
int snapshot_keep_rows(struct snapshot *snapshot, struct error *e)
{
	const struct snapshot_section *section = snapshot_find(&snapshot->header, SNAPSHOT_PAGES);
	struct snapshot_page *pages;
	int r;

	if (snapshot->pages)
		return 0;
	if (snapshot->header.flags & SNAPSHOT_BARE)
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "%s has no checksums of its memory: it was written for clones that were to start at once",
				 snapshot->name);
	pages = huge_map(pages_room(snapshot));
	if (!pages)
		return error_errno(e, -ENOMEM, "%s", snapshot->name);
	(void)madvise(pages, pages_room(snapshot), MADV_HUGEPAGE);
	r = fill_section(snapshot, section, TABLE, (uint8_t *)pages, e);
	if (r == 0)
		r = check_rows(snapshot, pages, e);
	if (r < 0)
		munmap(pages, pages_room(snapshot));
	else
		snapshot->pages = pages;
	return r;
}

static int check_chunks(const struct snapshot *snapshot, struct error *e)
{
	for (uint64_t i = 0; i < snapshot->chunk_count; i++) {
		const struct snapshot_chunk *chunk = &snapshot->chunks[i];
		uint32_t pages = le32_get(chunk->pages), stored = le32_get(chunk->stored);
		bool last = i + 1 == snapshot->chunk_count;

		if (pages == 0 || pages > SNAPSHOT_CHUNK_PAGES || (pages < SNAPSHOT_CHUNK_PAGES && !last) || stored == 0 ||
		    stored > pages * GUEST_PAGE_SIZE ||
		    !checked_span(le64_get(chunk->offset), stored, snapshot->header.length))
			return error_set(e, ERROR_FAILED, -EBADMSG, "%s: chunk %" PRIu64 " of its memory is none",
					 snapshot->name, i);
	}
	return 0;
}

static int read_chunks(struct snapshot *snapshot, struct error *e)
{
	int r;

	if (!(snapshot->header.flags & SNAPSHOT_PACKED))
		return 0;
	r = read_section(snapshot, SNAPSHOT_CHUNKS, "the table of chunks", &snapshot->chunks, e);
	if (r < 0)
		return r;
	snapshot->chunk_count = snapshot_find(&snapshot->header, SNAPSHOT_CHUNKS)->length / sizeof *snapshot->chunks;
	snapshot->unpacked = malloc(SNAPSHOT_CHUNKS_KEPT * CHUNK_BYTES);
	for (unsigned i = 0; i < SNAPSHOT_CHUNKS_KEPT; i++)
		snapshot->unpacked_chunks[i] = NO_CHUNK;
	if (!snapshot->unpacked)
		return error_errno(e, -ENOMEM, "%s", snapshot->name);
	return check_chunks(snapshot, e);
}

/* Header and facts. */
static int read_begin(struct snapshot *snapshot, uint64_t at, bool early, struct error *e)
{
	uint8_t bytes[SNAPSHOT_HEADER];
	struct stat stat;
	int r;

	if (fstat(snapshot->fd, &stat) < 0)
		return error_errno(e, -errno, "%s", snapshot->name);
	if (!S_ISREG(stat.st_mode) || stat.st_size < SNAPSHOT_HEADER)
		return error_set(e, ERROR_FAILED, -EBADMSG, "%s: this is no snapshot: it is too short, or no file",
				 snapshot->name);
	r = read_at(snapshot, bytes, sizeof bytes, at, e);
	if (r == 0)
		r = snapshot_header_get(&snapshot->header, bytes, (uint64_t)stat.st_size, snapshot->name, e);
	if (r == 0 && early != !!(snapshot->header.flags & SNAPSHOT_EARLY))
		r = error_set(e, ERROR_FAILED, -EBADMSG, "%s: the header is another kind of header", snapshot->name);
	return r < 0 ? r : read_facts(snapshot, e);
}

static int read_beginning(struct snapshot *snapshot, struct error *e)
{
	return read_begin(snapshot, 0, false, e);
}

static int read_state(struct snapshot *snapshot, struct error *e)
{
	int r = read_section(snapshot, SNAPSHOT_STATE, "the state of processors and devices", &snapshot->state, e);

	if (r == 0)
		snapshot->state_length = snapshot_find(&snapshot->header, SNAPSHOT_STATE)->length;
	return r;
}

static int read_early(struct snapshot *snapshot, struct error *e)
{
	int r = read_begin(snapshot, SNAPSHOT_EARLY_AT, true, e);

	return r < 0 ? r : read_state(snapshot, e);
}

static int read_all(struct snapshot *snapshot, struct error *e)
{
	int r = read_beginning(snapshot, e);

	if (r == 0)
		r = read_state(snapshot, e);
	if (r == 0)
		r = read_chunks(snapshot, e);
	return r < 0 ? r : read_kinds(snapshot, e);
}

static int open_with(struct snapshot **out, int fd, const char *name, int (*read)(struct snapshot *, struct error *),
		     struct error *e)
{
	struct snapshot *snapshot = calloc(1, sizeof *snapshot);
	int r;

	if (!snapshot) {
		close(fd);
		return error_errno(e, -ENOMEM, "%s", name);
	}
	snapshot->fd = fd;
	snapshot->name = strdup(name);
	r = snapshot->name ? read(snapshot, e) : error_errno(e, -ENOMEM, "%s", name);
	if (r < 0)
		snapshot_close(snapshot);
	else
		*out = snapshot;
	return r;
}

int snapshot_open(struct snapshot **out, int fd, const char *name, struct error *e)
{
	return open_with(out, fd, name, read_all, e);
}

int snapshot_open_early(struct snapshot **out, int fd, const char *name, struct error *e)
{
	return open_with(out, fd, name, read_early, e);
}

int snapshot_open_facts(struct snapshot **out, int fd, const char *name, struct error *e)
{
	return open_with(out, fd, name, read_beginning, e);
}

void snapshot_close(struct snapshot *snapshot)
{
	if (!snapshot)
		return;
	close(snapshot->fd);
	json_decref(snapshot->facts);
	free(snapshot->state);
	if (snapshot->pages)
		munmap(snapshot->pages, pages_room(snapshot));
	free(snapshot->kinds);
	free(snapshot->chunks);
	free(snapshot->unpacked);
	free(snapshot->name);
	free(snapshot);
}

enum snapshot_page_kind snapshot_kind(const struct snapshot *snapshot, uint64_t row)
{
	return (enum snapshot_page_kind)(snapshot->kinds[row / KINDS_A_BYTE] >> row % KINDS_A_BYTE * KIND_BITS & 3);
}

/* Most rows of most files are of zeros: 32 at once. */
uint64_t snapshot_skip(const struct snapshot *snapshot, uint64_t row, uint64_t end, enum snapshot_page_kind kind)
{
	const uint64_t all = UINT64_MAX / 3 * kind;
	uint64_t some;

	while (row < end && snapshot_kind(snapshot, row) == kind) {
		row++;
		while (row % KINDS_A_BYTE == 0 && end - row >= KINDS_A_BYTE * sizeof some) {
			memcpy(&some, snapshot->kinds + row / KINDS_A_BYTE, sizeof some);
			if (some != all)
				break;
			row += KINDS_A_BYTE * sizeof some;
		}
	}
	return row < end ? row : end;
}

uint64_t snapshot_address(const struct snapshot *snapshot, uint64_t row)
{
	uint64_t offset = row * GUEST_PAGE_SIZE;

	for (unsigned i = 0; i < snapshot->header.region_count; i++) {
		const struct snapshot_region *region = &snapshot->header.regions[i];

		if (offset < region->size)
			return region->base + offset;
		offset -= region->size;
	}
	return UINT64_MAX;
}

static int check_page(const struct snapshot *snapshot, uint64_t row, const uint8_t *page, struct error *e)
{
	uint8_t hash[16];

	snapshot_hash_page(page, hash);
	if (memcmp(hash, snapshot->pages[row].hash, sizeof hash) == 0)
		return 0;
	return error_set(e, ERROR_FAILED, -EBADMSG, "%s: the guest's memory at 0x%" PRIx64 " is damaged in the file",
			 snapshot->name, snapshot_address(snapshot, row));
}

int snapshot_read_pages(struct snapshot *snapshot, uint64_t row, uint64_t count, uint8_t *to, struct error *e)
{
	uint64_t start = snapshot_find(&snapshot->header, SNAPSHOT_MEMORY)->offset;
	bool bare = snapshot->header.flags & SNAPSHOT_BARE;
	int r = bare ? 0 : snapshot_keep_rows(snapshot, e);

	if (r == 0)
		r = read_at(snapshot, to, count * GUEST_PAGE_SIZE, start + row * GUEST_PAGE_SIZE, e);
	for (uint64_t i = 0; r == 0 && !bare && i < count; i++)
		r = check_page(snapshot, row + i, to + i * GUEST_PAGE_SIZE, e);
	return r;
}

static uint8_t *place_of(const struct snapshot *snapshot, uint64_t chunk)
{
	return snapshot->unpacked + chunk % SNAPSHOT_CHUNKS_KEPT * CHUNK_BYTES;
}

static int unpack(struct snapshot *snapshot, uint64_t index, uint8_t *stored, struct error *e)
{
	const struct snapshot_chunk *chunk = &snapshot->chunks[index];
	size_t length = le32_get(chunk->stored), whole = le32_get(chunk->pages) * GUEST_PAGE_SIZE;
	uint64_t *kept = &snapshot->unpacked_chunks[index % SNAPSHOT_CHUNKS_KEPT];
	int r = read_at(snapshot, stored, length, le64_get(chunk->offset), e);

	if (r < 0)
		return r;
	*kept = NO_CHUNK;
	if (XXH64(stored, length, 0) == le64_get(chunk->checksum)) {
		uint8_t *to = place_of(snapshot, index);

		if (length == whole)
			memcpy(to, stored, whole);
		if (length == whole || ZSTD_decompress(to, CHUNK_BYTES, stored, length) == whole) {
			*kept = index;
			return 0;
		}
	}
	return error_set(e, ERROR_FAILED, -EBADMSG, "%s: the memory at bytes %" PRIu64 " to %" PRIu64 " is damaged",
			 snapshot->name, le64_get(chunk->offset), le64_get(chunk->offset) + length - 1);
}

static int unpack_chunk(struct snapshot *snapshot, uint64_t index, struct error *e)
{
	uint8_t *stored;
	int r;

	if (snapshot->unpacked_chunks[index % SNAPSHOT_CHUNKS_KEPT] == index)
		return 0;
	stored = malloc(CHUNK_BYTES);
	if (!stored)
		return error_errno(e, -ENOMEM, "%s", snapshot->name);
	r = unpack(snapshot, index, stored, e);
	free(stored);
	return r;
}

int snapshot_read_page(struct snapshot *snapshot, uint64_t row, uint8_t *to, struct error *e)
{
	uint32_t number;
	int r;

	if (snapshot_kind(snapshot, row) == SNAPSHOT_PAGE_ZERO) {
		memset(to, 0, GUEST_PAGE_SIZE);
		return 0;
	}
	if (!(snapshot->header.flags & SNAPSHOT_PACKED))
		return snapshot_read_pages(snapshot, row, 1, to, e);
	r = snapshot_keep_rows(snapshot, e);
	if (r < 0)
		return r;
	number = le32_get(snapshot->pages[row].number);
	r = unpack_chunk(snapshot, number / SNAPSHOT_CHUNK_PAGES, e);
	if (r < 0)
		return r;
	memcpy(to, place_of(snapshot, number / SNAPSHOT_CHUNK_PAGES) + number % SNAPSHOT_CHUNK_PAGES * GUEST_PAGE_SIZE,
	       GUEST_PAGE_SIZE);
	return check_page(snapshot, row, to, e);
}

int snapshot_verify(struct snapshot *snapshot, snapshot_progress_fn *progress, void *context, struct error *e)
{
	uint64_t total = snapshot->header.pages * GUEST_PAGE_SIZE;
	uint8_t page[GUEST_PAGE_SIZE];
	int r = snapshot_keep_rows(snapshot, e);

	for (uint64_t row = 0; r == 0 && row < snapshot->header.pages; row++) {
		if (snapshot_kind(snapshot, row) == SNAPSHOT_PAGE_HERE)
			r = snapshot_read_page(snapshot, row, page, e);
		if (progress && row % VERIFY_EVERY == 0)
			progress(context, row * GUEST_PAGE_SIZE, total);
	}
	return r;
}

void snapshot_id_text(const uint8_t id[SNAPSHOT_ID_BYTES], char out[SNAPSHOT_ID_TEXT])
{
	hex_write(out, id, SNAPSHOT_ID_BYTES);
}
