/*
 * A destination's parser of the stream: bytes as they are, or (first byte odd) payloads that get the header and the sum that
 * belong to them, so that what is behind these is reached: a byte of kind, two of length, the payload.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migrate/disks.h"
#include "migrate/pages.h"
#include "migrate/stream.h"

#define INPUT_MAX ((size_t)64 * 1024) /* a socket holds it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void speak(int fd, const uint8_t *data, size_t size)
{
	struct stream stream;

	stream_init(&stream, fd, -1);
	stream.version = STREAM_VERSION;
	stream.stall_ms = 0;
	while (size >= 3) {
		size_t length = data[1] | (size_t)data[2] << 8, whole;

		whole = length < size - 3 ? length : size - 3;
		if (stream_send_bytes(&stream, (enum stream_kind)data[0], data + 3, whole, NULL) < 0)
			break;
		data += 3 + whole;
		size -= 3 + whole;
	}
	stream_finish(&stream);
}

/* Once; a file without a name. */
static void open_disk(struct disks *disks)
{
	char path[] = "/tmp/doppel-fuzz-XXXXXX";
	const struct block_options options = {.path = path, .format = BLOCK_RAW};
	int fd;

	if (disks->count)
		return;
	fd = mkostemp(path, O_CLOEXEC);
	disks->disk[0].size = 256 * KIB + 512;
	if (fd < 0 || ftruncate(fd, (off_t)disks->disk[0].size) < 0 || block_open(&disks->disk[0].block, &options, NULL) < 0)
		abort();
	unlink(path);
	close(fd);
	disks->count = 1;
}

static void hear(int fd)
{
	static struct memory memory;
	static struct unpacker unpacker;
	struct pages_target target;
	struct pages_counts counts = {0};
	static struct disks disks;
	struct stream_frame frame;
	struct stream stream;
	struct error e;

	open_disk(&disks);
	if (!memory.count && memory_add_ram(&memory, gpa(UINT64_C(0x80000000)), 64 * KIB, "ram", NULL) < 0)
		abort();
	if (pages_target_init(&target, &memory, NULL) < 0)
		abort();
	stream_init(&stream, fd, -1);
	while (stream_receive(&stream, 0, &frame, &e) == 0)
		if (unpacker_open(&unpacker, &frame, &e) < 0)
			break;
		else if (frame.kind == STREAM_PAGES && pages_receive(&frame, &target, &counts, &e) < 0)
			break;
		else if (frame.kind == STREAM_MISSING && pages_receive_missing(&frame, &target.lacking, &e) < 0)
			break;
		else if (frame.kind == STREAM_DISK && disks_receive(&disks, &frame, &e) < 0)
			break;
	if (block_size(disks.disk[0].block) != disks.disk[0].size)
		abort();
	if (pages_set_count(&target.named) > 16 || pages_set_count(&target.filled) > pages_set_count(&target.named))
		abort();
	if (pages_set_count(&target.lacking) > 16)
		abort();
	stream_finish(&stream);
	pages_target_finish(&target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int ends[2];

	if (size == 0 || size > INPUT_MAX || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return 0;
	if (data[0] & 1)
		speak(ends[0], data + 1, size - 1);
	else if (write(ends[0], data + 1, size - 1) < 0)
		abort();
	shutdown(ends[0], SHUT_WR);
	hear(ends[1]);
	close(ends[0]);
	close(ends[1]);
	return 0;
}
