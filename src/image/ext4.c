#include "image/ext4.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/child.h"

struct ext4 {
	ext2_filsys fs;
};

/* Where a name is, or is to be. */
struct place {
	ext2_ino_t parent, inode; /* inode 0: nothing has the name yet */
	const char *name;
};

static const struct {
	errcode_t code;
	int value;
} codes[] = {
	{EXT2_ET_BLOCK_ALLOC_FAIL, -ENOSPC}, {EXT2_ET_INODE_ALLOC_FAIL, -ENOSPC},
	{EXT2_ET_NO_DIRECTORY, -ENOTDIR},    {EXT2_ET_FILE_NOT_FOUND, -ENOENT},
	{EXT2_ET_SYMLINK_LOOP, -ELOOP},      {EXT2_ET_NO_MEMORY, -ENOMEM},
	{EXT2_ET_FILE_TOO_BIG, -EFBIG},
};

/* libext2fs returns errno values, small, and codes of its own. */
static int result_of(errcode_t code)
{
	if (code == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].code == code)
			return codes[i].value;
	return code > 0 && code < 4096 ? -(int)code : -EIO;
}

static int make_file(const char *path, uint64_t size, struct error *e)
{
	int fd, r;

	if (unlink(path) < 0 && errno != ENOENT)
		return error_errno(e, -errno, "%.300s", path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return error_errno(e, -errno, "%.300s", path);
	r = ftruncate(fd, (off_t)size) < 0 ? error_errno(e, -errno, "%.300s", path) : 0;
	close(fd);
	return r;
}

/* mke2fs is in /usr/sbin, which not every user has in PATH. */
static const char *maker(void)
{
	static const char *const places[] = {"/usr/sbin/mke2fs", "/sbin/mke2fs"};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return "mke2fs";
}

static int make_empty(const char *path, const char *label, int keep, struct error *e)
{
	/* Its owner is not whoever runs this; one block in a hundred is enough for root alone. */
	const char *const arguments[] = {maker(), "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1",
					 "-L",    label, "-E", "root_owner=0:0", path, NULL};
	struct child child = {.arguments = arguments, .keep = keep};
	struct error why = {.kind = ERROR_NONE};
	int r = child_run(&child, &why);

	if (r == -ENOENT)
		return error_set(e, ERROR_NOT_FOUND, r,
				 "there is no mke2fs here to make a disk with; install the package e2fsprogs");
	return r < 0 ? error_set(e, why.kind, r, "%s", why.message) : 0;
}

int ext4_new(struct ext4 **out, const char *path, uint64_t size, const char *label, int keep, struct error *e)
{
	struct ext4 *ext4 = calloc(1, sizeof *ext4);
	int r = ext4 ? make_file(path, size, e) : error_errno(e, -ENOMEM, "%.300s", path);

	if (r == 0)
		r = make_empty(path, label, keep, e);
	if (r == 0) {
		errcode_t code = ext2fs_open2(path, NULL, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager,
					      &ext4->fs);

		if (code == 0)
			code = ext2fs_read_bitmaps(ext4->fs);
		if (code != 0)
			r = error_errno(e, result_of(code), "%.300s", path);
	}
	if (r < 0)
		ext4_free(ext4);
	else
		*out = ext4;
	return r;
}

int ext4_finish(struct ext4 *ext4, struct error *e)
{
	errcode_t code = ext2fs_close_free(&ext4->fs);

	free(ext4);
	return code ? error_errno(e, result_of(code), "cannot write the disk") : 0;
}

void ext4_free(struct ext4 *ext4)
{
	if (!ext4)
		return;
	if (ext4->fs) {
		ext4->fs->flags &= ~EXT2_FLAG_DIRTY;
		ext2fs_free(ext4->fs);
	}
	free(ext4);
}

static int find_place(struct ext4 *ext4, const char *path, struct place *place)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 0;
	char parent[PATH_MAX];
	errcode_t code;

	place->name = slash ? slash + 1 : path;
	if (length >= sizeof parent || strlen(place->name) > EXT2_NAME_LEN)
		return -ENAMETOOLONG;
	if (*place->name == '\0' || strcmp(place->name, ".") == 0 || strcmp(place->name, "..") == 0)
		return -EINVAL;
	*(char *)mempcpy(parent, path, length) = '\0';
	place->parent = EXT2_ROOT_INO;
	if (length > 0) {
		code = ext2fs_namei_follow(ext4->fs, EXT2_ROOT_INO, EXT2_ROOT_INO, parent, &place->parent);
		if (code)
			return result_of(code);
	}
	code = ext2fs_lookup(ext4->fs, place->parent, place->name, (int)strlen(place->name), NULL, &place->inode);
	if (code == EXT2_ET_FILE_NOT_FOUND)
		place->inode = 0;
	return code && code != EXT2_ET_FILE_NOT_FOUND ? result_of(code) : 0;
}

/* Fills all but the kind of file, its size and its blocks. */
static void set_attributes(struct ext2_inode *inode, const struct ext4_attributes *attributes)
{
	uint32_t modified = (uint32_t)attributes->modified;

	inode->i_mode = (uint16_t)((inode->i_mode & S_IFMT) | (attributes->mode & 07777));
	inode->i_uid = (uint16_t)attributes->user;
	inode->i_uid_high = (uint16_t)(attributes->user >> 16);
	inode->i_gid = (uint16_t)attributes->group;
	inode->i_gid_high = (uint16_t)(attributes->group >> 16);
	inode->i_atime = inode->i_ctime = inode->i_mtime = modified;
}

static int change_attributes(struct ext4 *ext4, ext2_ino_t number, const struct ext4_attributes *attributes)
{
	struct ext2_inode inode;
	errcode_t code = ext2fs_read_inode(ext4->fs, number, &inode);

	if (code)
		return result_of(code);
	set_attributes(&inode, attributes);
	return result_of(ext2fs_write_inode(ext4->fs, number, &inode));
}

/* After an entry was made, directories may have grown by a block. */
static int enter(struct ext4 *ext4, const struct place *place, ext2_ino_t inode, int kind)
{
	errcode_t code = ext2fs_link(ext4->fs, place->parent, place->name, inode, kind);

	if (code == EXT2_ET_DIR_NO_SPACE) {
		code = ext2fs_expand_dir(ext4->fs, place->parent);
		if (!code)
			code = ext2fs_link(ext4->fs, place->parent, place->name, inode, kind);
	}
	return result_of(code);
}

/* Takes a name away, and what it names when that was its last. */
static int remove_entry(struct ext4 *ext4, struct place *place)
{
	struct ext2_inode inode;
	errcode_t code = ext2fs_read_inode(ext4->fs, place->inode, &inode);

	if (!code && LINUX_S_ISDIR(inode.i_mode))
		return -EISDIR;
	if (!code)
		code = ext2fs_unlink(ext4->fs, place->parent, place->name, place->inode, 0);
	if (code)
		return result_of(code);
	if (--inode.i_links_count == 0) {
		inode.i_dtime = inode.i_mtime ? inode.i_mtime : 1;
		if (ext2fs_inode_has_valid_blocks2(ext4->fs, &inode))
			code = ext2fs_punch(ext4->fs, place->inode, &inode, NULL, 0, ~(blk64_t)0);
		ext2fs_inode_alloc_stats2(ext4->fs, place->inode, -1, 0);
	}
	if (!code)
		code = ext2fs_write_inode(ext4->fs, place->inode, &inode);
	place->inode = 0;
	return result_of(code);
}

static bool is_directory(struct ext4 *ext4, ext2_ino_t number)
{
	return ext2fs_check_directory(ext4->fs, number) == 0;
}

/* Whether the entry is a link that leads to a directory. */
static bool leads_to_directory(struct ext4 *ext4, const struct place *place)
{
	ext2_ino_t end;

	return ext2fs_follow_link(ext4->fs, EXT2_ROOT_INO, place->parent, place->inode, &end) == 0 &&
	       is_directory(ext4, end);
}

int ext4_directory(struct ext4 *ext4, const char *path, const struct ext4_attributes *attributes)
{
	struct place place;
	errcode_t code;
	int r;

	if (!*path)
		return change_attributes(ext4, EXT2_ROOT_INO, attributes);
	r = find_place(ext4, path, &place);
	if (r < 0)
		return r;
	if (place.inode)
		return leads_to_directory(ext4, &place) ? 0 : -ENOTDIR;
	code = ext2fs_mkdir(ext4->fs, place.parent, 0, place.name);
	if (code == EXT2_ET_DIR_NO_SPACE) {
		code = ext2fs_expand_dir(ext4->fs, place.parent);
		if (!code)
			code = ext2fs_mkdir(ext4->fs, place.parent, 0, place.name);
	}
	r = code ? result_of(code) : find_place(ext4, path, &place);
	return r < 0 ? r : change_attributes(ext4, place.inode, attributes);
}

/* In one run of blocks where there is room for it. */
static int write_content(struct ext4 *ext4, ext2_ino_t number, struct ext2_inode *inode, const void *bytes,
			 size_t size)
{
	blk64_t blocks = (size + ext4->fs->blocksize - 1) / ext4->fs->blocksize;
	errcode_t code = ext2fs_fallocate(ext4->fs, EXT2_FALLOCATE_FORCE_INIT | EXT2_FALLOCATE_INIT_BEYOND_EOF,
					  number, inode, ~(blk64_t)0, 0, blocks);
	ext2_file_t file = NULL;

	if (!code)
		code = ext2fs_file_open2(ext4->fs, number, inode, EXT2_FILE_WRITE, &file);
	if (code)
		return result_of(code);
	for (size_t at = 0; !code && at < size;) {
		size_t left = size - at;
		unsigned written = 0;

		code = ext2fs_file_write(file, (const char *)bytes + at, left < MIB ? (unsigned)left : (unsigned)MIB,
					 &written);
		at += written;
		if (!code && written == 0)
			code = EIO;
	}
	if (code)
		(void)ext2fs_file_close(file);
	else
		code = ext2fs_file_close(file);
	return result_of(code);
}

static int make_inode(struct ext4 *ext4, ext2_ino_t parent, const struct ext4_attributes *attributes,
		      ext2_ino_t *number, struct ext2_inode *inode)
{
	ext2_extent_handle_t handle = NULL;
	errcode_t code = ext2fs_new_inode(ext4->fs, parent, LINUX_S_IFREG, 0, number);

	if (code)
		return result_of(code);
	ext2fs_inode_alloc_stats2(ext4->fs, *number, 1, 0);
	*inode = (struct ext2_inode){.i_mode = LINUX_S_IFREG, .i_links_count = 1, .i_flags = EXT4_EXTENTS_FL};
	set_attributes(inode, attributes);
	/* Opening the extents of an inode that has none makes their root. */
	code = ext2fs_extent_open2(ext4->fs, *number, inode, &handle);
	if (code)
		return result_of(code);
	ext2fs_extent_free(handle);
	return result_of(ext2fs_write_new_inode(ext4->fs, *number, inode));
}

int ext4_file(struct ext4 *ext4, const char *path, const struct ext4_attributes *attributes, const void *bytes,
	      size_t size)
{
	struct ext2_inode inode;
	struct place place;
	ext2_ino_t number = 0;
	int r = find_place(ext4, path, &place);

	if (r == 0 && place.inode)
		r = remove_entry(ext4, &place);
	if (r == 0)
		r = make_inode(ext4, place.parent, attributes, &number, &inode);
	if (r == 0)
		r = enter(ext4, &place, number, EXT2_FT_REG_FILE);
	return r < 0 || size == 0 ? r : write_content(ext4, number, &inode, bytes, size);
}

int ext4_link(struct ext4 *ext4, const char *path, const struct ext4_attributes *attributes, const char *target)
{
	struct ext4_attributes all = *attributes;
	struct place place;
	errcode_t code;
	int r = find_place(ext4, path, &place);

	if (r == 0 && place.inode)
		r = remove_entry(ext4, &place);
	if (r < 0)
		return r;
	code = ext2fs_symlink(ext4->fs, place.parent, 0, place.name, target);
	if (code == EXT2_ET_DIR_NO_SPACE) {
		code = ext2fs_expand_dir(ext4->fs, place.parent);
		if (!code)
			code = ext2fs_symlink(ext4->fs, place.parent, 0, place.name, target);
	}
	r = code ? result_of(code) : find_place(ext4, path, &place);
	all.mode = 0777;
	return r < 0 ? r : change_attributes(ext4, place.inode, &all);
}

int ext4_hard_link(struct ext4 *ext4, const char *path, const char *target)
{
	struct place place, from;
	struct ext2_inode inode;
	int r = find_place(ext4, target, &from);

	if (r == 0 && from.inode == 0)
		r = -ENOENT;
	if (r == 0)
		r = find_place(ext4, path, &place);
	if (r == 0 && place.inode == from.inode)
		return 0;
	if (r == 0 && place.inode)
		r = remove_entry(ext4, &place);
	if (r == 0)
		r = result_of(ext2fs_read_inode(ext4->fs, from.inode, &inode));
	if (r == 0 && !LINUX_S_ISREG(inode.i_mode))
		r = -EISDIR;
	if (r == 0)
		r = enter(ext4, &place, from.inode, EXT2_FT_REG_FILE);
	if (r < 0)
		return r;
	inode.i_links_count++;
	return result_of(ext2fs_write_inode(ext4->fs, from.inode, &inode));
}
