#define ZLIB_CONST
#include "board/unpack.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* The unpacked bytes so far, in a buffer that doubles up to the limit. */
struct growing {
	struct blob blob;
	size_t room;
	uint64_t limit;
};

static int grow(struct growing *g, struct error *e)
{
	char limit[TEXT_OF_SIZE_ROOM];
	uint64_t room = g->room ? g->room * 2 : 256 * KIB;
	uint8_t *bytes;

	if (g->room >= g->limit)
		return error_set(e, ERROR_USAGE, -EFBIG,
				 "unpacks to more than the guest's RAM of %s; give it more with --memory",
				 text_of_size(limit, g->limit));
	if (room > g->limit)
		room = g->limit;
	bytes = realloc(g->blob.bytes, room);
	if (!bytes)
		return error_errno(e, -ENOMEM, "cannot be unpacked");
	g->blob.bytes = bytes;
	g->room = room;
	return 0;
}

static int finish(struct growing *g, struct blob *out, int r)
{
	if (r < 0)
		blob_finish(&g->blob);
	else
		*out = g->blob;
	return r;
}

static int truncated(const char *what, struct error *e)
{
	return error_set(e, ERROR_USAGE, -EBADMSG, "is truncated: its %s data ends too early; obtain it again",
			 what);
}

static bool starts_with(const uint8_t *bytes, size_t length, const char *magic, size_t magic_length)
{
	return length >= magic_length && memcmp(bytes, magic, magic_length) == 0;
}

/* One call of inflate: 1 at the end of a member, 0 to go on. */
static int inflate_some(z_stream *z, const uint8_t *end, struct growing *g, struct error *e)
{
	size_t input = (size_t)(end - z->next_in), room = g->room - g->blob.length;
	uInt given;
	int code;

	z->avail_in = input > UINT_MAX ? UINT_MAX : (uInt)input;
	given = room > UINT_MAX ? UINT_MAX : (uInt)room;
	z->avail_out = given;
	z->next_out = g->blob.bytes + g->blob.length;
	code = inflate(z, Z_NO_FLUSH);
	g->blob.length += given - z->avail_out;
	if (code == Z_STREAM_END)
		return 1;
	if (code == Z_MEM_ERROR)
		return error_errno(e, -ENOMEM, "cannot be unpacked");
	if (code != Z_OK && code != Z_BUF_ERROR)
		return error_set(e, ERROR_USAGE, -EBADMSG, "is damaged: %s in its gzip data; obtain it again",
				 z->msg ? z->msg : "an error");
	return z->next_in == end && z->avail_out ? truncated("gzip", e) : 0;
}

static int inflate_all(z_stream *z, const uint8_t *end, struct growing *g, struct error *e)
{
	int r = 0;

	while (r >= 0) {
		if (g->blob.length == g->room)
			r = grow(g, e);
		if (r < 0)
			return r;
		r = inflate_some(z, end, g, e);
		if (r != 1)
			continue;
		if (!starts_with(z->next_in, (size_t)(end - z->next_in), "\x1f\x8b", 2))
			return 0;
		if (inflateReset(z) != Z_OK)
			return error_errno(e, -ENOMEM, "cannot be unpacked");
	}
	return r;
}

int gzip_unpack(struct blob *out, const uint8_t *bytes, size_t length, uint64_t limit, struct error *e)
{
	struct growing g = {.limit = limit};
	z_stream z = {.next_in = bytes};
	int r;

	if (inflateInit2(&z, MAX_WBITS + 16) != Z_OK)
		return error_errno(e, -ENOMEM, "cannot be unpacked");
	r = inflate_all(&z, bytes + length, &g, e);
	inflateEnd(&z);
	return finish(&g, out, r);
}

/* Whether another zstd frame (or a skippable one) follows. */
static bool more_frames(const ZSTD_inBuffer *in)
{
	const uint8_t *at = (const uint8_t *)in->src + in->pos;
	size_t left = in->size - in->pos;

	return starts_with(at, left, "\x28\xb5\x2f\xfd", 4) ||
	       (left >= 4 && (at[0] & 0xf0) == 0x50 && memcmp(at + 1, "\x2a\x4d\x18", 3) == 0);
}

static int zstd_all(ZSTD_DStream *stream, ZSTD_inBuffer *in, struct growing *g, struct error *e)
{
	for (;;) {
		ZSTD_outBuffer to;
		size_t code;
		int r = g->blob.length == g->room ? grow(g, e) : 0;

		if (r < 0)
			return r;
		to = (ZSTD_outBuffer){g->blob.bytes, g->room, g->blob.length};
		code = ZSTD_decompressStream(stream, &to, in);
		g->blob.length = to.pos;
		if (ZSTD_isError(code))
			return error_set(e, ERROR_USAGE, -EBADMSG,
					 "is damaged: %s in its zstd data; obtain it again",
					 ZSTD_getErrorName(code));
		if (code == 0 && !more_frames(in))
			return 0;
		if (code != 0 && in->pos == in->size && to.pos < to.size)
			return truncated("zstd", e);
	}
}

int zstd_unpack(struct blob *out, const uint8_t *bytes, size_t length, uint64_t limit, struct error *e)
{
	struct growing g = {.limit = limit};
	ZSTD_inBuffer in = {bytes, length, 0};
	ZSTD_DStream *stream = ZSTD_createDStream();
	int r;

	if (!stream)
		return error_errno(e, -ENOMEM, "cannot be unpacked");
	r = zstd_all(stream, &in, &g, e);
	ZSTD_freeDStream(stream);
	return finish(&g, out, r);
}
