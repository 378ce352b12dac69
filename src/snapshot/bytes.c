#include "snapshot/bytes.h"

#include <errno.h>
#include <unistd.h>

int snapshot_write_at(int fd, const void *bytes, size_t length, uint64_t offset)
{
	const uint8_t *from = bytes;

	while (length) {
		ssize_t n = pwrite(fd, from, length, (off_t)offset);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			from += n;
			offset += (uint64_t)n;
			length -= (size_t)n;
		}
	}
	return 0;
}

int snapshot_read_at(int fd, void *bytes, size_t length, uint64_t offset)
{
	uint8_t *to = bytes;

	while (length) {
		ssize_t n = pread(fd, to, length, (off_t)offset);

		if (n == 0)
			return -EBADMSG;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			to += n;
			offset += (uint64_t)n;
			length -= (size_t)n;
		}
	}
	return 0;
}
