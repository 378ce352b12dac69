/* The files of a packed snapshot. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/file.h"
#include "base/zeros.h"
#include "snapshot/pack.h"

#define PIECE     (256 * KIB)
#define HOLE      GUEST_PAGE_SIZE /* zeros that become one, aligned */
#define FILE_MOST (UINT64_C(1) << 46)

static const struct snapshot_section *section_of(const struct snapshot *snapshot, unsigned index)
{
	for (unsigned i = 0; i < snapshot->header.section_count; i++)
		if (snapshot->header.sections[i].kind == SNAPSHOT_FILE && index-- == 0)
			return &snapshot->header.sections[i];
	return NULL;
}

static bool read_fact(const json_t *fact, struct snapshot_file *out)
{
	const char *name = json_string_value(json_object_get(fact, "name"));
	const json_t *size = json_object_get(fact, "size");

	if (!name || !*name || *name == '.' || strchr(name, '/') || strlen(name) >= sizeof out->name ||
	    !json_is_integer(size) || json_integer_value(size) < 0 || (uint64_t)json_integer_value(size) > FILE_MOST)
		return false;
	*out = (struct snapshot_file){.size = (uint64_t)json_integer_value(size), .fd = -1};
	memcpy(out->name, name, strlen(name) + 1);
	return true;
}

int snapshot_files(const struct snapshot *snapshot, struct snapshot_file files[SNAPSHOT_FILES_MAX], unsigned *count,
		   struct error *e)
{
	const json_t *facts = json_object_get(snapshot->facts, "files"), *fact;
	bool good = json_array_size(facts) <= SNAPSHOT_FILES_MAX;
	size_t i;

	*count = 0;
	json_array_foreach(facts, i, fact) {
		good = good && read_fact(fact, &files[i]);
		for (size_t j = 0; good && j < i; j++)
			good = strcmp(files[i].name, files[j].name) != 0;
		if (!good)
			break;
		++*count;
	}
	good = good && (*count == 0 || section_of(snapshot, *count - 1)) && !section_of(snapshot, *count);
	return good ? 0 : error_set(e, ERROR_FAILED, -EBADMSG, "%s: what it tells of its files does not fit them",
				    snapshot->name);
}

struct unpacking {
	const struct snapshot *snapshot;
	const struct snapshot_section *section;
	const struct snapshot_file *file;
	int fd;
	ZSTD_DCtx *zstd;
	XXH64_state_t *sum;
	uint8_t *in, *out;
	uint64_t written; /* of the file, holes included */
};

static int refuse(const struct unpacking *u, const char *why, struct error *e)
{
	return error_set(e, ERROR_FAILED, -EBADMSG, "%s: the file %s in it (bytes %" PRIu64 " to %" PRIu64 ") %s",
			 u->snapshot->name, u->file->name, u->section->offset,
			 u->section->offset + u->section->length - (u->section->length > 0), why);
}

/* In parts that begin and end where a hole can. */
static int write_out(struct unpacking *u, const uint8_t *bytes, size_t length, struct error *e)
{
	int r = 0;

	if (length > u->file->size - u->written)
		return refuse(u, "has more than it tells", e);
	while (r == 0 && length) {
		size_t part = HOLE - u->written % HOLE;

		if (part > length)
			part = length;
		if (!zeros_only(bytes, part))
			r = file_write_at(u->fd, bytes, part, u->written);
		u->written += part;
		bytes += part;
		length -= part;
	}
	return r < 0 ? error_errno(e, r, "%s", u->file->name) : 0;
}

static int unpack_piece(struct unpacking *u, size_t length, bool *ended, struct error *e)
{
	ZSTD_inBuffer in = {.src = u->in, .size = length};
	bool full;

	do {
		ZSTD_outBuffer out = {.dst = u->out, .size = PIECE};
		size_t left;
		int r;

		if (*ended && in.pos < in.size)
			return refuse(u, "goes on behind its end", e);
		left = ZSTD_decompressStream(u->zstd, &out, &in);
		if (ZSTD_isError(left))
			return refuse(u, "is damaged: it can not be unpacked", e);
		r = write_out(u, u->out, out.pos, e);
		if (r < 0)
			return r;
		*ended = left == 0;
		full = out.pos == out.size;
	} while (in.pos < in.size || (full && !*ended));
	return 0;
}

static int unpack_all(struct unpacking *u, snapshot_progress_fn *progress, void *context, struct error *e)
{
	uint64_t left = u->section->length, at = u->section->offset;
	bool ended = false;
	int r = 0;

	XXH64_reset(u->sum, 0);
	while (r == 0 && left) {
		size_t length = left < PIECE ? (size_t)left : PIECE;

		r = file_read_at(u->snapshot->fd, u->in, length, at);
		if (r < 0)
			return error_errno(e, r, "%s", u->snapshot->name);
		XXH64_update(u->sum, u->in, length);
		r = unpack_piece(u, length, &ended, e);
		at += length;
		left -= length;
		if (progress)
			progress(context, u->written, u->file->size);
	}
	if (r < 0)
		return r;
	if (XXH64_digest(u->sum) != u->section->checksum)
		return refuse(u, "is damaged: its checksum is wrong", e);
	if (!ended || u->written != u->file->size)
		return refuse(u, "has less than it tells", e);
	return ftruncate(u->fd, (off_t)u->file->size) < 0 ? error_errno(e, -errno, "%s", u->file->name) : 0;
}

int snapshot_unpack_file(const struct snapshot *snapshot, unsigned index, const struct snapshot_file *file, int fd,
			 snapshot_progress_fn *progress, void *context, struct error *e)
{
	struct unpacking u = {.snapshot = snapshot,
			      .section = section_of(snapshot, index),
			      .file = file,
			      .fd = fd,
			      .zstd = ZSTD_createDCtx(),
			      .sum = XXH64_createState(),
			      .in = malloc(PIECE),
			      .out = malloc(PIECE)};
	int r = u.section && u.zstd && u.sum && u.in && u.out ? 0 : error_errno(e, -ENOMEM, "%s", snapshot->name);

	if (r == 0)
		r = unpack_all(&u, progress, context, e);
	ZSTD_freeDCtx(u.zstd);
	XXH64_freeState(u.sum);
	free(u.in);
	free(u.out);
	return r;
}
