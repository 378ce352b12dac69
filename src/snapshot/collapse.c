#include "snapshot/collapse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/file.h"
#include "snapshot/runs.h"

#define PROGRESS_EVERY 4096

struct collapsing {
	const struct snapshot_chain *chain;
	int fd;
	struct snapshot_header header;
	struct snapshot_page *rows;
	char *facts;
};

static int write_at(const struct collapsing *c, const void *bytes, size_t length, uint64_t offset, struct error *e)
{
	int r = file_write_at(c->fd, bytes, length, offset);

	return r < 0 ? error_errno(e, r, "writing the snapshot") : 0;
}

/* The same places as a file has that is saved; but the runs, which follow when they are known. */
static void plan(struct collapsing *c)
{
	const struct snapshot *newest = c->chain->files[0];
	uint64_t table = newest->header.pages * sizeof(struct snapshot_page), memory, facts = strlen(c->facts);
	struct snapshot_section *sections = c->header.sections;

	memory = (SNAPSHOT_HEADER + table + GUEST_PAGE_SIZE - 1) & ~(GUEST_PAGE_SIZE - 1);
	c->header = newest->header;
	c->header.flags = 0;
	memset(c->header.parent, 0, sizeof c->header.parent);
	c->header.section_count = 4;
	sections[0] = (struct snapshot_section){.kind = SNAPSHOT_PAGES, .offset = SNAPSHOT_HEADER, .length = table};
	sections[1] = (struct snapshot_section){.kind = SNAPSHOT_MEMORY,
						.offset = memory,
						.length = newest->header.pages * GUEST_PAGE_SIZE};
	sections[2] = (struct snapshot_section){.kind = SNAPSHOT_STATE,
						.offset = memory + sections[1].length,
						.length = newest->state_length,
						.checksum = XXH64(newest->state, newest->state_length, 0)};
	sections[3] = (struct snapshot_section){.kind = SNAPSHOT_FACTS,
						.offset = sections[2].offset + newest->state_length,
						.length = facts,
						.checksum = XXH64(c->facts, facts, 0)};
	c->header.length = sections[3].offset + facts;
}

static int write_page(struct collapsing *c, uint64_t row, struct error *e)
{
	struct snapshot *owner = snapshot_chain_owner(c->chain, row);
	uint8_t page[GUEST_PAGE_SIZE];
	int r;

	c->rows[row] = owner->pages[row];
	c->rows[row].number = le32_put(0);
	if (snapshot_kind(owner, row) == SNAPSHOT_PAGE_ZERO)
		return 0;
	r = snapshot_read_page(owner, row, page, e);
	return r < 0 ? r : write_at(c, page, sizeof page, c->header.sections[1].offset + row * GUEST_PAGE_SIZE, e);
}

static int write_rest(struct collapsing *c, struct error *e)
{
	const struct snapshot *newest = c->chain->files[0];
	struct snapshot_section *sections = c->header.sections;
	uint8_t bytes[SNAPSHOT_HEADER];
	int r = runs_put(c->fd, c->header.length, c->rows, c->header.pages, &sections[c->header.section_count]);

	if (r < 0)
		return error_errno(e, r, "writing the snapshot");
	c->header.length += sections[c->header.section_count++].length;
	sections[0].checksum = XXH64(c->rows, sections[0].length, 0);
	snapshot_header_put(&c->header, bytes);
	r = write_at(c, c->rows, sections[0].length, sections[0].offset, e);
	if (r == 0)
		r = write_at(c, newest->state, newest->state_length, sections[2].offset, e);
	if (r == 0)
		r = write_at(c, c->facts, sections[3].length, sections[3].offset, e);
	/* A file is a snapshot from here on. */
	return r < 0 ? r : write_at(c, bytes, sizeof bytes, 0, e);
}

static int write_all(struct collapsing *c, snapshot_progress_fn *progress, void *context, struct error *e)
{
	uint64_t pages = c->header.pages;
	int r = 0;

	for (uint64_t row = 0; r == 0 && row < pages; row++) {
		r = write_page(c, row, e);
		if (progress && row % PROGRESS_EVERY == 0)
			progress(context, row * GUEST_PAGE_SIZE, pages * GUEST_PAGE_SIZE);
	}
	return r < 0 ? r : write_rest(c, e);
}

static char *facts_of(const struct snapshot *newest)
{
	json_t *facts = json_deep_copy(newest->facts);
	char *text;

	json_object_del(facts, "parent");
	/* Which only a packed file has. */
	json_object_del(facts, "files");
	text = json_dumps(facts, JSON_COMPACT);
	json_decref(facts);
	return text;
}

int snapshot_collapse(const struct snapshot_chain *chain, int fd, snapshot_progress_fn *progress, void *context,
		      struct error *e)
{
	uint64_t pages = chain->files[0]->header.pages;
	struct collapsing c = {.chain = chain,
			       .fd = fd,
			       .rows = calloc(pages ? pages : 1, sizeof *c.rows),
			       .facts = facts_of(chain->files[0])};
	int r = c.rows && c.facts ? snapshot_chain_keep_rows(chain, e)
				  : error_errno(e, -ENOMEM, "collapsing a chain of snapshots");

	if (r == 0) {
		plan(&c);
		r = write_all(&c, progress, context, e);
	}
	free(c.rows);
	free(c.facts);
	return r;
}
