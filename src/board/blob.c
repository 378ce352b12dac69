#include "board/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/huge.h"

/* A file's bytes are a mapping of their own. */
static void release(struct blob *blob)
{
	if (!blob->has_file)
		free(blob->bytes);
	else if (blob->bytes)
		munmap(blob->bytes, blob->length);
	blob->bytes = NULL;
}

void blob_finish(struct blob *blob)
{
	release(blob);
	if (blob->has_file)
		close(blob->file);
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

static int64_t changed_ns(const struct stat *status)
{
	return (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;
}

/* The first bytes of the file, into fresh memory for all of it. */
static int read_first(struct blob *blob, uint64_t count, struct error *e)
{
	uint8_t *bytes = huge_map(blob->length);
	int r;

	if (!bytes)
		return error_errno(e, -ENOMEM, "cannot be read");
	/* The faults of small pages would take longer than the copying. */
	(void)madvise(bytes, blob->length, MADV_HUGEPAGE);
	/* Processes of back ends would keep it for as long as they live. */
	(void)madvise(bytes, blob->length, MADV_DONTFORK);
	r = file_read_at(blob->file, bytes, count < blob->length ? count : blob->length, 0);
	if (r < 0) {
		munmap(bytes, blob->length);
		return error_errno(e, r == -EBADMSG ? -ESTALE : r, "cannot be read");
	}
	blob->bytes = bytes;
	return 0;
}

int blob_open(struct blob *out, const char *path, uint64_t limit, struct error *e)
{
	char size[TEXT_OF_SIZE_ROOM], most[TEXT_OF_SIZE_ROOM];
	struct blob blob = {.has_file = true};
	struct stat status;
	uint64_t length = 0;
	int r = blob_measure(&length, path, e);

	if (r < 0)
		return r;
	if (length > limit)
		return error_set(e, ERROR_USAGE, -EFBIG,
				 "is %s large, and at most %s of it can be loaded; raise --memory, or strip it",
				 text_of_size(size, length), text_of_size(most, limit));
	blob.file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (blob.file < 0)
		return error_errno(e, -errno, "cannot be opened");
	if (fstat(blob.file, &status) < 0) {
		r = error_errno(e, -errno, "cannot be opened");
		blob_finish(&blob);
		return r;
	}
	blob.length = length;
	blob.changed_ns = changed_ns(&status);
	*out = blob;
	return 0;
}

int blob_read(struct blob *out, const char *path, uint64_t limit, struct error *e)
{
	struct blob blob;
	int r = blob_open(&blob, path, limit, e);

	if (r < 0)
		return r;
	r = read_first(&blob, blob.length, e);
	if (r < 0)
		blob_finish(&blob);
	else
		*out = blob;
	return r;
}

void blob_rest(struct blob *blob)
{
	if (!blob->has_file)
		return;
	release(blob);
}

int blob_check(const struct blob *blob, struct error *e)
{
	struct stat status;

	if (blob->bytes || !blob->has_file)
		return 0;
	if (fstat(blob->file, &status) < 0)
		return error_errno(e, -errno, "a boot file");
	if (changed_ns(&status) != blob->changed_ns || (uint64_t)status.st_size != blob->length)
		return error_set(e, ERROR_STATE, -ESTALE,
				 "a boot file was changed while the machine ran; end the machine and start it again");
	return 0;
}

static int wake(struct blob *blob, uint64_t count, struct error *e)
{
	int r = blob_check(blob, e);

	if (r < 0 || blob->bytes || !blob->has_file)
		return r;
	return read_first(blob, count, e);
}

int blob_wake(struct blob *blob, struct error *e)
{
	return wake(blob, blob->length, e);
}

int blob_glance(struct blob *blob, struct error *e)
{
	return wake(blob, BLOB_GLANCE, e);
}

int blob_place(const struct blob *blob, uint64_t offset, uint64_t length, struct memory *memory, gpa_t to)
{
	void *host;
	int r;

	if (!length)
		return 0;
	if (blob->bytes)
		return memory_write(memory, to, blob->bytes + offset, length);
	host = memory_host(memory, to, length);
	if (!host)
		return -EFAULT;
	r = file_read_at(blob->file, host, length, offset);
	memory_mark_dirty(memory, to, length);
	return r;
}
