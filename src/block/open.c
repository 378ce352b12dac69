#include "block/open.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "block/overlay.h"

static const struct {
	const char *suffix;
	enum block_format format;
} suffixes[] = {
	{".qcow2", BLOCK_QCOW2},
	{".raw", BLOCK_RAW},
	{".img", BLOCK_RAW},
};

enum block_format open_format_of_name(const char *path)
{
	size_t length = strlen(path);

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		size_t suffix = strlen(suffixes[i].suffix);

		if (length > suffix && strcasecmp(path + length - suffix, suffixes[i].suffix) == 0)
			return suffixes[i].format;
	}
	return BLOCK_FORMAT_AUTO;
}

static int format_of_bytes(const char *path, enum block_format *format, struct error *e)
{
	static const uint8_t magic[4] = {'Q', 'F', 'I', 0xfb};
	uint8_t bytes[4];
	struct store *store;
	int r = store_open(&store, path, STORE_READ_ONLY, false, e);

	if (r < 0)
		return r;
	r = store_read(store, 0, bytes, sizeof bytes);
	store_close(store);
	if (r < 0)
		return error_errno(e, r, "cannot read '%s'", path);
	*format = memcmp(bytes, magic, sizeof magic) == 0 ? BLOCK_QCOW2 : BLOCK_RAW;
	return 0;
}

static const char *const format_names[] = {"auto", "raw", "qcow2"};

/* A guest that owns a raw disk can write a qcow2 header on it, naming any file as its backing: so the bytes
 * alone are not believed. */
int open_find_format(const char *path, bool trusted, enum block_format *format, struct error *e)
{
	enum block_format named = open_format_of_name(path), found = BLOCK_RAW;
	int r;

	if (*format != BLOCK_FORMAT_AUTO)
		return 0;
	r = format_of_bytes(path, &found, e);
	if (r < 0)
		return r;
	if (named != BLOCK_FORMAT_AUTO && named != found)
		return error_set(
			e, ERROR_USAGE, -EINVAL,
			"'%s' is %s by its name but %s by its contents; say which it is: --image-format, or "
			"format=%s or format=%s behind the file of --disk",
			path, format_names[named], format_names[found], format_names[named], format_names[found]);
	if (named == BLOCK_FORMAT_AUTO && !trusted)
		return error_set(
			e, ERROR_USAGE, -EINVAL,
			"the name of '%s' does not tell its format, as .qcow2, .raw or .img would; say it: "
			"--image-format, or format=raw or format=qcow2 behind the file of --disk",
			path);
	*format = found;
	return 0;
}

int open_stack(struct image **out, const struct block_options *options, struct error *e)
{
	struct image_options image = {.format = options->format,
				      .read_only = options->read_only || options->overlay || options->incoming,
				      .backing_anywhere = options->backing_anywhere,
				      .direct = options->direct,
				      .incoming = options->incoming && !options->overlay};
	struct image *base = NULL;
	int r;

	if (options->read_only && options->overlay)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "'%s' can not be both read-only and under an overlay; give one", options->path);
	r = open_find_format(options->path, options->read_only || options->overlay, &image.format, e);
	if (r == 0)
		r = image_open(&base, options->path, &image, e);
	if (r == 0 && options->overlay) {
		image.incoming = options->incoming;
		r = overlay_open(out, base, image.format, options->overlay_path, &image, e);
		if (r < 0)
			(void)image_close(base, NULL);
		return r;
	}
	if (r == 0)
		*out = base;
	return r;
}
