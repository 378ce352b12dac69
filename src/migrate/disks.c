#include "migrate/disks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"

struct part {
	le32_t disk, kind;
	le64_t offset, length;
};
_Static_assert(sizeof(struct part) == 24, "a part as in docs/internals/migrate.md");

enum part_kind { PART_BYTES, PART_ZEROS };

static int add(struct disks *disks, struct block *block, unsigned index, bool source, struct error *e)
{
	unsigned n = disks->count;

	disks->disk[n].block = block;
	disks->disk[n].fd = block_descriptor(block);
	disks->disk[n].size = block_size(block);
	disks->disk[n].words = block_track_words(block);
	if (disks->disk[n].fd < 0)
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "disk %u is not raw, and can not be copied along; doppel disk convert makes a raw copy", index);
	disks->count++;
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
	for (unsigned i = 0; r == 0 && (block = machine_disk(machine, i)); i++)
		if (!block_read_only(block))
			r = add(disks, block, i, source, e);
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

static int read_all(int fd, uint8_t *to, uint64_t offset, uint64_t length)
{
	for (uint64_t done = 0; done < length;) {
		ssize_t n = pread(fd, to + done, length - done, (off_t)(offset + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0) { /* a file that ends within a sector */
			memset(to + done, 0, length - done);
			return 0;
		}
		done += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

static int write_all(int fd, const uint8_t *from, uint64_t offset, uint64_t length)
{
	for (uint64_t done = 0; done < length;) {
		ssize_t n = pwrite(fd, from + done, length - done, (off_t)(offset + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

static bool is_zero(const uint8_t *bytes, uint64_t length)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

/* ---- The source ---- */

struct sending {
	struct stream *stream;
	int (*pace)(void *opaque, size_t bytes, struct error *e);
	void *opaque;
	uint8_t *buffer; /* of one part */
};

static int send_part(const struct disks *disks, unsigned index, uint64_t number, const struct sending *s, struct error *e)
{
	uint64_t offset = number * BLOCK_TRACK_PART, rest = disks->disk[index].size - offset;
	uint64_t length = rest < BLOCK_TRACK_PART ? rest : BLOCK_TRACK_PART;
	struct part part = {.disk = le32_put(index), .offset = le64_put(offset), .length = le64_put(length)};
	struct iovec parts[] = {{&part, sizeof part}, {s->buffer, length}};
	int r = read_all(disks->disk[index].fd, s->buffer, offset, length);

	if (r < 0)
		return error_errno(e, r, "reading disk %u", index);
	if (is_zero(s->buffer, length)) {
		part.kind = le32_put(PART_ZEROS);
		parts[1].iov_len = 0;
	}
	r = s->pace(s->opaque, sizeof part + parts[1].iov_len, e);
	return r < 0 ? r : stream_send(s->stream, STREAM_DISK, parts, ARRAY_SIZE(parts), e);
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

/* What is zeros already keeps its holes. */
static int clear(int fd, uint64_t offset, uint64_t length)
{
	static const uint8_t zeros[BLOCK_TRACK_PART];
	uint8_t *there = malloc(BLOCK_TRACK_PART);
	int r = there ? read_all(fd, there, offset, length) : -ENOMEM;

	if (r == 0 && !is_zero(there, length))
		r = write_all(fd, zeros, offset, length);
	free(there);
	return r;
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
	if (le32_get(part.kind) > PART_ZEROS || length == 0 || length > BLOCK_TRACK_PART)
		return refuse(e, "its length or kind", length);
	if (!checked_span(offset, length, disks->disk[index].size))
		return refuse(e, "beyond the disk", offset);
	if (frame->length - sizeof part != bytes)
		return refuse(e, "its number of bytes", frame->length);
	r = bytes ? write_all(disks->disk[index].fd, frame->bytes + sizeof part, offset, length)
		  : clear(disks->disk[index].fd, offset, length);
	return r < 0 ? error_errno(e, r, "writing disk %u", index) : 0;
}

int disks_sync(const struct disks *disks, struct error *e)
{
	for (unsigned i = 0; i < disks->count; i++)
		if (fsync(disks->disk[i].fd) < 0)
			return error_errno(e, -errno, "writing disk %u", i);
	return 0;
}
