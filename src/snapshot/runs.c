#include "snapshot/runs.h"

#include <errno.h>

#include "base/file.h"

void runs_begin(struct runs_writer *writer, int fd, uint64_t offset, XXH64_state_t *sum)
{
	writer->fd = fd;
	writer->section = (struct snapshot_section){.kind = SNAPSHOT_RUNS, .offset = offset};
	writer->sum = sum;
	writer->count = 0;
	XXH64_reset(sum, 0);
}

static int flush(struct runs_writer *writer)
{
	size_t length = writer->count * sizeof writer->runs[0];
	int r = file_write_at(writer->fd, writer->runs, length, writer->section.offset + writer->section.length);

	XXH64_update(writer->sum, writer->runs, length);
	writer->section.length += length;
	writer->count = 0;
	return r;
}

int runs_add(struct runs_writer *writer, enum snapshot_page_kind kind)
{
	struct snapshot_run *last = writer->count ? &writer->runs[writer->count - 1] : NULL;
	int r = 0;

	if (last && le32_get(last->kind) == kind) {
		last->pages = le32_put(le32_get(last->pages) + 1);
		return 0;
	}
	if (writer->count == RUNS_HELD)
		r = flush(writer);
	writer->runs[writer->count++] = (struct snapshot_run){.kind = le32_put(kind), .pages = le32_put(1)};
	return r;
}

int runs_end(struct runs_writer *writer, struct snapshot_section *section)
{
	int r = flush(writer);

	writer->section.checksum = XXH64_digest(writer->sum);
	*section = writer->section;
	return r;
}

int runs_put(int fd, uint64_t offset, const struct snapshot_page *rows, uint64_t count, struct snapshot_section *section)
{
	XXH64_state_t *sum = XXH64_createState();
	struct runs_writer writer;
	int r = 0;

	if (!sum)
		return -ENOMEM;
	runs_begin(&writer, fd, offset, sum);
	for (uint64_t row = 0; r == 0 && row < count; row++)
		r = runs_add(&writer, (enum snapshot_page_kind)le32_get(rows[row].kind));
	if (r == 0)
		r = runs_end(&writer, section);
	XXH64_freeState(sum);
	return r;
}
