#include "image/iso9660.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SECTOR    2048
#define CONTENT_MAX (64 * MIB)
#define NAME_LONGEST 64

/* Where things are. The path tables, one for each byte order, name the one directory. */
enum { SECTOR_PRIMARY = 16, SECTOR_END, SECTOR_TABLE_LITTLE, SECTOR_TABLE_BIG, SECTOR_ROOT, SECTOR_FILES };

/* Places in the primary volume descriptor (8.4). */
enum {
	PVD_SYSTEM = 8,
	PVD_VOLUME = 40,
	PVD_SECTORS = 80,
	PVD_SET_SIZE = 120,
	PVD_SEQUENCE = 124,
	PVD_SECTOR_SIZE = 128,
	PVD_TABLE_SIZE = 132,
	PVD_TABLE_LITTLE = 140,
	PVD_TABLE_BIG = 148,
	PVD_ROOT = 156,
	PVD_TEXTS = 190,
	PVD_TIMES = 813,
	PVD_STRUCTURE = 881,
};

#define TABLE_SIZE  10 /* of the one record in a path table */
#define RECORD_SIZE 33 /* of a directory record before its name */

struct root {
	uint8_t *at; /* where the next record goes */
};

static void put_little(uint8_t *at, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static void put_big(uint8_t *at, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[bytes - 1 - i] = (uint8_t)(value >> (8 * i));
}

/* Numbers are there in both byte orders (7.2.3, 7.3.3). */
static void put_both(uint8_t *at, uint32_t value, unsigned bytes)
{
	put_little(at, value, bytes);
	put_big(at + bytes, value, bytes);
}

/* A directory record (9.1) without what Rock Ridge adds. Returns its size, which is even. */
static size_t put_record(uint8_t *at, const void *name, size_t name_size, uint32_t sector, uint32_t size,
			 bool directory)
{
	size_t length = RECORD_SIZE + name_size + (name_size % 2 == 0);

	at[0] = (uint8_t)length;
	put_both(at + 2, sector, 4);
	put_both(at + 10, size, 4);
	at[18] = 70; /* 1 January 1970, which none of the zeroes after it contradicts */
	at[19] = at[20] = 1;
	at[25] = directory ? 2 : 0;
	put_both(at + 28, 1, 2);
	at[32] = (uint8_t)name_size;
	memcpy(at + RECORD_SIZE, name, name_size);
	return length;
}

/* PX (4.1.1): mode, links, user, group. */
static size_t put_attributes(uint8_t *at, uint32_t mode, uint32_t links)
{
	memcpy(at, "PX\x24\x01", 4);
	put_both(at + 4, mode, 4);
	put_both(at + 12, links, 4);
	return 36;
}

static size_t put_name(uint8_t *at, const char *name)
{
	size_t length = strlen(name);

	memcpy(at, "NM", 2);
	at[2] = (uint8_t)(5 + length);
	at[3] = 1;
	memcpy(at + 5, name, length);
	return 5 + length;
}

/* Ends a record that began at the cursor and has `size` bytes. */
static void end_record(struct root *root, size_t size)
{
	size += size % 2;
	root->at[0] = (uint8_t)size;
	root->at += size;
}

/* The directory itself and its parent, which is the same; the first says that there is Rock Ridge (SP, 5.3 of
 * SUSP). */
static void put_self(struct root *root)
{
	size_t size = put_record(root->at, "\0", 1, SECTOR_ROOT, SECTOR, true);

	memcpy(root->at + size, "SP\x07\x01\xbe\xef\0", 7);
	size += 7;
	size += put_attributes(root->at + size, S_IFDIR | 0755, 2);
	end_record(root, size);
	size = put_record(root->at, "\1", 1, SECTOR_ROOT, SECTOR, true);
	size += put_attributes(root->at + size, S_IFDIR | 0755, 2);
	end_record(root, size);
}

static void put_file(struct root *root, const struct iso9660_file *file, unsigned index, uint32_t sector)
{
	char plain[16];
	size_t size;

	/* The name for those who know no Rock Ridge. */
	snprintf(plain, sizeof plain, "FILE%u.;1", index % 10);
	size = put_record(root->at, plain, strlen(plain), sector, (uint32_t)file->size, false);
	size += put_attributes(root->at + size, S_IFREG | 0644, 1);
	size += put_name(root->at + size, file->name);
	end_record(root, size);
}

static void put_descriptor(uint8_t *at, const char *label, uint32_t sectors)
{
	memcpy(at, "\1CD001\1", 7);
	memset(at + PVD_SYSTEM, ' ', 64);
	memcpy(at + PVD_VOLUME, label, strlen(label));
	put_both(at + PVD_SECTORS, sectors, 4);
	put_both(at + PVD_SET_SIZE, 1, 2);
	put_both(at + PVD_SEQUENCE, 1, 2);
	put_both(at + PVD_SECTOR_SIZE, SECTOR, 2);
	put_both(at + PVD_TABLE_SIZE, TABLE_SIZE, 4);
	put_little(at + PVD_TABLE_LITTLE, SECTOR_TABLE_LITTLE, 4);
	put_big(at + PVD_TABLE_BIG, SECTOR_TABLE_BIG, 4);
	put_record(at + PVD_ROOT, "\0", 1, SECTOR_ROOT, SECTOR, true);
	memset(at + PVD_TEXTS, ' ', PVD_TIMES - PVD_TEXTS);
	/* Times that are not given: digits of zero, and a byte of the zone (8.4.26.1). */
	for (unsigned i = 0; i < 4; i++)
		memset(at + PVD_TIMES + 17 * (size_t)i, '0', 16);
	at[PVD_STRUCTURE] = 1;
}

static void put_tables(uint8_t *image)
{
	uint8_t *little = image + (size_t)SECTOR * SECTOR_TABLE_LITTLE, *big = image + (size_t)SECTOR * SECTOR_TABLE_BIG;

	little[0] = big[0] = 1;
	put_little(little + 2, SECTOR_ROOT, 4);
	put_big(big + 2, SECTOR_ROOT, 4);
	put_little(little + 6, 1, 2);
	put_big(big + 6, 1, 2);
}

static int measure(const struct iso9660_file *files, size_t count, size_t *sectors)
{
	*sectors = SECTOR_FILES;
	if (count > ISO9660_FILES_MAX)
		return -E2BIG;
	for (size_t i = 0; i < count; i++) {
		if (strlen(files[i].name) > NAME_LONGEST)
			return -ENAMETOOLONG;
		if (files[i].size > CONTENT_MAX)
			return -EFBIG;
		*sectors += (files[i].size + SECTOR - 1) / SECTOR;
	}
	return 0;
}

int iso9660_make(const char *label, const struct iso9660_file *files, size_t count, uint8_t **bytes, size_t *size)
{
	size_t sectors;
	uint8_t *image;
	struct root root;
	uint32_t next = SECTOR_FILES;
	int r = measure(files, count, &sectors);

	if (r < 0)
		return r;
	image = calloc(sectors, SECTOR);
	if (!image)
		return -ENOMEM;
	put_descriptor(image + (size_t)SECTOR * SECTOR_PRIMARY, label, (uint32_t)sectors);
	memcpy(image + (size_t)SECTOR * SECTOR_END, "\xff" "CD001\1", 7);
	put_tables(image);
	root = (struct root){.at = image + (size_t)SECTOR * SECTOR_ROOT};
	put_self(&root);
	for (size_t i = 0; i < count; i++) {
		put_file(&root, &files[i], (unsigned)i, next);
		if (files[i].size > 0)
			memcpy(image + (size_t)SECTOR * next, files[i].bytes, files[i].size);
		next += (uint32_t)((files[i].size + SECTOR - 1) / SECTOR);
	}
	*bytes = image;
	*size = sectors * SECTOR;
	return 0;
}
