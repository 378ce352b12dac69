#include "image/cpio.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK 512

struct cpio {
	FILE *out;
	char *bytes;
	size_t size, written;
	uint32_t inode;
	int code;
};

/* The fields of an entry that differ from kind to kind. */
struct entry {
	const char *path;
	uint32_t mode, inode, major, minor;
	const void *bytes;
	size_t size;
};

struct cpio *cpio_new(void)
{
	struct cpio *cpio = calloc(1, sizeof *cpio);

	if (!cpio)
		return NULL;
	cpio->out = open_memstream(&cpio->bytes, &cpio->size);
	if (cpio->out)
		return cpio;
	free(cpio);
	return NULL;
}

void cpio_free(struct cpio *cpio)
{
	if (!cpio)
		return;
	if (cpio->out)
		fclose(cpio->out);
	free(cpio->bytes);
	free(cpio);
}

static void put(struct cpio *cpio, const void *bytes, size_t size)
{
	if (size > 0 && fwrite(bytes, size, 1, cpio->out) != 1)
		cpio->code = -ENOMEM;
	cpio->written += size;
}

static void pad(struct cpio *cpio, size_t alignment)
{
	static const char zeros[BLOCK];

	put(cpio, zeros, -cpio->written & (alignment - 1));
}

static void put_entry(struct cpio *cpio, const struct entry *entry)
{
	size_t name_size = strlen(entry->path) + 1;
	char header[6 + 13 * 8 + 1];
	int length;

	if (cpio->code == 0 && (name_size > PATH_MAX || entry->size > UINT32_MAX))
		cpio->code = -EFBIG;
	if (cpio->code < 0)
		return;
	/* ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
	 * */
	length = snprintf(header, sizeof header, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
			  entry->inode, entry->mode, 0U, 0U, S_ISDIR(entry->mode) ? 2U : 1U, 0U,
			  (uint32_t)entry->size, 0U, 0U, entry->major, entry->minor, (uint32_t)name_size, 0U);
	put(cpio, header, (size_t)length);
	put(cpio, entry->path, name_size);
	pad(cpio, 4);
	put(cpio, entry->bytes, entry->size);
	pad(cpio, 4);
}

void cpio_directory(struct cpio *cpio, const char *path, unsigned mode)
{
	put_entry(cpio, &(struct entry){.path = path, .mode = S_IFDIR | mode, .inode = ++cpio->inode});
}

void cpio_file(struct cpio *cpio, const char *path, unsigned mode, const void *bytes, size_t size)
{
	put_entry(cpio, &(struct entry){.path = path,
					.mode = S_IFREG | mode,
					.inode = ++cpio->inode,
					.bytes = bytes,
					.size = size});
}

void cpio_link(struct cpio *cpio, const char *path, const char *target)
{
	put_entry(cpio, &(struct entry){.path = path,
					.mode = S_IFLNK | 0777,
					.inode = ++cpio->inode,
					.bytes = target,
					.size = strlen(target)});
}

void cpio_character_device(struct cpio *cpio, const char *path, unsigned mode, unsigned major, unsigned minor)
{
	put_entry(cpio, &(struct entry){.path = path,
					.mode = S_IFCHR | mode,
					.inode = ++cpio->inode,
					.major = major,
					.minor = minor});
}

int cpio_finish(struct cpio *cpio, uint8_t **bytes, size_t *size)
{
	put_entry(cpio, &(struct entry){.path = "TRAILER!!!"});
	pad(cpio, BLOCK);
	if (fclose(cpio->out) != 0)
		cpio->code = -ENOMEM;
	cpio->out = NULL;
	if (cpio->code < 0)
		return cpio->code;
	*bytes = (uint8_t *)cpio->bytes;
	*size = cpio->size;
	cpio->bytes = NULL;
	return 0;
}
