#include "block/backing.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/open.h"

/* With the slash; "" for the working directory. */
static size_t folder_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

char *backing_path(const char *path, const char *name)
{
	char *out;

	if (*name == '/')
		return strdup(name);
	return asprintf(&out, "%.*s%s", (int)folder_length(path), path, name) < 0 ? NULL : out;
}

/* Both with every link followed. */
static int check_inside(const char *path, const char *backing, struct error *e)
{
	char *folder = strndup(path, folder_length(path)), *real_folder = NULL, *real = NULL;
	size_t length;
	int r = -ENOMEM;

	if (folder) {
		real_folder = realpath(*folder ? folder : ".", NULL);
		real = real_folder ? realpath(backing, NULL) : NULL;
		r = real ? 0 : -errno;
	}
	length = real ? strlen(real_folder) : 0;
	if (r < 0)
		r = error_errno(e, r, "cannot open '%s', the backing file of '%s'", backing, path);
	else if (strncmp(real, real_folder, length) != 0 || (length > 1 && real[length] != '/'))
		r = error_set(
			e, ERROR_PERMISSION, -EACCES,
			"the backing file of '%s', '%s', lies outside of its folder; if that is what you want, say "
			"backing-anywhere",
			path, backing);
	free(folder);
	free(real_folder);
	free(real);
	return r;
}

static int open_inside(struct image **out, const char *path, const char *backing, enum block_format format,
		       const struct image_options *options, struct error *e)
{
	struct image_options below = {.format = format,
				      .read_only = true,
				      .backing_anywhere = options->backing_anywhere,
				      .direct = options->direct,
				      .no_lock = options->no_lock,
				      .depth = options->depth + 1};
	int r = options->backing_anywhere ? 0 : check_inside(path, backing, e);

	if (r == 0)
		r = open_find_format(backing, true, &below.format, e);
	return r < 0 ? r : image_open(out, backing, &below, e);
}

int backing_open(struct image **out, const char *path, const char *name, enum block_format format,
		 const struct image_options *options, struct error *e)
{
	char *backing;
	int r;

	if (options->depth >= IMAGE_DEPTH_MAX)
		return error_set(e, ERROR_FAILED, -ELOOP, "'%s': the chain of backing files is longer than %d",
				 path, IMAGE_DEPTH_MAX);
	/* "json:" and "nbd:" are no files of this host. */
	if (strchr(name, ':') && !strchr(name, '/'))
		return error_set(
			e, ERROR_FAILED, -ENOTSUP,
			"the backing file of '%s' is '%s'; only files are supported, qemu-img rebase can name one",
			path, name);
	backing = backing_path(path, name);
	if (!backing)
		return error_errno(e, -ENOMEM, "cannot open '%s'", path);
	r = open_inside(out, path, backing, format, options, e);
	free(backing);
	return r;
}
