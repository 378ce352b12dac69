#include "image/tar.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512

/* POSIX.1-1988 ustar; GNU tar uses the same places. */
struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[8];
	char user[32], group[32], major[8], minor[8], prefix[155], unused[12];
};
_Static_assert(sizeof(struct tar_header) == BLOCK, "a header fills a block");

enum { TYPE_FILE = '0', TYPE_FILE_OLD = '\0', TYPE_LONG_NAME = 'L', TYPE_LONG_LINK = 'K' };

struct tar {
	struct tar_visitor visitor;
	union {
		struct tar_header fields;
		uint8_t bytes[BLOCK];
	} header;
	size_t header_used;
	uint64_t left;    /* bytes of content still to come */
	uint64_t padding; /* and of the padding after it */
	uint8_t *content; /* where they go; NULL when nobody wants them */
	size_t content_used;
	char type;
	char path[PATH_MAX];
	bool named; /* `path` came from a long name and belongs to the next header */
	bool ended; /* the zero block was seen */
};

struct tar *tar_new(const struct tar_visitor *visitor)
{
	struct tar *tar = calloc(1, sizeof *tar);

	if (tar)
		tar->visitor = *visitor;
	return tar;
}

void tar_free(struct tar *tar)
{
	if (!tar)
		return;
	free(tar->content);
	free(tar);
}

/* Octal digits, blanks around them allowed; false for anything else, also for GNU's binary numbers. */
static bool parse_octal(const char *text, size_t size, uint64_t *out)
{
	uint64_t value = 0;
	size_t i = 0, digits = 0;

	while (i < size && text[i] == ' ')
		i++;
	for (; i < size && text[i] >= '0' && text[i] <= '7'; i++, digits++)
		value = value << 3 | (uint64_t)(text[i] - '0');
	if (digits == 0 || (i < size && text[i] != ' ' && text[i] != '\0'))
		return false;
	*out = value;
	return true;
}

/* The sum of all bytes of the header with its own field as blanks. */
static bool checksum_fits(const struct tar *tar)
{
	size_t from = offsetof(struct tar_header, checksum), to = from + sizeof tar->header.fields.checksum;
	uint64_t told, sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= from && i < to ? ' ' : tar->header.bytes[i];
	return parse_octal(tar->header.fields.checksum, to - from, &told) && told == sum;
}

static bool all_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			return false;
	return true;
}

static void join_path(struct tar *tar)
{
	const struct tar_header *fields = &tar->header.fields;
	size_t prefix = memcmp(fields->magic, "ustar", 6) == 0 ? strnlen(fields->prefix, sizeof fields->prefix)
							       : 0;
	size_t name = strnlen(fields->name, sizeof fields->name);
	char *to = tar->path;

	if (prefix > 0) {
		to = mempcpy(to, fields->prefix, prefix);
		*to++ = '/';
	}
	*(char *)mempcpy(to, fields->name, name) = '\0';
}

static const char *plain_path(const struct tar *tar)
{
	return strncmp(tar->path, "./", 2) == 0 ? tar->path + 2 : tar->path;
}

static int start_content(struct tar *tar, uint64_t size, uint64_t limit)
{
	if (size > limit)
		return -EFBIG;
	tar->content = malloc(size + 1);
	tar->content_used = 0;
	return tar->content ? 0 : -ENOMEM;
}

/* A pax header ('x', 'g') or a sparse file ('S') changes what follows in ways not known here. */
static int start_entry(struct tar *tar, uint64_t size)
{
	switch (tar->type) {
	case 'x':
	case 'g':
	case 'S':
		return -EBADMSG;
	case TYPE_LONG_NAME:
		return start_content(tar, size, sizeof tar->path - 1);
	case TYPE_LONG_LINK:
		return 0;
	}
	if (!tar->named)
		join_path(tar);
	tar->named = false;
	if ((tar->type == TYPE_FILE || tar->type == TYPE_FILE_OLD) &&
	    tar->visitor.want(tar->visitor.context, plain_path(tar)))
		return start_content(tar, size, TAR_FILE_MAX);
	return 0;
}

static int end_entry(struct tar *tar)
{
	uint8_t *content = tar->content;

	if (!content)
		return 0;
	tar->content = NULL;
	if (tar->type != TYPE_LONG_NAME)
		return tar->visitor.take(tar->visitor.context, plain_path(tar), content, tar->content_used);
	content[tar->content_used] = '\0';
	memcpy(tar->path, content, strlen((char *)content) + 1);
	tar->named = true;
	free(content);
	return 0;
}

static int read_header(struct tar *tar)
{
	uint64_t size;
	int r;

	tar->header_used = 0;
	if (all_zero(tar->header.bytes, BLOCK)) {
		tar->ended = true;
		return 0;
	}
	if (!checksum_fits(tar) || !parse_octal(tar->header.fields.size, sizeof tar->header.fields.size, &size))
		return -EBADMSG;
	tar->type = tar->header.fields.type;
	r = start_entry(tar, size);
	if (r < 0)
		return r;
	tar->left = size;
	tar->padding = -size & (BLOCK - 1);
	return size == 0 ? end_entry(tar) : 0;
}

static size_t least(size_t a, uint64_t b)
{
	return a < b ? a : (size_t)b;
}

/* Consumes at least one byte; tells how many in *used. */
static int feed_some(struct tar *tar, const uint8_t *bytes, size_t size, size_t *used)
{
	if (tar->left > 0) {
		*used = least(size, tar->left);
		if (tar->content)
			memcpy(tar->content + tar->content_used, bytes, *used);
		tar->content_used += *used;
		tar->left -= *used;
		return tar->left == 0 ? end_entry(tar) : 0;
	}
	if (tar->padding > 0) {
		*used = least(size, tar->padding);
		tar->padding -= *used;
		return 0;
	}
	*used = least(size, BLOCK - tar->header_used);
	memcpy(tar->header.bytes + tar->header_used, bytes, *used);
	tar->header_used += *used;
	return tar->header_used == BLOCK ? read_header(tar) : 0;
}

int tar_feed(struct tar *tar, const void *bytes, size_t size)
{
	const uint8_t *from = bytes;
	int r = 0;

	while (size > 0 && r == 0 && !tar->ended) {
		size_t used = 0;

		r = feed_some(tar, from, size, &used);
		from += used;
		size -= used;
	}
	return r;
}

int tar_end(const struct tar *tar)
{
	return tar->ended ? 0 : -EBADMSG;
}
