/*
 * A virtqueue under a hostile driver: the input writes into the rings and lets the device pop, push, unpop and look at
 * events in any order. Whatever comes out of the ring lies in RAM, no more is in flight than the ring has entries, and a
 * broken queue stays broken.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/virtio/virtio.h"

#define RAM        UINT64_C(0x80000000)
#define RAM_SIZE   (64 * KIB)
#define SIZE_MAX_  64
#define OPERATIONS 4096

/* Areas close together, so that a short offset reaches them all. */
#define TABLE  RAM
#define DRIVER (RAM + 0x400)
#define DEVICE (RAM + 0x600)
#define AREAS  0x1000

struct subject {
	const uint8_t *input;
	size_t left;
	struct memory memory;
	struct virtqueue queue;
	struct virtqueue_chain chain;
	/* What was popped and not pushed, oldest first. */
	struct flight {
		uint16_t head, descriptors;
	} flights[SIZE_MAX_];
	unsigned flying;
};

static uint64_t next(struct subject *s, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size && s->left; i++, s->left--)
		value |= (uint64_t)*s->input++ << (8 * i);
	return value;
}

static void begin(struct subject *s)
{
	uint64_t choice = next(s, 1), size = next(s, 1), features = VIRTIO_F_VERSION_1;
	int r;

	features |= choice & 1 ? VIRTIO_F_RING_PACKED : 0;
	features |= choice & 2 ? VIRTIO_F_EVENT_IDX : 0;
	features |= choice & 4 ? VIRTIO_F_INDIRECT_DESC : 0;
	s->queue = (struct virtqueue){.descriptors = TABLE,
				      .driver = DRIVER,
				      .device = DEVICE,
				      .size = (uint16_t)(1 + size % SIZE_MAX_),
				      .size_max = SIZE_MAX_};
	if (choice & 8)
		s->queue.driver = next(s, 8);
	r = virtqueue_start(&s->queue, &s->memory, features, NULL);
	assert(r == 0 || r == -EINVAL);
	assert(s->queue.ready == (r == 0));
	if (choice & 16) {
		s->queue.next_available = s->queue.next_used = (uint16_t)next(s, 2);
		if (virtqueue_check_saved(&s->queue, &s->memory, features, 0, NULL) < 0)
			s->queue.ready = false;
	}
}

static void check_chain(const struct subject *s)
{
	const struct virtqueue_chain *chain = &s->chain;
	uint64_t bytes = 0;

	assert(chain->readable + chain->writable <= VIRTQUEUE_SIZE_MAX);
	for (unsigned i = 0; i < chain->readable + chain->writable; i++) {
		gpa_t address = memory_physical(&s->memory, chain->spans[i].iov_base);

		assert(chain->spans[i].iov_len > 0);
		assert(memory_host(&s->memory, address, chain->spans[i].iov_len) == chain->spans[i].iov_base);
		bytes += chain->spans[i].iov_len;
	}
	assert(bytes == chain->readable_bytes + chain->writable_bytes);
}

/* Reads and cuts what is in the chain, at places that the input chooses. */
static void use_chain(struct subject *s)
{
	uint64_t offset = next(s, 2), length = next(s, 2);
	struct iovec out[3];
	uint8_t bytes[256];
	size_t done = virtqueue_read(&s->chain, offset, bytes, sizeof bytes);
	int r = virtqueue_slice(&s->chain, true, offset, length, out, ARRAY_SIZE(out));

	assert(done <= sizeof bytes);
	assert(done == 0 || offset + done <= s->chain.readable_bytes);
	assert(r == -EINVAL || offset + length <= s->chain.writable_bytes || length == 0);
	/* The driver may have placed a buffer over the rings: that changes them as anything else could. */
	done = virtqueue_write(&s->chain, offset, bytes, 16);
	assert(done == 0 || offset + done <= s->chain.writable_bytes);
}

static void pop(struct subject *s)
{
	bool was_broken = s->queue.broken;
	struct error e = {0};
	int r = virtqueue_pop(&s->queue, &s->chain, &e);

	assert(r == 1 || r == 0 || r == -EBADMSG);
	assert(!was_broken || r == -EBADMSG);
	assert((r == -EBADMSG) == s->queue.broken);
	assert(r != -EBADMSG || e.message[0]);
	if (r != 1)
		return;
	assert(s->flying < s->queue.size);
	s->flights[s->flying++] = (struct flight){s->chain.head, s->chain.descriptors};
	check_chain(s);
	use_chain(s);
}

/* Any one in flight; its spans are forgotten by now, only what the ring needs is kept. */
static void push(struct subject *s)
{
	unsigned which = s->flying ? (unsigned)next(s, 1) % s->flying : 0;

	if (!s->flying)
		return;
	s->chain.head = s->flights[which].head;
	s->chain.descriptors = s->flights[which].descriptors;
	s->chain.readable = s->chain.writable = 0;
	virtqueue_push(&s->queue, &s->chain, (uint32_t)next(s, 4));
	s->flying--;
	memmove(&s->flights[which], &s->flights[which + 1], (s->flying - which) * sizeof s->flights[0]);
}

static void unpop(struct subject *s)
{
	if (!s->flying)
		return;
	s->flying--;
	s->chain.descriptors = s->flights[s->flying].descriptors;
	virtqueue_unpop(&s->queue, &s->chain);
}

static void poke(struct subject *s, unsigned size)
{
	uint64_t offset = next(s, 2) % (AREAS - size), value = next(s, size);
	le64_t wire = le64_put(value);

	memcpy(s->memory.regions[0].host + offset, &wire, size);
}

/* A whole descriptor, with an address that is likely in RAM. */
static void poke_descriptor(struct subject *s)
{
	uint64_t at = 16 * (next(s, 1) % 128), address = RAM + next(s, 2);
	le64_t words[2] = {le64_put(address), le64_put(next(s, 1) | next(s, 4) << 32)};

	memcpy(s->memory.regions[0].host + at, words, sizeof words);
}

static void operate(struct subject *s)
{
	uint64_t operation = next(s, 1);

	switch (operation % 10) {
	case 0:
	case 1:
	case 2:
		pop(s);
		break;
	case 3:
		if (operation & 0x80)
			virtqueue_hold(&s->queue);
		push(s);
		if (operation & 0x40)
			push(s);
		/* Never popped while it holds: a driver can not give back what it has not seen. */
		if (operation & 0x80)
			virtqueue_release(&s->queue);
		break;
	case 4:
		unpop(s);
		break;
	case 5:
		poke(s, 2);
		break;
	case 6:
		poke(s, 8);
		break;
	case 7:
		poke_descriptor(s);
		break;
	case 8:
		if (s->queue.ready)
			(void)!virtqueue_wants_interrupt(&s->queue);
		break;
	default:
		if (operation & 0x80)
			virtqueue_disable_kicks(&s->queue);
		else
			(void)!virtqueue_enable_kicks(&s->queue);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct subject s;

	memset(&s, 0, sizeof s);
	s.input = data;
	s.left = size;
	memory_init(&s.memory);
	if (memory_add_ram(&s.memory, gpa(RAM), RAM_SIZE, "ram", NULL) < 0)
		abort();
	if (memory_dirty_start(&s.memory, NULL) < 0)
		abort();
	begin(&s);
	for (unsigned i = 0; i < OPERATIONS && s.left; i++)
		operate(&s);
	memory_finish(&s.memory);
	return 0;
}
