#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>
#include <zstd.h>

#include "block/qcow2.h"

#define WINDOW_BITS 12 /* what other readers expect of us; a larger window is read all the same */

static int inflate_zlib(const uint8_t *from, size_t length, uint8_t *to, size_t room)
{
	z_stream stream = {.next_in = (Bytef *)(uintptr_t)from,
			   .avail_in = (uInt)length,
			   .next_out = to,
			   .avail_out = (uInt)room};
	int r;

	if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
		return -ENOMEM;
	r = inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	/* What follows up to the end of the sector is nobody's. */
	return stream.avail_out == 0 && (r == Z_STREAM_END || r == Z_BUF_ERROR || r == Z_OK) ? 0 : -EIO;
}

static int inflate_zstd(const uint8_t *from, size_t length, uint8_t *to, size_t room)
{
	ZSTD_DStream *stream = ZSTD_createDStream();
	ZSTD_inBuffer in = {from, length, 0};
	ZSTD_outBuffer out = {to, room, 0};
	size_t r = 1;

	if (!stream)
		return -ENOMEM;
	while (out.pos < room && in.pos < in.size && r != 0 && !ZSTD_isError(r))
		r = ZSTD_decompressStream(stream, &out, &in);
	ZSTD_freeDStream(stream);
	return out.pos == room && !ZSTD_isError(r) ? 0 : -EIO;
}

static int inflate_cluster(struct qcow2 *q, const struct mapping *mapping, uint8_t *to)
{
	uint8_t *from = malloc(mapping->compressed_bytes);
	int r = from ? store_read(q->image.store, mapping->host, from, mapping->compressed_bytes) : -ENOMEM;

	if (r == 0 && q->header.compression == BLOCK_ZSTD)
		r = inflate_zstd(from, mapping->compressed_bytes, to, q->cluster_size);
	else if (r == 0)
		r = inflate_zlib(from, mapping->compressed_bytes, to, q->cluster_size);
	free(from);
	return r;
}

/* With inflated_lock. */
static struct inflated *find_inflated(struct qcow2 *q, uint64_t entry)
{
	for (unsigned i = 0; i < INFLATED_SLOTS; i++)
		if (q->inflated[i].entry == entry)
			return &q->inflated[i];
	return NULL;
}

/* With inflated_lock. Takes the bytes. */
static void keep_inflated(struct qcow2 *q, uint64_t entry, uint8_t *bytes)
{
	struct inflated *slot = &q->inflated[q->inflated_turn++ % INFLATED_SLOTS];

	free(slot->bytes);
	*slot = (struct inflated){entry, bytes};
}

/* Sequential reads come in parts of a cluster: the last few are kept. A compressed cluster never changes in
 * place. */
int qcow2_inflate(struct qcow2 *q, uint64_t entry, uint32_t from, struct spans spans, uint32_t length)
{
	struct mapping mapping = qcow2_decode(q, entry);
	struct inflated *kept;
	uint8_t *bytes;
	int r;

	/* Rewritten meanwhile by a request for the same bytes: either content will do, and this one is gone. */
	if (mapping.kind != MAPPING_COMPRESSED)
		return mapping.kind == MAPPING_INVALID ? qcow2_break(q, "an L2 entry is impossible") : -EIO;
	pthread_mutex_lock(&q->inflated_lock);
	kept = find_inflated(q, entry);
	if (kept)
		spans_copy_in(spans, kept->bytes + from, length);
	pthread_mutex_unlock(&q->inflated_lock);
	if (kept)
		return 0;
	bytes = malloc(q->cluster_size);
	r = bytes ? inflate_cluster(q, &mapping, bytes) : -ENOMEM;
	if (r < 0) {
		free(bytes);
		return r;
	}
	spans_copy_in(spans, bytes + from, length);
	pthread_mutex_lock(&q->inflated_lock);
	keep_inflated(q, entry, bytes);
	pthread_mutex_unlock(&q->inflated_lock);
	return 0;
}

/* Bytes, or 0: it does not get smaller. */
static size_t deflate_zlib(const uint8_t *from, size_t length, uint8_t *to, size_t room)
{
	z_stream stream = {.next_in = (Bytef *)(uintptr_t)from,
			   .avail_in = (uInt)length,
			   .next_out = to,
			   .avail_out = (uInt)room};
	size_t made = 0;

	if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -WINDOW_BITS, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	if (deflate(&stream, Z_FINISH) == Z_STREAM_END)
		made = room - stream.avail_out;
	deflateEnd(&stream);
	return made;
}

static size_t deflate_cluster(const struct qcow2 *q, const uint8_t *from, uint8_t *to, size_t room)
{
	size_t made;

	if (q->header.compression == BLOCK_ZLIB)
		return deflate_zlib(from, q->cluster_size, to, room);
	made = ZSTD_compress(to, room, from, q->cluster_size, ZSTD_CLEVEL_DEFAULT);
	return ZSTD_isError(made) ? 0 : made;
}

/* With `work`. Room for compressed bytes, that may begin in what the one before left of a cluster. */
static int place(struct qcow2 *q, size_t length, uint64_t *at)
{
	uint64_t left = q->compressed_at ? q->cluster_size - (q->compressed_at & (q->cluster_size - 1)) : 0;
	uint64_t shared = q->compressed_at >> q->cluster_bits, cluster = shared, refs, count;
	bool blank;
	int r = 0;

	*at = q->compressed_at;
	if (length > left) {
		r = qcow2_allocate(q, 1, &cluster, &count, &blank);
		if (r == 0 && (left == 0 || cluster != shared + 1)) {
			*at = cluster << q->cluster_bits;
			left = 0;
		}
	}
	if (r == 0 && left) {
		r = qcow2_refcount_get(q, shared, &refs);
		if (r == 0)
			r = qcow2_refcount_set(q, shared, refs + 1);
	}
	if (r < 0)
		return r;
	q->compressed_at = *at + length;
	if ((q->compressed_at & (q->cluster_size - 1)) == 0)
		q->compressed_at = 0;
	return 0;
}

static int link_compressed(struct qcow2 *q, uint64_t offset, uint64_t at, size_t length)
{
	unsigned bits = 62 - (q->cluster_bits - 8);
	uint64_t sectors = ((at & 511) + length - 1) / 512;
	struct table *table;
	int r = qcow2_l2_own(q, offset, &table);

	if (r == 0)
		qcow2_l2_set(q, table, qcow2_l2_index(q, offset), L2_COMPRESSED | sectors << bits | at);
	return r;
}

static int store_compressed(struct qcow2 *q, uint64_t offset, const uint8_t *bytes, size_t length)
{
	uint64_t at;
	int r;

	pthread_mutex_lock(&q->work);
	r = place(q, length, &at);
	if (r == 0)
		r = store_write(q->image.store, at, bytes, length);
	if (r == 0)
		r = link_compressed(q, offset, at, length);
	pthread_mutex_unlock(&q->work);
	return r;
}

int qcow2_write_compressed(struct image *image, uint64_t offset, const uint8_t *bytes)
{
	struct qcow2 *q = qcow2_of(image);
	struct iovec span = {(void *)(uintptr_t)bytes, q->cluster_size};
	uint64_t left = image->size - offset;
	uint8_t *made = malloc(q->cluster_size);
	size_t length;
	int r;

	if (!made)
		return -ENOMEM;
	length = deflate_cluster(q, bytes, made, q->cluster_size - 1);
	if (length)
		r = store_compressed(q, offset, made, length);
	else
		r = qcow2_write(image, offset, (struct spans){&span, 1, 0},
				left < q->cluster_size ? left : q->cluster_size);
	free(made);
	return r;
}
