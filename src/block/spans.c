#include "block/spans.h"

#include <string.h>

struct spans spans_after(struct spans spans, uint64_t bytes)
{
	spans.skip += bytes;
	while (spans.count && spans.skip >= spans.list->iov_len) {
		spans.skip -= spans.list->iov_len;
		spans.list++;
		spans.count--;
	}
	return spans;
}

/* The next run of bytes in one piece, at most `length`; moves on behind it. */
static struct iovec next_piece(struct spans *spans, uint64_t length)
{
	struct iovec piece = {NULL, 0};

	*spans = spans_after(*spans, 0);
	if (!spans->count)
		return piece;
	piece.iov_base = (uint8_t *)spans->list->iov_base + spans->skip;
	piece.iov_len = spans->list->iov_len - spans->skip;
	if (piece.iov_len > length)
		piece.iov_len = length;
	*spans = spans_after(*spans, piece.iov_len);
	return piece;
}

unsigned spans_take(struct spans spans, uint64_t length, struct iovec *out, unsigned max, uint64_t *covered)
{
	unsigned count = 0;

	*covered = 0;
	while (count < max && *covered < length) {
		out[count] = next_piece(&spans, length - *covered);
		if (out[count].iov_len == 0)
			break;
		*covered += out[count++].iov_len;
	}
	return count;
}

void spans_fill(struct spans spans, uint8_t byte, uint64_t length)
{
	while (length) {
		struct iovec piece = next_piece(&spans, length);

		if (piece.iov_len == 0)
			return;
		memset(piece.iov_base, byte, piece.iov_len);
		length -= piece.iov_len;
	}
}

void spans_copy_in(struct spans spans, const void *from, uint64_t length)
{
	const uint8_t *bytes = from;

	while (length) {
		struct iovec piece = next_piece(&spans, length);

		if (piece.iov_len == 0)
			return;
		memcpy(piece.iov_base, bytes, piece.iov_len);
		bytes += piece.iov_len;
		length -= piece.iov_len;
	}
}

void spans_copy_out(struct spans spans, void *to, uint64_t length)
{
	uint8_t *bytes = to;

	while (length) {
		struct iovec piece = next_piece(&spans, length);

		if (piece.iov_len == 0)
			return;
		memcpy(bytes, piece.iov_base, piece.iov_len);
		bytes += piece.iov_len;
		length -= piece.iov_len;
	}
}

uint64_t spans_length(const struct iovec *list, unsigned count)
{
	uint64_t length = 0;

	for (unsigned i = 0; i < count; i++)
		length += list[i].iov_len;
	return length;
}

bool spans_aligned(struct spans spans, uint64_t length, size_t alignment)
{
	while (length) {
		struct iovec piece = next_piece(&spans, length);

		if (piece.iov_len == 0 || ((uintptr_t)piece.iov_base | piece.iov_len) & (alignment - 1))
			return false;
		length -= piece.iov_len;
	}
	return true;
}
