#include "cli/machine_image.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/machine_disk.h"
#include "cli/progress.h"
#include "image/copy.h"

const char *const machine_image_files[MACHINE_IMAGE_FILES] = {"kernel", "initramfs", "append"};

/* Files of an image in the cache are replaced, never written to. `from` may be NULL. */
static int take_file(const char *from, const char *folder, const char *file, struct error *e)
{
	char path[PATH_MAX];
	int r = from ? file_path(folder, file, path, e) : 0;

	if (r < 0 || !from || access(path, F_OK) == 0 || link(from, path) == 0)
		return r;
	return copy_file(from, path, NULL, NULL, e);
}

static int take_disk(const struct image *image, const char *folder, struct error *e)
{
	char path[PATH_MAX];
	int r = image->disk ? file_path(folder, image->disk_qcow2 ? "disk.qcow2" : "disk.raw", path, e) : 0;

	if (r < 0 || !image->disk || access(path, F_OK) == 0)
		return r;
	return progress_copy_disk(image, path, e);
}

int machine_image_make(const struct image *image, const char *folder, struct error *e)
{
	const char *append = image->append ? image->append : "";
	char path[PATH_MAX];
	int r = take_disk(image, folder, e);

	if (r == 0)
		r = take_file(image->initrd, folder, "initramfs", e);
	if (r == 0)
		r = take_file(image->kernel, folder, "kernel", e);
	if (r == 0)
		r = file_path(folder, "append", path, e);
	return r < 0 ? r : file_write(path, append, strlen(append), 0600, e);
}

/* A copy of a text, or NULL for NULL. */
static bool copy_text(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return *to || !from;
}

int machine_image_find(const char *folder, struct image *out, struct error *e)
{
	struct image_import found;
	struct image image = {.kernel = NULL};
	char path[PATH_MAX];
	bool copied;
	int r = file_path(folder, "append", path, e);

	if (r < 0)
		return r;
	if (access(path, F_OK) < 0)
		return errno == ENOENT ? 0 : error_errno(e, -errno, "%s", path);
	r = image_import_folder(folder, &found, e);
	if (r < 0)
		return r;
	copied = copy_text(&image.kernel, found.kernel) && copy_text(&image.initrd, found.initrd) &&
		 copy_text(&image.disk, found.disk) &&
		 copy_text(&image.append, found.append && *found.append ? found.append : NULL);
	image.disk_qcow2 = found.disk && machine_disk_format(found.disk) == BLOCK_QCOW2;
	image_import_finish(&found);
	if (copied) {
		*out = image;
		return 1;
	}
	image_finish(&image);
	return error_errno(e, -ENOMEM, "%s", folder);
}
