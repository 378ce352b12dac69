/* Bytes as a qcow2 image: described, checked, repaired, opened, read, written; its own tables are all there is
 * to believe. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "block/image.h"
#include "block/qcow2_check.h"
#include "block/qcow2_open.h"

#define READS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as a file in memory. */
static int make_file(const uint8_t *data, size_t size, char path[64])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static void use(struct image *image, bool write)
{
	static uint8_t bytes[128 * 1024];
	struct iovec span = {bytes, sizeof bytes};
	uint64_t step = image->size / READS & ~(uint64_t)(BLOCK_SECTOR - 1);

	for (uint64_t i = 0; i < READS; i++) {
		uint64_t offset = i * step, left = image->size - offset;
		uint64_t length = left < sizeof bytes ? left : sizeof bytes;
		struct spans spans = {&span, 1, 0};

		/* Failing is as good as succeeding: only hurting itself is not. */
		if (image->ops->read(image, offset, spans, length) < 0)
			memset(bytes, 0, sizeof bytes);
		if (write && length &&
		    image->ops->write(image, offset, spans, length < 8192 ? length : 8192) == 0 &&
		    image->ops->flush(image) == 0 && image->ops->discard(image, offset, length) < 0)
			return;
	}
}

static void open_and_use(const char *path, bool write)
{
	struct image_options options = {
		.format = BLOCK_QCOW2, .read_only = !write, .no_backing = true, .no_lock = true};
	struct image *image;

	if (image_open(&image, path, &options, NULL) < 0)
		return;
	use(image, write);
	(void)image_close(image, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct block_description description;
	struct block_check_result result;
	char path[64];
	int fd;

	log_set_level(LOG_ERROR);
	log_set_fd(-1);
	fd = make_file(data, size, path);
	if (block_describe(path, BLOCK_QCOW2, &description, NULL) == 0) {
		open_and_use(path, false);
		if (block_check(path, BLOCK_QCOW2, false, &result, NULL) < 0)
			memset(&result, 0, sizeof result);
		open_and_use(path, true);
		if (block_check(path, BLOCK_QCOW2, true, &result, NULL) < 0)
			memset(&result, 0, sizeof result);
	}
	close(fd);
	return 0;
}
