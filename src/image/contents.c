#include "image/contents.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/child.h"
#include "image/tar.h"

/* The places changed over the years; a package uses one of them. */
static const char *const modules[] = {"usr/lib/modules/", "lib/modules/"};
static const char *const kernels[] = {"boot/vmlinux-", "boot/vmlinuz-"};
static const char *const busyboxes[] = {"usr/bin/busybox", "bin/busybox"};

static const char *modules_below(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++)
		if (strncmp(path, modules[i], strlen(modules[i])) == 0)
			return path + strlen(modules[i]);
	return NULL;
}

static bool is_kernel(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++)
		if (strncmp(path, kernels[i], strlen(kernels[i])) == 0)
			return true;
	return false;
}

static bool is_busybox(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(busyboxes); i++)
		if (strcmp(path, busyboxes[i]) == 0)
			return true;
	return false;
}

static bool want(void *context, const struct tar_entry *entry)
{
	const char *path = entry->path;

	(void)context;
	return is_kernel(path) || is_busybox(path) || (modules_below(path) && module_is_file(path));
}

static int take_module(struct contents *contents, const char *below, uint8_t *bytes, size_t size)
{
	size_t length = strcspn(below, "/");

	if (length == 0 || length >= sizeof contents->release) {
		free(bytes);
		return -EBADMSG;
	}
	*(char *)mempcpy(contents->release, below, length) = '\0';
	return module_add(&contents->modules, strrchr(below, '/') + 1, bytes, size);
}

static int take(void *context, const struct tar_entry *entry, uint8_t *bytes, size_t size)
{
	struct contents *contents = context;
	const char *path = entry->path;
	bool kernel = is_kernel(path);
	uint8_t **to = kernel ? &contents->kernel : &contents->busybox;

	if (modules_below(path))
		return take_module(contents, modules_below(path), bytes, size);
	free(*to);
	*to = bytes;
	*(kernel ? &contents->kernel_size : &contents->busybox_size) = size;
	return 0;
}

struct feeding {
	struct tar *tar;
	struct contents *contents;
};

static int feed(void *context, const uint8_t *bytes, size_t size)
{
	const struct feeding *feeding = context;
	struct contents *contents = feeding->contents;

	contents->unpacked += size;
	if (contents->progress)
		contents->progress(contents->context, contents->unpacked);
	return tar_feed(feeding->tar, bytes, size);
}

int contents_read(struct contents *contents, const char *path, int keep, struct error *e)
{
	const char *const arguments[] = {"dpkg-deb", "--fsys-tarfile", path, NULL};
	struct tar *tar = tar_new(&(struct tar_visitor){.want = want, .take = take, .context = contents});
	struct feeding feeding = {.tar = tar, .contents = contents};
	struct child child = {.arguments = arguments, .keep = keep, .output = feed, .context = &feeding};
	struct error why = {.kind = ERROR_NONE};
	int r = tar ? child_run(&child, &why) : -ENOMEM;

	if (r == 0)
		r = tar_end(tar);
	tar_free(tar);
	if (r == 0)
		return 0;
	if (why.kind != ERROR_NONE)
		return error_set(e, why.kind, r, "%s", why.message);
	return error_errno(e, r, "cannot unpack %.300s", path);
}

int contents_complete(struct contents *contents, const struct image_recipe *recipe, struct error *e)
{
	int r = 0;

	if (!contents->kernel || !contents->busybox || !contents->modules.count)
		return error_set(e, ERROR_FAILED, -ENOENT, "the packages hold no %s",
				 !contents->kernel    ? "kernel"
				 : !contents->busybox ? "busybox"
						      : "kernel modules");
	for (size_t i = 0; r == 0 && recipe->modules[i]; i++)
		r = module_want(&contents->modules, recipe->modules[i], e);
	if (r == 0 && recipe->system) {
		r = module_unpack(&contents->modules);
		if (r < 0)
			return error_errno(e, r, "the kernel's modules");
	}
	return r;
}

void contents_finish(struct contents *contents)
{
	free(contents->kernel);
	free(contents->busybox);
	module_set_finish(&contents->modules);
	*contents = (struct contents){0};
}
