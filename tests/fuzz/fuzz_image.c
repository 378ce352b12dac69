/* What images are made from: tar streams in pieces of any size, control files, public keys and user data. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "image/dpkg.h"
#include "image/seed.h"
#include "image/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool want(void *context, const struct tar_entry *entry)
{
	(void)context;
	return strlen(entry->path) % 2 == 0;
}

static int take(void *context, const struct tar_entry *entry, uint8_t *bytes, size_t size)
{
	size_t *seen = context;

	*seen += strlen(entry->path) + size + (size > 0 ? bytes[size - 1] : 0);
	free(bytes);
	return 0;
}

static int place(void *context, const struct tar_entry *entry)
{
	size_t *seen = context;

	*seen += strlen(entry->path) + strlen(entry->target) + entry->mode;
	if (*entry->path == '/')
		abort();
	return 0;
}

static void read_tar(const uint8_t *data, size_t size)
{
	size_t seen = 0, piece = size > 0 ? (size_t)data[0] * 4 + 1 : 1;
	struct tar *tar =
		tar_new(&(struct tar_visitor){.want = want, .take = take, .place = place, .context = &seen});
	int r = tar ? 0 : -1;

	for (size_t at = 1; r == 0 && at < size; at += piece)
		r = tar_feed(tar, data + at, size - at < piece ? size - at : piece);
	tar_free(tar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	const char *value;
	size_t length;

	if (!text)
		return 0;
	read_tar(data, size);
	*(char *)mempcpy(text, data, size) = '\0';
	if (dpkg_field(text, "Package", &value, &length) && (value < text || value + length > text + size))
		abort();
	(void)seed_is_key(text, size);
	(void)seed_is_user_data(text, size);
	free(text);
	return 0;
}
