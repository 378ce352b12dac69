/*
 * A hostile driver for one kind of virtio device: split rings in a small RAM, chains whose shape and contents the input
 * chooses, resets, pauses and configuration writes. The worker is real; after each step it has done all that was asked of
 * it, so a run depends on the input alone but for the order in which the host's side completes.
 */
#ifndef DOPPEL_TESTS_FUZZ_VIRTIO_KIND_H
#define DOPPEL_TESTS_FUZZ_VIRTIO_KIND_H

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "device/virtio/virtio.h"

#define RAM        UINT64_C(0x80000000)
#define RAM_SIZE   (1 * MIB)
#define WINDOW     UINT64_C(0x10001000)
#define OPERATIONS 512
#define RING_SIZE  16
#define RING_BYTES 0x1000
#define RINGS_MAX  VIRTIO_QUEUES_MAX
#define DATA       (RINGS_MAX * RING_BYTES) /* offset in RAM of what chains point to */
#define DATA_SIZE  (RAM_SIZE - DATA)

struct kind_platform {
	const uint8_t *input;
	size_t left;
	struct memory memory;
	struct bus bus;
	struct virtio *virtio;
	uint16_t available[RINGS_MAX], descriptor[RINGS_MAX];
	uint32_t data; /* next free byte of the data, going round */
};

/* One for all runs: a thread is slow to make. */
static struct worker *kind_worker;

static uint64_t next(struct kind_platform *p, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size && p->left; i++, p->left--)
		value |= (uint64_t)*p->input++ << (8 * i);
	return value;
}

static void kind_wire(void *opaque, unsigned number, bool level)
{
	(void)opaque;
	(void)level;
	assert(number == 1);
}

static void kind_nothing(void *arg)
{
	(void)arg;
}

static void kind_settle(void)
{
	worker_call(kind_worker, kind_nothing, NULL);
	worker_call(kind_worker, kind_nothing, NULL);
}

static void kind_put(struct kind_platform *p, uint64_t offset, uint64_t value)
{
	int r = bus_write(&p->bus, gpa(WINDOW + offset), 4, (uint32_t)value);

	assert(r == 0);
}

static uint32_t kind_get(struct kind_platform *p, uint64_t offset)
{
	uint64_t value = 0;
	int r = bus_read(&p->bus, gpa(WINDOW + offset), 4, &value);

	assert(r == 0);
	return (uint32_t)value;
}

/* As a friendly driver begins, with the features that the input leaves of those offered. */
static void kind_set_up(struct kind_platform *p)
{
	uint64_t features = virtio_offered(p->virtio) & ~(next(p, 2) | VIRTIO_F_RING_PACKED);

	memset(p->memory.regions[0].host, 0, DATA);
	memset(p->available, 0, sizeof p->available);
	memset(p->descriptor, 0, sizeof p->descriptor);
	for (unsigned status = 0; status < 4; status = status * 2 + 1)
		kind_put(p, 0x70, status);
	for (unsigned word = 0; word < 2; word++) {
		kind_put(p, 0x24, word);
		kind_put(p, 0x20, features >> (32 * word));
	}
	kind_put(p, 0x70, 11);
	for (unsigned queue = 0; queue < p->virtio->queue_count; queue++) {
		kind_put(p, 0x30, queue);
		kind_put(p, 0x38, RING_SIZE);
		for (unsigned area = 0; area < 3; area++)
			kind_put(p, 0x80 + 16 * area, RAM + queue * RING_BYTES + 0x400 * area);
		kind_put(p, 0x44, 1);
	}
	kind_put(p, 0x70, 15);
}

/* `make` makes the device on kind_worker; 0 or an error. */
static void kind_begin(struct kind_platform *p, const uint8_t *input, size_t size, int (*make)(struct kind_platform *p))
{
	const struct irq_line line = {.set = kind_wire, .controller = p, .number = 1};
	int failed = kind_worker ? 0 : worker_new(&kind_worker, "fuzz", NULL);

	memset(p, 0, sizeof *p);
	p->input = input;
	p->left = size;
	memory_init(&p->memory);
	bus_init(&p->bus);
	failed |= memory_add_ram(&p->memory, gpa(RAM), RAM_SIZE, "ram", NULL);
	failed |= make(p);
	if (failed)
		abort();
	virtio_mmio_place(p->virtio, gpa(WINDOW), line, &p->memory);
	failed = device_attach(&p->virtio->device, &p->bus, NULL);
	assert(!failed);
	device_reset(&p->virtio->device);
	kind_set_up(p);
}

static void kind_end(struct kind_platform *p)
{
	device_free(&p->virtio->device);
	memory_finish(&p->memory);
}

/* One piece of a chain in the next descriptor of its ring; its bytes in RAM. */
static uint8_t *kind_piece(struct kind_platform *p, unsigned queue, uint32_t length, bool writable, bool last)
{
	unsigned at = p->descriptor[queue]++ % RING_SIZE, following = (at + 1) % RING_SIZE;
	uint64_t flags = (writable ? 2u : 0u) | (last ? 0u : 1u);
	uint32_t place = p->data + length <= DATA_SIZE ? p->data : 0;
	const le64_t words[2] = {le64_put(RAM + DATA + place), le64_put(length | flags << 32 | (uint64_t)following << 48)};

	p->data = place + (length < 4096 ? length : 4096);
	memcpy(p->memory.regions[0].host + queue * RING_BYTES + 16 * at, words, sizeof words);
	return p->memory.regions[0].host + DATA + place;
}

/* Makes the chain that begins at descriptor `head` available. */
static void kind_publish(struct kind_platform *p, unsigned queue, uint16_t head)
{
	uint8_t *ring = p->memory.regions[0].host + queue * RING_BYTES + 0x400;
	le16_t wire = le16_put(head % RING_SIZE), index;

	memcpy(ring + 4 + 2 * (p->available[queue]++ % RING_SIZE), &wire, sizeof wire);
	index = le16_put(p->available[queue]);
	memcpy(ring + 2, &index, sizeof index);
	kind_put(p, 0x50, queue);
}

/* A chain: a header of `size` bytes (not when it is 0), then up to three pieces, those to be read with bytes from the
 * input. What breaks a ring is another target's business: here it would end every run early. */
static void kind_offer(struct kind_platform *p, unsigned queue, const void *header, uint32_t size)
{
	uint16_t head = p->descriptor[queue];
	unsigned shape = (unsigned)next(p, 1), count = shape & 3;

	if (size)
		memcpy(kind_piece(p, queue, size, false, count == 0), header, size);
	for (unsigned i = 0; i < count; i++) {
		uint32_t length = (uint32_t)next(p, 2);
		uint8_t *bytes = kind_piece(p, queue, length, i >= (shape >> 2 & 3), i + 1 == count);

		for (uint32_t j = 0; j < length && j < (shape >> 5) * 4; j++)
			bytes[j] = (uint8_t)next(p, 1);
	}
	if (size || count)
		kind_publish(p, queue, head);
}

/* What befalls any kind. */
static void kind_befall(struct kind_platform *p)
{
	struct device *device = &p->virtio->device;

	switch (next(p, 1) % 4) {
	case 0:
		kind_set_up(p);
		break;
	case 1:
		device_pause(device);
		device_resume(device);
		break;
	case 2:
		kind_put(p, 0x100 + 4 * (next(p, 1) % 16), next(p, 4));
		break;
	default:
		kind_settle();
		memset(p->memory.regions[0].host + next(p, 2) % DATA, (int)next(p, 1), 8);
		break;
	}
}

static void kind_check(struct kind_platform *p)
{
	uint32_t status;

	kind_settle();
	status = kind_get(p, 0x70);
	assert((status & ~0xcfu) == 0);
	assert(kind_get(p, 0x60) <= 3);
}

#endif
