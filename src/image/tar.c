#include "image/tar.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/zeros.h"

#define BLOCK 512

/* POSIX.1-1988 ustar; GNU tar uses the same places. */
struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[8];
	char user[32], group[32], major[8], minor[8], prefix[155], unused[12];
};
_Static_assert(sizeof(struct tar_header) == BLOCK, "a header fills a block");

/* Further values of a header's type. */
enum { TYPE_FILE_OLD = '\0', TYPE_FILE_DENSE = '7', TYPE_LONG_NAME = 'L', TYPE_LONG_LINK = 'K' };

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
	char path[PATH_MAX], target[PATH_MAX];
	bool named, linked; /* `path`, `target` came from a long one and belong to the next header */
	struct tar_entry entry;
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

/* Cuts off the slashes at the end. */
static char *plain(char *path)
{
	size_t length = strlen(path);

	while (length > 0 && path[length - 1] == '/')
		path[--length] = '\0';
	if (strcmp(path, ".") == 0)
		return path + 1;
	if (strncmp(path, "./", 2) == 0)
		path += 2;
	return path + strspn(path, "/");
}

static bool describe(struct tar *tar)
{
	const struct tar_header *fields = &tar->header.fields;
	uint64_t mode, user, group, modified;

	if (!parse_octal(fields->mode, sizeof fields->mode, &mode) ||
	    !parse_octal(fields->uid, sizeof fields->uid, &user) ||
	    !parse_octal(fields->gid, sizeof fields->gid, &group) ||
	    !parse_octal(fields->mtime, sizeof fields->mtime, &modified))
		return false;
	if (!tar->named)
		join_path(tar);
	if (!tar->linked)
		*(char *)mempcpy(tar->target, fields->link, strnlen(fields->link, sizeof fields->link)) = '\0';
	tar->named = tar->linked = false;
	tar->entry = (struct tar_entry){
		.path = plain(tar->path),
		.target = tar->type == TAR_HARD_LINK ? plain(tar->target) : tar->target,
		.type = tar->type == TYPE_FILE_OLD || tar->type == TYPE_FILE_DENSE ? TAR_FILE
										   : (enum tar_type)tar->type,
		.mode = (uint32_t)mode & 07777,
		.user = (uint32_t)user,
		.group = (uint32_t)group,
		.modified = (int64_t)modified,
	};
	return true;
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
	case TYPE_LONG_LINK:
		return start_content(tar, size, PATH_MAX - 1);
	}
	if (!describe(tar))
		return -EBADMSG;
	if (tar->entry.type != TAR_FILE)
		return tar->visitor.place ? tar->visitor.place(tar->visitor.context, &tar->entry) : 0;
	return tar->visitor.want(tar->visitor.context, &tar->entry) ? start_content(tar, size, TAR_FILE_MAX) : 0;
}

static int end_entry(struct tar *tar)
{
	bool name = tar->type == TYPE_LONG_NAME;
	uint8_t *content = tar->content;

	if (!content)
		return 0;
	tar->content = NULL;
	if (!name && tar->type != TYPE_LONG_LINK)
		return tar->visitor.take(tar->visitor.context, &tar->entry, content, tar->content_used);
	content[tar->content_used] = '\0';
	memcpy(name ? tar->path : tar->target, content, strlen((char *)content) + 1);
	*(name ? &tar->named : &tar->linked) = true;
	free(content);
	return 0;
}

static int read_header(struct tar *tar)
{
	uint64_t size;
	int r;

	tar->header_used = 0;
	if (zeros_only(tar->header.bytes, BLOCK)) {
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
