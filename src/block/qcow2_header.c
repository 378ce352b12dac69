#include "block/qcow2_header.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

#define MAGIC              0x514649fbu
#define FIXED_BYTES_V2     72
#define HEADER_BYTES_V3    104
#define EXTENSION_BACKING  0xe2792acau
#define EXTENSION_FEATURES 0x6803f857u
#define EXTENSION_BITMAPS  0x23852875u
#define FEATURE_NAME_BYTES 48

uint16_t be16_at(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

uint32_t be32_at(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof value);
	return be32toh(value);
}

uint64_t be64_at(const uint8_t *bytes)
{
	uint64_t value;

	memcpy(&value, bytes, sizeof value);
	return be64toh(value);
}

void be32_set(uint8_t *bytes, uint32_t value)
{
	value = htobe32(value);
	memcpy(bytes, &value, sizeof value);
}

void be64_set(uint8_t *bytes, uint64_t value)
{
	value = htobe64(value);
	memcpy(bytes, &value, sizeof value);
}

static int damaged(const char *path, const char *what, struct error *e)
{
	return error_set(e, ERROR_FAILED, -EINVAL, "'%s' is no sound qcow2 image: %s", path, what);
}

static int unsupported(const char *path, const char *what, struct error *e)
{
	return error_set(
		e, ERROR_FAILED, -ENOTSUP,
		"'%s' uses a feature of qcow2 that is not supported: %s; qemu-img convert can make an image "
		"without it",
		path, what);
}

uint64_t qcow2_l1_needed(uint64_t size, uint32_t cluster_bits)
{
	uint32_t bits = 2 * cluster_bits - 3;
	uint64_t entries = (size >> bits) + ((size & (((uint64_t)1 << bits) - 1)) != 0);

	return entries <= QCOW2_L1_BYTES_MAX / 8 ? entries : UINT64_MAX;
}

uint32_t qcow2_header_cluster_size(const uint8_t bytes[QCOW2_FIXED_BYTES])
{
	uint32_t bits = be32_at(bytes + 20);

	if (be32_at(bytes) != MAGIC || bits < QCOW2_BITS_MIN || bits > QCOW2_BITS_MAX)
		return 0;
	return (uint32_t)1 << bits;
}

static const struct {
	uint64_t bit;
	const char *name;
} refused[] = {
	{QCOW2_DATA_FILE, "an external data file"},
	{QCOW2_EXTENDED_L2, "extended L2 entries (subclusters)"},
};

/* The image may name its own features. */
static void feature_name(const uint8_t *bytes, size_t size, unsigned bit, char out[80])
{
	size_t at = be32_at(bytes + 4) == 2 ? FIXED_BYTES_V2 : be32_at(bytes + 100);

	while (at + 8 <= size && be32_at(bytes + at)) {
		uint32_t type = be32_at(bytes + at), length = be32_at(bytes + at + 4);

		at += 8;
		if (length > size - at)
			return;
		for (size_t i = 0; type == EXTENSION_FEATURES && i + FEATURE_NAME_BYTES <= length;
		     i += FEATURE_NAME_BYTES)
			if (bytes[at + i] == 0 && bytes[at + i + 1] == bit) {
				memcpy(out, bytes + at + i + 2, FEATURE_NAME_BYTES - 2);
				out[FEATURE_NAME_BYTES - 2] = '\0';
			}
		at += ((size_t)length + 7) & ~(size_t)7;
	}
}

static int check_features(const struct qcow2_header *header, const uint8_t *bytes, size_t size, const char *path,
			  struct error *e)
{
	uint64_t unknown = header->incompatible & ~(QCOW2_DIRTY | QCOW2_CORRUPT | QCOW2_COMPRESSION);
	char name[80] = "one that this version does not know";

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (unknown & refused[i].bit)
			return unsupported(path, refused[i].name, e);
	if (!unknown)
		return 0;
	feature_name(bytes, size, (unsigned)__builtin_ctzll(unknown), name);
	return unsupported(path, name, e);
}

static int parse_version_3(struct qcow2_header *out, const uint8_t *bytes, size_t size, const char *path,
			   struct error *e)
{
	out->incompatible = be64_at(bytes + QCOW2_AT_INCOMPATIBLE);
	out->compatible = be64_at(bytes + 80);
	out->autoclear = be64_at(bytes + QCOW2_AT_AUTOCLEAR);
	out->refcount_order = be32_at(bytes + 96);
	out->length = be32_at(bytes + 100);
	if (out->length < HEADER_BYTES_V3 || out->length > size || out->length % 8)
		return damaged(path, "the length of its header is impossible", e);
	if (out->refcount_order > 6)
		return damaged(path, "its refcounts are wider than 64 bits", e);
	if (out->length > HEADER_BYTES_V3 && bytes[104] > BLOCK_ZSTD)
		return unsupported(path, "an unknown compression", e);
	if (out->length > HEADER_BYTES_V3)
		out->compression = (enum block_compression)bytes[104];
	if ((out->compression == BLOCK_ZSTD) != ((out->incompatible & QCOW2_COMPRESSION) != 0))
		return damaged(path, "its header contradicts itself about compression", e);
	return check_features(out, bytes, size, path, e);
}

/* A table of `length` bytes that begins with a cluster; offsets have 56 bits. */
static bool table_fits(uint64_t offset, uint64_t length, uint32_t cluster_bits)
{
	return (offset & (((uint64_t)1 << cluster_bits) - 1)) == 0 && offset != 0 &&
	       checked_span(offset, length, (uint64_t)1 << 56);
}

static int check_tables(const struct qcow2_header *header, const char *path, struct error *e)
{
	uint64_t l1_bytes = (uint64_t)header->l1_size * 8,
		 needed = qcow2_l1_needed(header->size, header->cluster_bits);
	uint64_t reftable_bytes = (uint64_t)header->reftable_clusters << header->cluster_bits;

	if (header->size > INT64_MAX || needed == UINT64_MAX || l1_bytes > QCOW2_L1_BYTES_MAX)
		return damaged(path, "its size is too large for its clusters", e);
	if (needed > header->l1_size)
		return damaged(path, "its L1 table is too short for its size", e);
	if (header->l1_size && !table_fits(header->l1_offset, l1_bytes, header->cluster_bits))
		return damaged(path, "its L1 table is at an impossible place", e);
	if (reftable_bytes == 0 || reftable_bytes > QCOW2_REFTABLE_BYTES_MAX ||
	    !table_fits(header->reftable_offset, reftable_bytes, header->cluster_bits))
		return damaged(path, "its refcount table is at an impossible place", e);
	if (header->snapshot_count > QCOW2_SNAPSHOTS_MAX)
		return damaged(path, "it claims too many snapshots", e);
	if (header->snapshot_count && !table_fits(header->snapshot_offset, 8, header->cluster_bits))
		return damaged(path, "its snapshot table is at an impossible place", e);
	return 0;
}

static int parse_extension(struct qcow2_header *out, uint32_t type, const uint8_t *bytes, uint32_t length,
			   const char *path, struct error *e)
{
	if (type == EXTENSION_BACKING) {
		if (length == 3 && memcmp(bytes, "raw", 3) == 0)
			out->backing_format = BLOCK_RAW;
		else if (length == 5 && memcmp(bytes, "qcow2", 5) == 0)
			out->backing_format = BLOCK_QCOW2;
		else
			return unsupported(path, "a backing file that is neither raw nor qcow2", e);
	}
	if (type == EXTENSION_BITMAPS && length >= 24) {
		out->bitmap_count = be32_at(bytes);
		out->bitmap_directory_bytes = be64_at(bytes + 8);
		out->bitmap_directory = be64_at(bytes + 16);
	}
	return 0;
}

static int parse_extensions(struct qcow2_header *out, const uint8_t *bytes, size_t size, const char *path,
			    struct error *e)
{
	uint64_t backing = be64_at(bytes + 8);
	size_t at = out->length, end = backing && backing < size ? backing : size;
	int r = 0;

	while (r == 0 && at + 8 <= end && be32_at(bytes + at)) {
		uint32_t type = be32_at(bytes + at), length = be32_at(bytes + at + 4);

		at += 8;
		if (length > end - at)
			return damaged(path, "a header extension is longer than its room", e);
		r = parse_extension(out, type, bytes + at, length, path, e);
		at += ((size_t)length + 7) & ~(size_t)7;
	}
	return r;
}

static int parse_backing(struct qcow2_header *out, const uint8_t *bytes, size_t size, const char *path,
			 struct error *e)
{
	uint64_t offset = be64_at(bytes + 8);
	uint32_t length = be32_at(bytes + 16);

	if (offset == 0)
		return 0;
	if (length > QCOW2_BACKING_MAX || !checked_span(offset, length, size))
		return damaged(path, "the name of its backing file is at an impossible place", e);
	memcpy(out->backing, bytes + offset, length);
	out->backing[length] = '\0';
	if (strlen(out->backing) != length)
		return damaged(path, "the name of its backing file has a zero byte", e);
	return 0;
}

int qcow2_header_parse(struct qcow2_header *out, const uint8_t *bytes, size_t size, const char *path,
		       struct error *e)
{
	struct qcow2_header header = {.version = be32_at(bytes + 4),
				      .cluster_bits = be32_at(bytes + 20),
				      .size = be64_at(bytes + QCOW2_AT_SIZE),
				      .l1_size = be32_at(bytes + QCOW2_AT_L1_SIZE),
				      .l1_offset = be64_at(bytes + QCOW2_AT_L1_OFFSET),
				      .reftable_offset = be64_at(bytes + QCOW2_AT_REFTABLE),
				      .reftable_clusters = be32_at(bytes + 56),
				      .snapshot_count = be32_at(bytes + 60),
				      .snapshot_offset = be64_at(bytes + 64),
				      .refcount_order = 4,
				      .length = FIXED_BYTES_V2};
	int r = 0;

	if (be32_at(bytes) != MAGIC)
		return damaged(path, "it does not begin like one", e);
	if (header.version < 2 || header.version > 3)
		return unsupported(path, "a version other than 2 and 3", e);
	if (size != qcow2_header_cluster_size(bytes))
		return damaged(path, "its clusters are not of 512 bytes to 2 MiB", e);
	if (be32_at(bytes + 32))
		return unsupported(path, "encryption", e);
	if (header.version == 3)
		r = parse_version_3(&header, bytes, size, path, e);
	if (r == 0)
		r = check_tables(&header, path, e);
	if (r == 0)
		r = parse_extensions(&header, bytes, size, path, e);
	if (r == 0)
		r = parse_backing(&header, bytes, size, path, e);
	if (r == 0)
		*out = header;
	return r;
}

static size_t put_extension(uint8_t *bytes, size_t at, uint32_t type, const char *text)
{
	size_t length = strlen(text);

	be32_set(bytes + at, type);
	be32_set(bytes + at + 4, (uint32_t)length);
	memcpy(bytes + at + 8, text, length);
	return at + 8 + ((length + 7) & ~(size_t)7);
}

static void put_fixed(const struct qcow2_header *header, uint8_t *bytes)
{
	be32_set(bytes, MAGIC);
	be32_set(bytes + 4, 3);
	be32_set(bytes + 20, header->cluster_bits);
	be64_set(bytes + QCOW2_AT_SIZE, header->size);
	be32_set(bytes + QCOW2_AT_L1_SIZE, header->l1_size);
	be64_set(bytes + QCOW2_AT_L1_OFFSET, header->l1_offset);
	be64_set(bytes + QCOW2_AT_REFTABLE, header->reftable_offset);
	be32_set(bytes + 56, header->reftable_clusters);
	be64_set(bytes + QCOW2_AT_INCOMPATIBLE, header->compression == BLOCK_ZSTD ? QCOW2_COMPRESSION : 0);
	be32_set(bytes + 96, header->refcount_order);
	be32_set(bytes + 100, QCOW2_FIXED_BYTES);
	bytes[104] = (uint8_t)header->compression;
}

int qcow2_header_make(const struct qcow2_header *header, uint8_t *bytes, size_t size)
{
	static const char *const names[] = {NULL, "raw", "qcow2"};
	size_t at = QCOW2_FIXED_BYTES, backing = strlen(header->backing);

	/* The extension, its end and the name. */
	if (at + 16 + 8 + backing > size)
		return -EINVAL;
	memset(bytes, 0, size);
	put_fixed(header, bytes);
	if (backing && header->backing_format)
		at = put_extension(bytes, at, EXTENSION_BACKING, names[header->backing_format]);
	at += 8;
	if (backing) {
		be64_set(bytes + 8, at);
		be32_set(bytes + 16, (uint32_t)backing);
		memcpy(bytes + at, header->backing, backing);
	}
	return 0;
}
