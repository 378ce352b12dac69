/*
 * A hostile driver for any virtio device on the bench: random chains of random buffers, some of them what a driver may
 * send and some not, in random rings under random features; it resets what breaks, pauses at random, and goes on.
 * The test is that nothing happens to the monitor, and that a friendly driver finds the device well afterwards.
 */
#ifndef DOPPEL_TESTS_HOSTILE_DRIVER_H
#define DOPPEL_TESTS_HOSTILE_DRIVER_H

#include <stdio.h>

#include "base/log.h"
#include "virtio_bench.h"

#define HOSTILE_RING   32
#define HOSTILE_PIECES 12
#define HOSTILE_TABLES (BENCH_DATA + 8 * MIB) /* indirect tables, a page an entry of the ring */
#define HOSTILE_SPACE  (4 * MIB)              /* of buffers, from BENCH_DATA on */

struct hostile {
	struct virtio_bench *bench;
	unsigned queues;
	uint64_t seed;
	uint32_t longest; /* buffer, but for a few */
	/* Fills a buffer that the device will read with something that it may understand; NULL: random bytes. */
	void (*fill)(struct hostile *h, unsigned queue, uint8_t *bytes, uint32_t length);
	unsigned in_ring[BENCH_QUEUES]; /* entries in use */
	unsigned long chains, broken;
};

/* splitmix64 */
static inline uint64_t hostile_random(struct hostile *h)
{
	uint64_t z = h->seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline bool hostile_chance(struct hostile *h, unsigned per_mille)
{
	return hostile_random(h) % 1000 < per_mille;
}

/* DOPPEL_SEED or a new one, told on standard error; a million chains in the thorough form. */
static inline void hostile_init(struct hostile *h, struct virtio_bench *bench, unsigned queues)
{
	const char *seed = getenv("DOPPEL_SEED");

	/* A million broken rules need no line each. */
	log_set_level(LOG_ERROR);

	*h = (struct hostile){.bench = bench, .queues = queues, .longest = 65537};
	h->seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	fprintf(stderr, "DOPPEL_SEED=%llu\n", (unsigned long long)h->seed);
}

static inline unsigned long hostile_count(void)
{
	return getenv("DOPPEL_LONG") ? 1000000 : 20000;
}

static inline void hostile_restart(struct hostile *h)
{
	static const uint64_t common[] = {VIRTIO_F_INDIRECT_DESC, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED};
	uint64_t offered = bench_offered(h->bench), features = VIRTIO_F_VERSION_1;

	/* The kind's own features all at once, mostly; the rings' as it comes. */
	if (!hostile_chance(h, 200))
		features |= offered & UINT64_C(0xffffff);
	for (size_t i = 0; i < ARRAY_SIZE(common); i++)
		features |= hostile_random(h) & 1 ? common[i] : 0;
	assert_true(bench_negotiate(h->bench, features & offered));
	for (unsigned i = 0; i < h->queues; i++) {
		(void)bench_queue(h->bench, i, HOSTILE_RING);
		h->in_ring[i] = 0;
	}
	bench_driver_ok(h->bench);
}

static inline uint64_t hostile_address(struct hostile *h)
{
	uint64_t choice = hostile_random(h) % 1000;

	if (choice < 985)
		return BENCH_DATA + hostile_random(h) % HOSTILE_SPACE;
	if (choice < 990)
		return BENCH_RAM + BENCH_RAM_SIZE - hostile_random(h) % 64;
	if (choice < 995)
		return UINT64_MAX - hostile_random(h) % 4096;
	return hostile_random(h);
}

static inline uint32_t hostile_length(struct hostile *h)
{
	static const uint32_t usual[] = {0, 1, 2, 4, 8, 12, 16, 20, 24, 44, 64, 128, 512, 1526, 4096, 65536};
	uint64_t choice = hostile_random(h);
	uint32_t length = usual[choice / 1000 % ARRAY_SIZE(usual)] + (choice & 8 ? 1 : 0);

	if (choice % 1000 < 995)
		return length < h->longest ? length : h->longest;
	return (uint32_t)(choice >> 32);
}

static inline void hostile_fill(struct hostile *h, unsigned queue, const struct piece *p)
{
	uint32_t length = p->length < 256 ? p->length : 256;
	uint8_t *bytes = length ? memory_host(&h->bench->memory, gpa(p->address), length) : NULL;

	/* Only where buffers are: the driver's own rings stay what they are. */
	if (!bytes || p->address < BENCH_DATA || p->address + length > BENCH_DATA + HOSTILE_SPACE + 65537)
		return;
	if (h->fill && !hostile_chance(h, 100)) {
		h->fill(h, queue, bytes, length);
		return;
	}
	for (uint32_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)hostile_random(h);
}

/* Parts to read come first, unless the driver feels like breaking that rule. */
static inline unsigned hostile_pieces(struct hostile *h, unsigned queue, struct piece *pieces)
{
	unsigned count = 1 + (unsigned)(hostile_random(h) % HOSTILE_PIECES);
	unsigned readable = (unsigned)(hostile_random(h) % (count + 1));

	for (unsigned i = 0; i < count; i++) {
		pieces[i] = (struct piece){hostile_address(h), hostile_length(h), i < readable ? 0 : RING_WRITE};
		if (hostile_chance(h, 2))
			pieces[i].flags = (uint16_t)(hostile_random(h) & 7);
		if (i < readable)
			hostile_fill(h, queue, &pieces[i]);
	}
	return count;
}

static inline void hostile_collect(struct hostile *h, unsigned queue)
{
	uint16_t id = 0;
	uint32_t length;

	while (ring_used(&h->bench->rings[queue], &id, &length))
		h->in_ring[queue] -= h->bench->rings[queue].taken[id];
}

static inline void hostile_add(struct hostile *h, unsigned queue)
{
	struct ring *ring = &h->bench->rings[queue];
	struct piece pieces[HOSTILE_PIECES];
	unsigned count = hostile_pieces(h, queue, pieces);

	hostile_collect(h, queue);
	if (hostile_chance(h, virtio_has(h->bench->virtio, VIRTIO_F_INDIRECT_DESC) ? 300 : 5)) {
		/* Its page is the chain's alone while the device has it. */
		pieces[0] = ring_table(ring, HOSTILE_TABLES + 4096 * (hostile_random(h) % 64), pieces, count);
		count = 1;
	}
	if (h->in_ring[queue] + count > HOSTILE_RING)
		return;
	h->in_ring[queue] += count;
	ring_add(ring, pieces, count);
	h->chains++;
}

/* Overwrites a word of the ring itself; what came out of it is not looked at any more. */
static inline void hostile_corrupt(struct hostile *h, unsigned queue)
{
	const struct ring *ring = &h->bench->rings[queue];
	uint64_t areas[] = {ring->table, ring->driver, ring->device};

	ring_put16(ring, areas[hostile_random(h) % 3] + hostile_random(h) % 256 * 2, (uint16_t)hostile_random(h));
	bench_kick(h->bench, queue);
	bench_settle(h->bench);
	hostile_restart(h);
}

static inline void hostile_step(struct hostile *h)
{
	unsigned queue = (unsigned)(hostile_random(h) % h->queues);

	hostile_add(h, queue);
	if (hostile_chance(h, 300))
		bench_kick(h->bench, queue);
	if (hostile_chance(h, 50))
		bench_settle(h->bench);
	if (hostile_chance(h, 3))
		hostile_corrupt(h, queue);
	if (hostile_chance(h, 3)) {
		device_pause(&h->bench->virtio->device);
		device_resume(&h->bench->virtio->device);
	}
	if (reg_get(h->bench, REG_STATUS) & VIRTIO_NEEDS_RESET) {
		h->broken++;
		hostile_restart(h);
	}
}

static inline void hostile_run(struct hostile *h, unsigned long count)
{
	hostile_restart(h);
	/* A ring that nothing comes out of (a receive queue, a driver's own mistake) is made anew at times. */
	for (unsigned long steps = 0; h->chains < count; steps++) {
		hostile_step(h);
		if (steps % 500 == 499)
			hostile_restart(h);
	}
	bench_settle(h->bench);
	/* What waits in the rings of a device that breaks is lost, but enough of it was looked at. */
	if (atomic_load(&h->bench->virtio->statistics.buffers) < count / 4)
		fail_msg("the device took %llu buffers of %lu",
			 (unsigned long long)atomic_load(&h->bench->virtio->statistics.buffers), count);
}

#endif
