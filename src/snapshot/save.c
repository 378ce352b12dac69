#include "snapshot/save.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/zeros.h"
#include "snapshot/marks.h"
#include "snapshot/runs.h"

#define ROWS 256 /* pages that are looked at together */
/* Fewer pages of zeros than this between others are written with them where nothing is to be kept: each gap costs a call more,
 * and the file system small pieces. */
#define BARE_GAP 9
/* Fewer of them where somebody may wait for pages. */
#define EARLY_ROWS 64
_Static_assert(ROWS % EARLY_ROWS == 0 && EARLY_ROWS % 64 == 0 && EARLY_ROWS % MARKS_GROUP == 0, "whole words, whole groups");
#define WANTS_AT_ONCE 64

/* What the child tells when it is done. */
struct report {
	int32_t code; /* 0 or a negative errno */
	struct snapshot_counts counts;
};

/* Everything the child needs, on its stack. */
struct child {
	int fd, socket; /* the file; the monitor's other end */
	const struct memory *memory;
	struct snapshot_header header;
	struct snapshot_section *table; /* of the header */
	uint64_t memory_offset;
	uint64_t *touched[MEMORY_REGIONS_MAX]; /* bits of pages that may be other than zeros (memory_touched) */
	bool has_parent, bare;
	struct snapshot_counts counts;
	XXH64_state_t *sum, *runs_sum; /* of the table; of the runs */
	struct runs_writer runs;
	/* For those who use the file before it is whole: */
	int wants;           /* -1: nobody */
	struct marks *marks; /* in the file; NULL likewise */
	uint64_t marks_offset, marks_length;
};

int snapshot_prepare(int fd, const struct snapshot_page *rows, uint64_t count, struct error *e)
{
	int r = file_write_at(fd, rows, count * sizeof *rows, SNAPSHOT_HEADER);

	return r < 0 ? error_errno(e, r, "writing the snapshot") : 0;
}

/* ---- In the child ---- */

/* Only what kind it is: nobody compares it with anything. */
static void fill_kind(struct child *child, const uint8_t *page, bool touched, struct snapshot_page *row)
{
	bool zero = !touched || zeros_only(page, GUEST_PAGE_SIZE);

	row->kind = le32_put(zero ? SNAPSHOT_PAGE_ZERO : SNAPSHOT_PAGE_HERE);
	child->counts.zero += zero;
	child->counts.stored += !zero;
}

/* Short gaps between pages that are stored are stored too, unless the kernel has nothing for them. */
static void join(struct child *child, struct snapshot_page *rows, const uint64_t *touched, unsigned count)
{
	unsigned gap = BARE_GAP;

	for (unsigned i = 0; i < count; i++) {
		if (le32_get(rows[i].kind) == SNAPSHOT_PAGE_ZERO) {
			gap = touched[i / 64] >> i % 64 & 1 ? gap + 1 : BARE_GAP;
			continue;
		}
		for (; gap > 0 && gap < BARE_GAP; gap--) {
			rows[i - gap].kind = le32_put(SNAPSHOT_PAGE_HERE);
			child->counts.zero--;
			child->counts.stored++;
		}
		gap = 0;
	}
}

/* `touched`: it may be other than zeros. */
static void fill_row(struct child *child, const uint8_t *page, bool touched, struct snapshot_page *row)
{
	struct snapshot_page new = {.kind = le32_put(SNAPSHOT_PAGE_HERE)};
	uint32_t before = child->has_parent ? le32_get(row->kind) : SNAPSHOT_PAGE_NONE;

	if (!touched || snapshot_hash_page(page, new.hash)) {
		new.kind = le32_put(SNAPSHOT_PAGE_ZERO);
		child->counts.zero++;
	} else if (before != SNAPSHOT_PAGE_NONE && before != SNAPSHOT_PAGE_ZERO &&
		   memcmp(row->hash, new.hash, sizeof new.hash) == 0) {
		new.kind = le32_put(SNAPSHOT_PAGE_PARENT);
		child->counts.unchanged++;
	} else {
		child->counts.stored++;
	}
	*row = new;
}

/* Row `i` of those from a place on is to be stored, and was not when somebody wanted it. */
static bool is_due(const struct child *child, const struct snapshot_page *rows, const struct marks_place *place, unsigned i)
{
	if (le32_get(rows[i].kind) != SNAPSHOT_PAGE_HERE)
		return false;
	return !child->marks ||
	       marks_get(child->marks, marks_group(child->memory, place->region, place->page + i)) == MARKS_NONE;
}

/* Pages that are to be stored, in runs. */
static int write_pages(const struct child *child, const struct snapshot_page *rows, const struct marks_place *place)
{
	const uint8_t *bytes = child->memory->regions[place->region].host + place->page * GUEST_PAGE_SIZE;
	uint64_t offset = child->memory_offset + place->row * GUEST_PAGE_SIZE;
	unsigned count = (unsigned)place->pages;
	int r = 0;

	for (unsigned i = 0, run; r == 0 && i < count; i += run ? run : 1) {
		for (run = 0; i + run < count && is_due(child, rows, place, i + run); run++)
			;
		if (run)
			r = file_write_at(child->fd, bytes + i * GUEST_PAGE_SIZE, run * GUEST_PAGE_SIZE,
				     offset + i * GUEST_PAGE_SIZE);
	}
	return r;
}

/* ---- For those who use the file before it is whole ---- */

static bool is_touched(const struct child *child, const struct marks_place *place)
{
	uint64_t mask = (UINT64_C(1) << MARKS_GROUP) - 1;

	return child->touched[place->region][place->page / 64] >> place->page % 64 & mask;
}

/* They need not ask for what nobody ever touched. */
static void mark_untouched(struct child *child)
{
	struct marks_place place;

	for (uint64_t group = 0; marks_find(child->memory, group, &place); group++)
		if (!is_touched(child, &place))
			marks_set(child->marks, group, MARKS_ZERO);
}

/* Those of rows that are in the file. */
static void mark_rows(struct child *child, const struct snapshot_page *rows, uint64_t group, unsigned count)
{
	for (unsigned i = 0; i < count; group++) {
		unsigned end = count - i < MARKS_GROUP ? count : i + MARKS_GROUP;
		enum marks_kind kind = MARKS_ZERO;

		for (; i < end; i++)
			if (le32_get(rows[i].kind) == SNAPSHOT_PAGE_HERE)
				kind = MARKS_HERE;
		marks_set(child->marks, group, kind);
	}
}

static int write_wanted(struct child *child, uint64_t group)
{
	struct marks_place place;
	const uint8_t *bytes;
	uint64_t length;
	int r = 0;

	if (!marks_find(child->memory, group, &place) || marks_get(child->marks, group) != MARKS_NONE)
		return 0;
	bytes = child->memory->regions[place.region].host + place.page * GUEST_PAGE_SIZE;
	length = place.pages * GUEST_PAGE_SIZE;
	if (zeros_only(bytes, length)) {
		marks_set(child->marks, group, MARKS_ZERO);
		return 0;
	}
	r = file_write_at(child->fd, bytes, length, child->memory_offset + place.row * GUEST_PAGE_SIZE);
	if (r == 0)
		marks_set(child->marks, group, MARKS_HERE);
	return r;
}

static int serve(struct child *child)
{
	uint32_t wanted[WANTS_AT_ONCE];
	ssize_t n = read(child->wants, wanted, sizeof wanted);
	int r = 0;

	for (ssize_t i = 0; r == 0 && i < n / (ssize_t)sizeof *wanted; i++)
		r = write_wanted(child, wanted[i]);
	if (n > 0)
		marks_wake(child->marks);
	return r;
}

/* ---- All of it ---- */

/* `place`: pages from a whole word of bits on. */
static int write_rows(struct child *child, const struct marks_place *place)
{
	const uint8_t *bytes = child->memory->regions[place->region].host + place->page * GUEST_PAGE_SIZE;
	const uint64_t *touched = child->touched[place->region] + place->page / 64;
	uint64_t at = SNAPSHOT_HEADER + place->row * sizeof(struct snapshot_page);
	unsigned count = (unsigned)place->pages;
	struct snapshot_page rows[ROWS];
	int r = child->has_parent ? file_read_at(child->fd, rows, count * sizeof *rows, at) : 0;

	if (r < 0)
		return r;
	for (unsigned i = 0; i < count; i++)
		(child->bare ? fill_kind : fill_row)(child, bytes + i * GUEST_PAGE_SIZE, touched[i / 64] >> i % 64 & 1, &rows[i]);
	if (child->bare)
		join(child, rows, touched, count);
	for (unsigned i = 0; r == 0 && i < count; i++)
		r = runs_add(&child->runs, (enum snapshot_page_kind)le32_get(rows[i].kind));
	if (r == 0)
		r = write_pages(child, rows, place);
	if (r == 0 && child->marks)
		mark_rows(child, rows, marks_group(child->memory, place->region, place->page), count);
	if (r < 0 || child->bare)
		return r;
	XXH64_update(child->sum, rows, count * sizeof *rows);
	return file_write_at(child->fd, rows, count * sizeof *rows, at);
}

/* Or the monitor died. */
static bool is_given_up(const struct child *child)
{
	return poll(&(struct pollfd){.fd = child->socket, .events = POLLIN}, 1, 0) > 0;
}

/* Nobody ever touched it: looking around in between would take longer. */
static bool is_nothing(const struct child *child, const struct marks_place *place)
{
	for (uint64_t page = place->page; page < place->page + place->pages; page += 64)
		if (child->touched[place->region][page / 64])
			return false;
	return true;
}

static int write_some(struct child *child, const struct marks_place *place)
{
	int r = 0;

	if (is_nothing(child, place))
		return write_rows(child, place);
	if (is_given_up(child))
		return -ECANCELED;
	if (child->marks)
		r = serve(child);
	return r < 0 ? r : write_rows(child, place);
}

static int write_memory(struct child *child)
{
	struct marks_place place = {.row = 0};
	int r = 0;

	XXH64_reset(child->sum, 0);
	runs_begin(&child->runs, child->fd, child->header.length, child->runs_sum);
	if (child->marks)
		mark_untouched(child);
	for (; place.region < child->memory->count; place.region++) {
		uint64_t pages = child->memory->regions[place.region].size / GUEST_PAGE_SIZE;
		uint64_t most = child->marks ? EARLY_ROWS : ROWS;

		for (place.page = 0; r == 0 && place.page < pages; place.page += place.pages) {
			place.pages = pages - place.page < most ? pages - place.page : most;
			r = write_some(child, &place);
			place.row += place.pages;
		}
	}
	return r;
}

static int write_header(struct child *child)
{
	struct snapshot_header *header = &child->header;
	struct snapshot_section *runs = &header->sections[header->section_count++];
	uint8_t bytes[SNAPSHOT_HEADER];
	int r = runs_end(&child->runs, runs);

	header->length += runs->length;
	if (!child->bare)
		child->table->checksum = XXH64_digest(child->sum);
	snapshot_header_put(header, bytes);
	return r < 0 ? r : file_write_at(child->fd, bytes, sizeof bytes, 0);
}

/* Whoever holds a lock by a descriptor would hold it as long as this lives. */
static void close_between(int low, int high)
{
	if (high > low + 1)
		(void)close_range((unsigned)(low + 1), (unsigned)(high - 1), 0);
}

static void exchange(int *a, int *b)
{
	int low = *a < *b ? *a : *b, high = *a < *b ? *b : *a;

	*a = low;
	*b = high;
}

/* Nothing but the file, the socket and the pipe. */
static void close_others(int a, int b, int c)
{
	exchange(&a, &b);
	exchange(&b, &c);
	exchange(&a, &b);
	close_between(-1, a);
	close_between(a, b);
	close_between(b, c);
	(void)close_range((unsigned)c + 1, ~0u, 0);
}

__attribute__((noreturn)) static void run_child(struct child *child)
{
	struct report report;
	ssize_t ignored;

	close_others(child->fd, child->socket, child->wants);
	report.code = write_memory(child);
	if (report.code == 0)
		report.code = write_header(child);
	if (report.code == 0 && child->marks)
		atomic_store(&child->marks->whole, 1);
	report.counts = child->counts;
	ignored = write(child->socket, &report, sizeof report);
	(void)ignored;
	_exit(0);
}

/* ---- In the monitor ---- */

static uint64_t page_up(uint64_t bytes)
{
	return (bytes + GUEST_PAGE_SIZE - 1) & ~(GUEST_PAGE_SIZE - 1);
}

/* All but the runs, which come last: how many there are is known when they have been seen. */
static void plan(struct child *child, const struct snapshot_contents *contents)
{
	struct snapshot_header *header = &child->header;
	uint64_t table, facts = strlen(contents->facts);

	header->flags = contents->bare ? SNAPSHOT_BARE : 0;
	memcpy(header->id, contents->id, sizeof header->id);
	memcpy(header->parent, contents->parent, sizeof header->parent);
	header->created_ns = contents->created_ns;
	header->region_count = contents->memory->count;
	for (unsigned i = 0; i < header->region_count; i++) {
		const struct memory_region *region = &contents->memory->regions[i];

		header->regions[i] = (struct snapshot_region){region->base.value, region->size};
		header->pages += region->size / GUEST_PAGE_SIZE;
	}
	table = contents->bare ? 0 : header->pages * sizeof(struct snapshot_page);
	child->wants = contents->bare && contents->wants ? *contents->wants : -1;
	child->marks_offset = SNAPSHOT_EARLY_AT + SNAPSHOT_HEADER;
	child->marks_length = child->wants < 0 ? 0 : marks_size(header);
	child->memory_offset = child->wants < 0 ? page_up(SNAPSHOT_HEADER + table) : child->marks_offset + child->marks_length;
	header->sections[0] = (struct snapshot_section){.kind = SNAPSHOT_MEMORY,
							.offset = child->memory_offset,
							.length = header->pages * GUEST_PAGE_SIZE};
	header->sections[1] = (struct snapshot_section){.kind = SNAPSHOT_STATE,
							.offset = child->memory_offset + header->pages * GUEST_PAGE_SIZE,
							.length = contents->state_length,
							.checksum = XXH64(contents->state, contents->state_length, 0)};
	header->sections[2] = (struct snapshot_section){.kind = SNAPSHOT_FACTS,
							.offset = header->sections[1].offset + contents->state_length,
							.length = facts,
							.checksum = XXH64(contents->facts, facts, 0)};
	header->length = header->sections[2].offset + facts;
	child->table = &header->sections[3];
	*child->table = (struct snapshot_section){.kind = SNAPSHOT_PAGES, .offset = SNAPSHOT_HEADER, .length = table};
	header->section_count = contents->bare ? 3 : 4;
	child->has_parent = snapshot_has_parent(header);
	child->bare = contents->bare;
	child->memory = contents->memory;
}

/* A plain copy of this process, as fork makes one, but with nothing done on the way in either of them. */
static pid_t split(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static int start_child(struct snapshot_save *save, struct child *child, struct error *e)
{
	int ends[2], r = memory_inherit(child->memory, true, e);
	pid_t pid;

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(e, -errno, "a socket for the snapshot's child");
	child->socket = ends[1];
	pid = split();
	if (pid == 0)
		run_child(child);
	r = pid < 0 ? -errno : 0;
	close(ends[1]);
	(void)!memory_inherit(child->memory, false, NULL);
	if (r < 0) {
		close(ends[0]);
		return error_errno(e, r, "a child that writes the snapshot");
	}
	/* The child sees huge pages as they change: nothing may until it has told that it is done, or died. */
	if (child->memory->huge_pages)
		(void)poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, -1);
	*save = (struct snapshot_save){.child = pid, .socket = ends[0]};
	return 0;
}

/* Zeros are written, as a file system that has no room would tell of it by a signal later. */
static int write_early(const struct child *child)
{
	static const uint8_t zeros[GUEST_PAGE_SIZE];
	struct snapshot_header header = child->header;
	uint8_t bytes[SNAPSHOT_HEADER];
	int r = 0;

	header.flags |= SNAPSHOT_EARLY;
	header.section_count = 4;
	header.sections[3] = (struct snapshot_section){
		.kind = SNAPSHOT_MARKS, .offset = child->marks_offset, .length = child->marks_length};
	snapshot_header_put(&header, bytes);
	for (uint64_t at = 0; r == 0 && at < child->marks_length; at += sizeof zeros)
		r = file_write_at(child->fd, zeros, sizeof zeros, child->marks_offset + at);
	return r < 0 ? r : file_write_at(child->fd, bytes, sizeof bytes, SNAPSHOT_EARLY_AT);
}

static int begin_early(struct child *child)
{
	int r = child->wants < 0 ? 0 : write_early(child);
	void *marks;

	if (r < 0 || child->wants < 0)
		return r;
	marks = mmap(NULL, child->marks_length, PROT_READ | PROT_WRITE, MAP_SHARED, child->fd, (off_t)child->marks_offset);
	if (marks == MAP_FAILED)
		return -errno;
	child->marks = marks;
	return 0;
}

static int find_touched(struct child *child)
{
	for (unsigned i = 0; i < child->memory->count; i++) {
		child->touched[i] = malloc(memory_dirty_words(&child->memory->regions[i]) * sizeof *child->touched[i]);
		if (!child->touched[i])
			return -ENOMEM;
		memory_touched(child->memory, i, child->touched[i]);
	}
	return 0;
}

/* What the parent has allocated for it. */
static void release(struct child *child)
{
	for (unsigned i = 0; i < MEMORY_REGIONS_MAX; i++)
		free(child->touched[i]);
	if (child->marks)
		munmap(child->marks, child->marks_length);
	XXH64_freeState(child->sum);
	XXH64_freeState(child->runs_sum);
}

int snapshot_save_begin(struct snapshot_save *save, int fd, const struct snapshot_contents *contents, struct error *e)
{
	struct child child = {.fd = fd};
	int r;

	plan(&child, contents);
	child.sum = XXH64_createState();
	child.runs_sum = XXH64_createState();
	r = child.sum && child.runs_sum ? find_touched(&child) : -ENOMEM;
	if (r == 0)
		r = file_write_at(fd, contents->state, contents->state_length, child.header.sections[1].offset);
	if (r == 0)
		r = file_write_at(fd, contents->facts, strlen(contents->facts), child.header.sections[2].offset);
	if (r == 0)
		r = begin_early(&child);
	r = r < 0 ? error_errno(e, r, "writing the snapshot") : start_child(save, &child, e);
	release(&child);
	return r;
}

void snapshot_save_give_up(const struct snapshot_save *save)
{
	(void)shutdown(save->socket, SHUT_WR);
}

int snapshot_save_end(struct snapshot_save *save, struct snapshot_counts *counts, struct error *e)
{
	struct report report;
	ssize_t n;

	do
		n = read(save->socket, &report, sizeof report);
	while (n < 0 && errno == EINTR);
	close(save->socket);
	save->socket = -1;
	if (n != (ssize_t)sizeof report)
		return error_set(e, ERROR_FAILED, -EIO, "the child that wrote the snapshot died");
	if (report.code == -ECANCELED)
		return error_set(e, ERROR_STATE, report.code, "the snapshot was given up");
	if (report.code < 0)
		return error_errno(e, report.code, "writing the snapshot");
	*counts = report.counts;
	return 0;
}

void snapshot_save_reap(struct snapshot_save *save)
{
	while (waitpid(save->child, NULL, 0) < 0 && errno == EINTR)
		;
	save->child = 0;
}
