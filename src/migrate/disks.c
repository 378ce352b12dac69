#include "migrate/disks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/checked.h"
#include "base/zeros.h"

struct part {
	le32_t disk, kind;
	le64_t offset, length;
};
_Static_assert(sizeof(struct part) == 24, "a part as in docs/internals/migrate.md");

enum part_kind { PART_BYTES, PART_ZEROS };

/* ---- Changing hands ---- */

/* Beyond any file's end; nobody guesses it, and two moves do not meet. */
static uint64_t place_of(const char *token, unsigned index)
{
	return UINT64_C(1) << 61 | XXH64(token, strlen(token), index) >> 3;
}

/* The index-th disk of the machine that it writes, counted in *number from any number on; NULL: no more. */
static struct block *next_written(struct machine *machine, unsigned *number)
{
	struct block *block;

	while ((block = machine_disk(machine, *number)) && block_read_only(block))
		++*number;
	return block;
}

/* Where a file system knows no locks there is no mark, and the destination says so. */
void disks_mark(struct machine *machine, const char *token, bool on)
{
	struct block *block;

	for (unsigned i = 0; (block = next_written(machine, &i)); i++)
		(void)!block_mark(block, place_of(token, i), on);
}

bool disks_is_same(struct machine *machine, unsigned index, const char *token)
{
	return block_marked(machine_disk(machine, index), place_of(token, index)) == 1;
}

int disks_settle(struct machine *machine, struct error *e)
{
	struct block *block;
	int r = 0;

	for (unsigned i = 0; r == 0 && (block = next_written(machine, &i)); i++)
		r = block_settle(block, e);
	return r;
}

int disks_refresh(struct machine *machine, bool alone, struct error *e)
{
	struct block *block;
	int r = 0;

	for (unsigned i = 0; r == 0 && (block = next_written(machine, &i)); i++)
		r = block_refresh(block, alone, e);
	return r;
}

void disks_own(struct machine *machine, bool own)
{
	struct block *block;

	for (unsigned i = 0; (block = next_written(machine, &i)); i++)
		block_own(block, own);
}

/* ---- Copying ---- */

static int add(struct disks *disks, struct block *block, bool source, struct error *e)
{
	unsigned n = disks->count++;

	disks->disk[n].block = block;
	disks->disk[n].size = block_size(block);
	disks->disk[n].words = block_track_words(block);
	if (!source)
		return 0;
	disks->disk[n].due = calloc(disks->disk[n].words, sizeof(uint64_t));
	disks->disk[n].fresh = calloc(disks->disk[n].words, sizeof(uint64_t));
	return disks->disk[n].due && disks->disk[n].fresh ? 0 : error_errno(e, -ENOMEM, "a bitmap of a disk");
}

int disks_init(struct disks *disks, struct machine *machine, bool source, struct error *e)
{
	struct block *block;
	int r = 0;

	*disks = (struct disks){.count = 0};
	for (unsigned i = 0; r == 0 && (block = next_written(machine, &i)); i++)
		r = add(disks, block, source, e);
	return r;
}

void disks_finish(struct disks *disks)
{
	for (unsigned i = 0; i < disks->count; i++) {
		free(disks->disk[i].due);
		free(disks->disk[i].fresh);
	}
	disks->count = 0;
}

int disks_track(struct disks *disks, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < disks->count; i++)
		r = block_track_begin(disks->disk[i].block, e);
	disks_fill(disks);
	return r;
}

void disks_untrack(struct disks *disks)
{
	for (unsigned i = 0; i < disks->count; i++)
		block_track_end(disks->disk[i].block);
}

void disks_collect(struct disks *disks)
{
	for (unsigned i = 0; i < disks->count; i++) {
		block_track_collect(disks->disk[i].block, disks->disk[i].fresh);
		for (uint64_t w = 0; w < disks->disk[i].words; w++)
			disks->disk[i].due[w] |= disks->disk[i].fresh[w];
	}
}

void disks_fill(struct disks *disks)
{
	for (unsigned i = 0; i < disks->count; i++) {
		uint64_t parts = (disks->disk[i].size + BLOCK_TRACK_PART - 1) / BLOCK_TRACK_PART;

		for (uint64_t part = 0; part < parts; part++)
			disks->disk[i].due[part / 64] |= UINT64_C(1) << part % 64;
	}
}

uint64_t disks_left(const struct disks *disks)
{
	uint64_t parts = 0;

	for (unsigned i = 0; i < disks->count; i++)
		for (uint64_t w = 0; w < disks->disk[i].words; w++)
			parts += (uint64_t)__builtin_popcountll(disks->disk[i].due[w]);
	return parts * BLOCK_TRACK_PART;
}

/* ---- The source ---- */

struct sending {
	struct stream *stream;
	int (*pace)(void *opaque, size_t bytes, struct error *e);
	void *opaque;
	uint8_t *buffer; /* of one part */
};

static int send_part(struct disks *disks, unsigned index, uint64_t number, const struct sending *s, struct error *e)
{
	uint64_t offset = number * BLOCK_TRACK_PART, rest = disks->disk[index].size - offset;
	uint64_t length = rest < BLOCK_TRACK_PART ? rest : BLOCK_TRACK_PART;
	struct part part = {.disk = le32_put(index), .offset = le64_put(offset), .length = le64_put(length)};
	struct iovec parts[] = {{&part, sizeof part}, {s->buffer, length}};
	int r = block_peek(disks->disk[index].block, offset, s->buffer, length);

	if (r < 0)
		return error_errno(e, r, "reading disk %u", index);
	if (r == 1 || zeros_only(s->buffer, length)) {
		part.kind = le32_put(PART_ZEROS);
		parts[1].iov_len = 0;
	}
	r = s->pace(s->opaque, sizeof part + parts[1].iov_len, e);
	if (r == 0)
		r = stream_send(s->stream, STREAM_DISK, parts, ARRAY_SIZE(parts), e);
	if (r == 0)
		disks->sent += BLOCK_TRACK_PART;
	return r;
}

int disks_send(struct disks *disks, struct stream *stream, int (*pace)(void *opaque, size_t bytes, struct error *e),
	       void *opaque, struct error *e)
{
	struct sending sending = {stream, pace, opaque, disks->count ? malloc(BLOCK_TRACK_PART) : NULL};
	int r = 0;

	if (disks->count && !sending.buffer)
		return error_errno(e, -ENOMEM, "a buffer for disks");
	for (unsigned i = 0; r == 0 && i < disks->count; i++)
		for (uint64_t w = 0; r == 0 && w < disks->disk[i].words; w++)
			for (uint64_t *bits = &disks->disk[i].due[w]; r == 0 && *bits; *bits &= *bits - 1)
				r = send_part(disks, i, w * 64 + (uint64_t)__builtin_ctzll(*bits), &sending, e);
	free(sending.buffer);
	return r;
}

/* ---- The destination ---- */

static int refuse(struct error *e, const char *what, unsigned long long value)
{
	return error_set(e, ERROR_FAILED, -EPROTO, "a part of a disk came wrong: %s (%llu)", what, value);
}

int disks_receive(struct disks *disks, const struct stream_frame *frame, struct error *e)
{
	uint64_t offset, length, bytes;
	struct part part;
	uint32_t index;
	int r;

	if (frame->length < sizeof part)
		return refuse(e, "a frame too short", frame->length);
	memcpy(&part, frame->bytes, sizeof part);
	index = le32_get(part.disk);
	offset = le64_get(part.offset);
	length = le64_get(part.length);
	bytes = le32_get(part.kind) == PART_BYTES ? length : 0;
	if (index >= disks->count)
		return refuse(e, "no such disk", index);
	if (le32_get(part.kind) > PART_ZEROS || length == 0 || length > BLOCK_TRACK_PART || (offset | length) % BLOCK_SECTOR)
		return refuse(e, "its length or kind", length);
	if (!checked_span(offset, length, disks->disk[index].size))
		return refuse(e, "beyond the disk", offset);
	if (frame->length - sizeof part != bytes)
		return refuse(e, "its number of bytes", frame->length);
	r = block_poke(disks->disk[index].block, offset, bytes ? frame->bytes + sizeof part : NULL, length);
	return r < 0 ? error_errno(e, r, "writing disk %u", index) : 0;
}

int disks_sync(const struct disks *disks, struct error *e)
{
	int r;

	for (unsigned i = 0; i < disks->count; i++) {
		r = block_sync(disks->disk[i].block);
		if (r < 0)
			return error_errno(e, r, "writing disk %u", i);
	}
	return 0;
}
