/* A disk under a hostile driver: requests of any type, place and shape. No more is in flight than was offered, and a pause
 * finds everything answered. */
#include "virtio_kind.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "device/virtio/blk.h"

#define DISK (256 * KIB)

static int make(struct kind_platform *p)
{
	static char path[32];
	static int file = -1;
	struct block_options options = {.path = path, .format = BLOCK_RAW, .engine = BLOCK_ENGINE_THREADS};
	const struct virtio_blk_options more = {.queues = 2};
	struct block *block;

	if (file < 0)
		file = memfd_create("disk", MFD_CLOEXEC);
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	options.read_only = next(p, 1) & 1;
	if (ftruncate(file, DISK) < 0 || block_open(&block, &options, NULL) < 0)
		return -1;
	return virtio_blk_new(&p->virtio, "disk0", kind_worker, block, &more, NULL);
}

/* A request as drivers make it, but for its numbers. */
static void ask(struct kind_platform *p, unsigned queue)
{
	static const uint32_t types[] = {0, 1, 4, 8, 11, 13, 0, 1};
	uint32_t type = (uint32_t)next(p, 1), length = 512 * ((uint32_t)next(p, 1) % 16);
	uint16_t head = p->descriptor[queue];
	struct {
		le32_t type, reserved;
		le64_t sector;
	} header = {.type = le32_put(types[type % ARRAY_SIZE(types)]), .sector = le64_put(next(p, 1) * 4)};
	bool ranges = type % 8 == 4 || type % 8 == 5;
	uint8_t *bytes;

	memcpy(kind_piece(p, queue, sizeof header, false, false), &header, sizeof header);
	if (ranges)
		length = 16 * (1 + length % 3);
	bytes = kind_piece(p, queue, length, type % 8 == 0 || type % 8 == 3, false);
	for (uint32_t i = 0; ranges && i < length; i++)
		bytes[i] = i % 8 < 2 ? (uint8_t)next(p, 1) : 0;
	kind_piece(p, queue, 1, true, true);
	kind_publish(p, queue, head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct kind_platform p;
	struct block_statistics statistics;

	kind_begin(&p, data, size, make);
	for (unsigned i = 0; i < OPERATIONS && p.left; i++) {
		uint64_t operation = next(&p, 1);
		unsigned queue = (unsigned)(operation >> 7);

		if (operation % 8 < 4)
			ask(&p, queue);
		else if (operation % 8 < 7)
			kind_offer(&p, queue, NULL, 0);
		else
			kind_befall(&p);
		kind_check(&p);
	}
	device_pause(&p.virtio->device);
	block_get_statistics(virtio_blk_block(p.virtio), &statistics);
	assert(statistics.in_flight == 0);
	kind_end(&p);
	return 0;
}
