#include "board/blob.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"

void blob_finish(struct blob *blob)
{
	free(blob->bytes);
	*blob = (struct blob){0};
}

const char *text_of_size(char text[TEXT_OF_SIZE_ROOM], uint64_t bytes)
{
	bool small = bytes < MIB;
	uint64_t unit = small ? KIB : MIB;

	snprintf(text, TEXT_OF_SIZE_ROOM, "%llu %s", (unsigned long long)(bytes / unit + (bytes % unit != 0)),
		 small ? "KiB" : "MiB");
	return text;
}

int blob_measure(uint64_t *length, const char *path, struct error *e)
{
	struct stat status;

	if (stat(path, &status) < 0)
		return error_errno(e, -errno, "cannot be opened");
	if (S_ISDIR(status.st_mode))
		return error_set(e, ERROR_USAGE, -EISDIR, "is a directory; name the file in it");
	if (!S_ISREG(status.st_mode))
		return error_set(e, ERROR_USAGE, -EINVAL, "is not a regular file; copy its content to one");
	if (status.st_size <= 0)
		return error_set(e, ERROR_USAGE, -EINVAL, "is empty; obtain it again");
	*length = (uint64_t)status.st_size;
	return 0;
}

int blob_read(struct blob *out, const char *path, uint64_t limit, struct error *e)
{
	char size[TEXT_OF_SIZE_ROOM], most[TEXT_OF_SIZE_ROOM];
	struct blob blob;
	uint64_t length = 0;
	int r = blob_measure(&length, path, e);

	if (r < 0)
		return r;
	if (length > limit)
		return error_set(e, ERROR_USAGE, -EFBIG,
				 "is %s large, and at most %s of it can be loaded; raise --memory, or strip it",
				 text_of_size(size, length), text_of_size(most, limit));
	r = file_read(path, limit, &blob.bytes, &blob.length, e);
	if (r == 0)
		*out = blob;
	return r;
}
