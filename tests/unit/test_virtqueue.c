/* Virtqueues against a driver of the tests' own, in both layouts: *state says which. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "device/virtio/virtio.h"
#include "ring_driver.h"

#define BASE  UINT64_C(0x80000000)
#define RAM   (4 * MIB)
#define RING  BASE
#define TABLE (BASE + 0x40000) /* indirect tables */
#define DATA  (BASE + 0x80000)
#define SIZE  16

#define ALL_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX)

static struct memory memory;
static struct virtqueue queue;
static struct virtqueue_chain chain;
static struct ring ring;
static const bool layouts[] = {false, true}; /* packed */

static uint64_t feature_bits(bool packed, uint64_t features)
{
	return features | (packed ? VIRTIO_F_RING_PACKED : 0);
}

static void start(bool packed, uint16_t size, uint64_t features)
{
	struct error e;

	ring_init(&ring, &memory, packed, features & VIRTIO_F_EVENT_IDX, size, RING);
	queue = (struct virtqueue){.descriptors = ring.table,
				   .driver = ring.driver,
				   .device = ring.device,
				   .size = size,
				   .size_max = VIRTQUEUE_SIZE_MAX};
	if (virtqueue_start(&queue, &memory, feature_bits(packed, features), &e) < 0)
		fail_msg("start: %s", e.message);
}

static int setup(void **state)
{
	memory_init(&memory);
	if (memory_add_ram(&memory, gpa(BASE), RAM, "ram", NULL) < 0)
		return -1;
	start(*(const bool *)*state, SIZE, ALL_FEATURES);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	memory_finish(&memory);
	return 0;
}

static uint8_t *data(uint64_t offset)
{
	return memory_host(&memory, gpa(DATA + offset), 1);
}

static void pop(void)
{
	struct error e;
	int r = virtqueue_pop(&queue, &chain, &e);

	if (r != 1)
		fail_msg("pop: %d, %s", r, r < 0 ? e.message : "empty");
}

static void assert_empty(void)
{
	assert_int_equal(virtqueue_pop(&queue, &chain, NULL), 0);
}

static void assert_used(uint16_t id, uint32_t length)
{
	uint16_t got_id = 0;
	uint32_t got_length = 0;

	assert_true(ring_used(&ring, &got_id, &got_length));
	assert_int_equal(got_id, id);
	assert_int_equal(got_length, length);
}

/* Chains of 1 to 5 buffers, three and more times around the ring, each with other contents. */
static void buffers_go_there_and_back(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 100; round++) {
		unsigned count = 1 + round % 5, readable = round % (count + 1);
		uint64_t read_bytes = 0, write_bytes = 0;
		struct piece pieces[5];
		uint8_t byte;
		uint16_t id;

		assert_empty();
		for (unsigned i = 0; i < count; i++) {
			pieces[i] = (struct piece){DATA + 4096 * i, 100 + i, i < readable ? 0 : RING_WRITE};
			*(i < readable ? &read_bytes : &write_bytes) += 100 + i;
			*data(4096 * i) = (uint8_t)(round + i);
		}
		id = ring_add(&ring, pieces, count);
		pop();
		assert_int_equal(chain.readable, readable);
		assert_int_equal(chain.writable, count - readable);
		assert_int_equal(chain.readable_bytes, read_bytes);
		assert_int_equal(chain.writable_bytes, write_bytes);
		for (unsigned i = 0; i < count; i++)
			assert_ptr_equal(chain.spans[i].iov_base, data(4096 * i));
		if (readable) {
			assert_int_equal(virtqueue_read(&chain, 0, &byte, 1), 1);
			assert_int_equal(byte, (uint8_t)round);
		}
		assert_empty();
		virtqueue_push(&queue, &chain, round);
		assert_used(id, round);
	}
}

static void a_whole_ring_of_buffers_in_any_order(void **state)
{
	static struct virtqueue_chain chains[SIZE];
	const struct piece piece = {DATA, 8, RING_WRITE};
	uint16_t ids[SIZE];

	(void)state;
	for (unsigned round = 0; round < 9; round++) {
		for (unsigned i = 0; i < SIZE; i++)
			ids[i] = ring_add(&ring, &piece, 1);
		for (unsigned i = 0; i < SIZE; i++)
			assert_int_equal(virtqueue_pop(&queue, &chains[i], NULL), 1);
		assert_int_equal(virtqueue_pop(&queue, &chain, NULL), 0);
		for (unsigned i = 0; i < SIZE; i++)
			virtqueue_push(&queue, &chains[i * 5 % SIZE], i);
		for (unsigned i = 0; i < SIZE; i++)
			assert_used(ids[i * 5 % SIZE], i);
	}
}

static void indirect_tables(void **state)
{
	struct piece pieces[40], table;
	uint16_t id;

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		pieces[i] = (struct piece){DATA + 64 * i, 64, i < 20 ? 0 : RING_WRITE};
	/* At an address that suits no alignment, and longer than the ring. */
	table = ring_table(&ring, TABLE, pieces, 40);
	id = ring_add(&ring, &table, 1);
	pop();
	assert_int_equal(chain.readable, 20);
	assert_int_equal(chain.writable, 20);
	assert_ptr_equal(chain.spans[39].iov_base, data(64 * 39));
	virtqueue_push(&queue, &chain, 7);
	assert_used(id, 7);
	/* At the end of a chain. */
	memmove(data(0x10000) + 3, memory_host(&memory, gpa(TABLE), 640), 640);
	pieces[1] = (struct piece){DATA + 0x10003, 640, RING_INDIRECT};
	id = ring_add(&ring, pieces, 2);
	pop();
	assert_int_equal(chain.readable, 21);
	assert_int_equal(chain.writable, 20);
	virtqueue_push(&queue, &chain, 0);
	assert_used(id, 0);
}

static void a_buffer_is_put_back(void **state)
{
	struct piece pieces[3] = {{DATA, 1, 0}, {DATA, 2, 0}, {DATA, 3, RING_WRITE}};

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		uint16_t id = ring_add(&ring, pieces, 3);

		pop();
		virtqueue_unpop(&queue, &chain);
		pop();
		assert_int_equal(chain.readable_bytes, 3);
		assert_empty();
		virtqueue_push(&queue, &chain, 3);
		assert_used(id, 3);
	}
}

/* What the standard says, with positions that never wrap: an interrupt when the entry that was asked for is used. */
static void interrupts_where_they_are_asked_for(void **state)
{
	const struct piece piece = {DATA, 8, RING_WRITE};
	unsigned seed = 1;

	(void)state;
	assert_false(virtqueue_wants_interrupt(&queue));
	for (unsigned round = 0; round < 2000; round++) {
		unsigned count, asked;

		seed = seed * 1103515245 + 12345;
		count = 1 + (seed >> 16) % (SIZE - 1);
		asked = (seed >> 24) % SIZE;
		ring_interrupt_after(&ring, asked);
		for (unsigned i = 0; i < count; i++) {
			ring_add(&ring, &piece, 1);
			pop();
			virtqueue_push(&queue, &chain, 0);
		}
		/* The first time nothing is known about what came before. */
		assert_int_equal(virtqueue_wants_interrupt(&queue), round == 0 || asked < count);
		assert_false(virtqueue_wants_interrupt(&queue));
		for (unsigned i = 0; i < count; i++)
			assert_true(ring_used(&ring, &(uint16_t){0}, &(uint32_t){0}));
	}
}

static void interrupts_on_and_off(void **state)
{
	const struct piece piece = {DATA, 8, RING_WRITE};

	start(*(const bool *)*state, SIZE, VIRTIO_F_VERSION_1);
	for (unsigned i = 0; i < 50; i++) {
		ring_interrupts(&ring, i % 3 != 0);
		ring_add(&ring, &piece, 1);
		pop();
		virtqueue_push(&queue, &chain, 0);
		assert_int_equal(virtqueue_wants_interrupt(&queue), i % 3 != 0);
		assert_true(ring_used(&ring, &(uint16_t){0}, &(uint32_t){0}));
	}
}

/* Where the device asks for its next kick, and that it looks once more after asking. */
static void kicks_are_asked_for(void **state)
{
	bool packed = *(const bool *)*state;
	const struct piece piece = {DATA, 8, 0};

	for (unsigned i = 0; i < 3 * SIZE; i++) {
		uint32_t at = packed ? i % SIZE | (i / SIZE % 2 ? 0 : 0x8000) | 2u << 16 : i;

		assert_false(virtqueue_enable_kicks(&queue));
		if (packed)
			assert_int_equal(ring_get32(&ring, ring.device), at);
		else
			assert_int_equal(ring_get16(&ring, ring.device + 4 + 8 * SIZE), at);
		ring_add(&ring, &piece, 1);
		assert_true(virtqueue_enable_kicks(&queue));
		pop();
		virtqueue_push(&queue, &chain, 0);
		assert_true(ring_used(&ring, &(uint16_t){0}, &(uint32_t){0}));
	}
	start(packed, SIZE, VIRTIO_F_VERSION_1);
	virtqueue_disable_kicks(&queue);
	assert_int_equal(packed ? ring_get32(&ring, ring.device) >> 16 : ring_get16(&ring, ring.device), 1);
	assert_false(virtqueue_enable_kicks(&queue));
	assert_int_equal(packed ? ring_get32(&ring, ring.device) >> 16 : ring_get16(&ring, ring.device), 0);
}

static void spans_are_cut_and_copied(void **state)
{
	struct piece pieces[4] = {{DATA, 10, 0}, {DATA + 100, 20, 0}, {DATA + 200, 5, RING_WRITE},
				  {DATA + 300, 50, RING_WRITE}};
	struct iovec out[2];
	uint8_t bytes[64];

	(void)state;
	for (unsigned i = 0; i < 400; i++)
		*data(i) = (uint8_t)i;
	ring_add(&ring, pieces, 4);
	pop();
	assert_int_equal(virtqueue_read(&chain, 5, bytes, sizeof bytes), 25);
	assert_int_equal(bytes[4], 9);
	assert_int_equal(bytes[5], 100);
	assert_int_equal(virtqueue_read(&chain, 30, bytes, 1), 0);
	assert_int_equal(virtqueue_read(&chain, UINT64_MAX, bytes, 1), 0);
	memset(bytes, 0xaa, sizeof bytes);
	assert_int_equal(virtqueue_write(&chain, 4, bytes, 10), 10);
	assert_int_equal(*data(203), 203);
	assert_int_equal(*data(204), 0xaa);
	assert_int_equal(*data(205), 205);
	assert_int_equal(*data(308), 0xaa);
	assert_int_equal(*data(309), (uint8_t)309);
	assert_int_equal(virtqueue_slice(&chain, false, 9, 2, out, 2), 2);
	assert_ptr_equal(out[0].iov_base, data(9));
	assert_int_equal(out[0].iov_len, 1);
	assert_ptr_equal(out[1].iov_base, data(100));
	assert_int_equal(virtqueue_slice(&chain, false, 9, 2, out, 1), -EINVAL);
	assert_int_equal(virtqueue_slice(&chain, true, 50, 5, out, 2), 1);
	assert_ptr_equal(out[0].iov_base, data(345));
	assert_int_equal(virtqueue_slice(&chain, true, 50, 6, out, 2), -EINVAL);
	assert_int_equal(virtqueue_slice(&chain, true, 55, 0, out, 2), 0);
	assert_int_equal(virtqueue_slice(&chain, true, UINT64_MAX, 1, out, 2), -EINVAL);
}

static bool is_dirty(const uint64_t *bitmap, uint64_t address)
{
	uint64_t page = (address - BASE) >> GUEST_PAGE_SHIFT;

	return bitmap[page / 64] >> (page % 64) & 1;
}

static void pushed_bytes_are_dirty(void **state)
{
	struct piece pieces[3] = {{DATA, 10, 0}, {DATA + 0x10000, 0x1800, RING_WRITE}, {DATA + 0x20000, 8, RING_WRITE}};
	bool packed = *(const bool *)*state;
	uint64_t bitmap[RAM / GUEST_PAGE_SIZE / 64];

	assert_int_equal(memory_dirty_start(&memory, NULL), 0);
	ring_add(&ring, pieces, 3);
	pop();
	virtqueue_push(&queue, &chain, 0x1001);
	memory_dirty_collect(&memory, 0, bitmap);
	assert_false(is_dirty(bitmap, DATA));
	assert_true(is_dirty(bitmap, DATA + 0x10000));
	assert_true(is_dirty(bitmap, DATA + 0x11000));
	assert_false(is_dirty(bitmap, DATA + 0x20000));
	assert_true(is_dirty(bitmap, packed ? ring.table : ring.device));
	assert_false(is_dirty(bitmap, packed ? ring.driver : ring.table));
}

static void impossible_rings_are_refused(void **state)
{
	static const struct {
		uint64_t table, driver, device;
		unsigned size;
	} bad[] = {
		{0, 0, 0, 0},
		{0, 0, 0, 2048},
		{8, 0, 0, SIZE},
		{0, 1, 0, SIZE},
		{0, 0, 2, SIZE},
		{RAM, 0, 0, SIZE},
		{0, RAM, 0, SIZE},
		{0, 0, RAM, SIZE},
		{RAM - 16, 0, 0, SIZE},
		{-BASE, 0, 0, SIZE},
		{-BASE - 16, 0, 0, SIZE},
	};
	bool packed = *(const bool *)*state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct virtqueue other = {.descriptors = BASE + bad[i].table,
					  .driver = BASE + 0x10000 + bad[i].driver,
					  .device = BASE + 0x20000 + bad[i].device,
					  .size = (uint16_t)bad[i].size,
					  .size_max = VIRTQUEUE_SIZE_MAX};
		struct error e = {0};

		if (virtqueue_start(&other, &memory, feature_bits(packed, ALL_FEATURES), &e) != -EINVAL)
			fail_msg("ring %zu was accepted", i);
		assert_true(e.message[0] != '\0');
		assert_false(other.ready);
		assert_int_equal(virtqueue_pop(&other, &chain, NULL), 0);
	}
	queue.size = 12;
	assert_int_equal(virtqueue_check(&queue, &memory, feature_bits(packed, 0), NULL), packed ? 0 : -EINVAL);
}

static void assert_broken(const char *what)
{
	struct error e = {0};
	int r = virtqueue_pop(&queue, &chain, &e);

	if (r != -EBADMSG)
		fail_msg("%s: pop says %d", what, r);
	assert_true(e.message[0] != '\0');
	assert_true(queue.broken);
	assert_int_equal(virtqueue_pop(&queue, &chain, &e), -EBADMSG);
	assert_false(virtqueue_enable_kicks(&queue));
}

static void hostile_buffers(void **state)
{
	static const struct {
		const char *what;
		struct piece pieces[2];
		unsigned count;
	} bad[] = {
		{"below RAM", {{0, 1, 0}}, 1},
		{"across the end of RAM", {{BASE + RAM - 1, 2, 0}}, 1},
		{"behind RAM", {{BASE + RAM, 1, RING_WRITE}}, 1},
		{"address that overflows", {{UINT64_MAX, 2, 0}}, 1},
		{"length that overflows", {{DATA, UINT32_MAX, 0}}, 1},
		{"to read after to write", {{DATA, 1, RING_WRITE}, {DATA, 1, 0}}, 2},
		{"table of no entries", {{TABLE, 0, RING_INDIRECT}}, 1},
		{"table of half an entry", {{TABLE, 24, RING_INDIRECT}}, 1},
		{"table too long", {{TABLE, 16 * (VIRTQUEUE_SIZE_MAX + 1), RING_INDIRECT}}, 1},
		{"table outside RAM", {{BASE + RAM - 16, 32, RING_INDIRECT}}, 1},
		{"table that goes on", {{TABLE, 16, RING_INDIRECT}, {DATA, 1, 0}}, 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		start(*(const bool *)*state, SIZE, ALL_FEATURES);
		ring_add(&ring, bad[i].pieces, bad[i].count);
		assert_broken(bad[i].what);
	}
}

static void hostile_tables(void **state)
{
	const struct piece inner[2] = {{DATA, 1, 0}, {TABLE, 32, RING_INDIRECT}};
	const struct piece outside[2] = {{DATA, 1, 0}, {BASE + RAM, 1, 0}};
	bool packed = *(const bool *)*state;
	struct piece table;

	table = ring_table(&ring, TABLE, inner, 2);
	ring_add(&ring, &table, 1);
	assert_broken("a table inside a table");
	start(packed, SIZE, ALL_FEATURES);
	table = ring_table(&ring, TABLE, outside, 2);
	ring_add(&ring, &table, 1);
	assert_broken("a table's buffer outside RAM");
	start(packed, SIZE, VIRTIO_F_VERSION_1);
	table = ring_table(&ring, TABLE, inner, 1);
	ring_add(&ring, &table, 1);
	assert_broken("a table that was not negotiated");
	if (packed)
		return;
	start(packed, SIZE, ALL_FEATURES);
	table = ring_table(&ring, TABLE, inner, 1);
	ring_put_descriptor(&ring, TABLE, &inner[0], RING_NEXT, 0);
	ring_add(&ring, &table, 1);
	assert_broken("a loop in a table");
	start(packed, SIZE, ALL_FEATURES);
	ring_put_descriptor(&ring, TABLE, &inner[0], RING_NEXT, 1);
	ring_add(&ring, &table, 1);
	assert_broken("a link out of a table");
}

static void hostile_split_rings(void **state)
{
	const struct piece piece = {DATA, 1, 0};

	(void)state;
	ring_put_descriptor(&ring, ring.table, &piece, RING_NEXT, 1);
	ring_put_descriptor(&ring, ring.table + 16, &piece, RING_NEXT, 0);
	ring_put16(&ring, ring.driver + 2, 1);
	assert_broken("a loop");
	start(false, SIZE, ALL_FEATURES);
	ring_put_descriptor(&ring, ring.table, &piece, RING_NEXT, SIZE);
	ring_put16(&ring, ring.driver + 2, 1);
	assert_broken("a link out of the ring");
	start(false, SIZE, ALL_FEATURES);
	ring_put16(&ring, ring.driver + 4, SIZE);
	ring_put16(&ring, ring.driver + 2, 1);
	assert_broken("a head out of the ring");
	start(false, SIZE, ALL_FEATURES);
	ring_put16(&ring, ring.driver + 2, SIZE + 1);
	assert_broken("an index that ran ahead");
	start(false, SIZE, ALL_FEATURES);
	ring_put16(&ring, ring.driver + 2, UINT16_MAX);
	assert_broken("an index that ran back");
	/* One more than the ring has entries, while all of them are in flight. */
	start(false, SIZE, ALL_FEATURES);
	ring_put_descriptor(&ring, ring.table, &piece, 0, 0);
	ring_put16(&ring, ring.driver + 2, SIZE);
	for (unsigned i = 0; i < SIZE; i++)
		pop();
	ring_put16(&ring, ring.driver + 2, SIZE + 1);
	assert_broken("more in flight than the ring has entries");
}

static void hostile_packed_rings(void **state)
{
	const struct piece piece = {DATA, 1, 0};

	(void)state;
	ring_put_descriptor(&ring, ring.table, &piece, RING_AVAILABLE | RING_NEXT, 0);
	assert_broken("a chain whose second part is not there");
	start(true, SIZE, ALL_FEATURES);
	for (unsigned i = 0; i < SIZE; i++)
		ring_put_descriptor(&ring, ring.table + 16 * i, &piece, RING_AVAILABLE | RING_NEXT, 0);
	assert_broken("a chain without an end");
	/* The whole ring is in flight, and made available once more. */
	start(true, SIZE, ALL_FEATURES);
	for (unsigned i = 0; i < SIZE; i++)
		ring_put_descriptor(&ring, ring.table + 16 * i, &piece, RING_AVAILABLE, 0);
	for (unsigned i = 0; i < SIZE; i++)
		pop();
	ring_put_descriptor(&ring, ring.table, &piece, RING_USED, 0);
	assert_broken("more in flight than the ring has entries");
	/* An event that no ring of this size has only causes interrupts. */
	start(true, SIZE, ALL_FEATURES);
	for (unsigned i = 0; i < 2; i++) {
		ring_put32(&ring, ring.driver, 0x7fff | 2u << 16);
		ring_put_descriptor(&ring, ring.table + 16 * i, &piece, RING_AVAILABLE, 0);
		pop();
		virtqueue_push(&queue, &chain, 0);
		assert_true(virtqueue_wants_interrupt(&queue));
	}
}

static void impossible_saved_queues_are_refused(void **state)
{
	bool packed = *(const bool *)*state;
	uint64_t features = feature_bits(packed, ALL_FEATURES);
	struct virtqueue saved = queue;

	assert_int_equal(virtqueue_check_saved(&queue, &memory, features, 0, NULL), 0);
	saved.next_available = 1;
	assert_int_equal(virtqueue_check_saved(&saved, &memory, features, 0, NULL), -EINVAL);
	saved.next_used = 1;
	assert_int_equal(virtqueue_check_saved(&saved, &memory, features, 0, NULL), 0);
	saved.next_used = saved.next_available = SIZE;
	assert_int_equal(virtqueue_check_saved(&saved, &memory, features, 0, NULL), packed ? -EINVAL : 0);
	saved = queue;
	saved.device = BASE + RAM;
	assert_int_equal(virtqueue_check_saved(&saved, &memory, features, 0, NULL), -EINVAL);
	saved = queue;
	saved.signalled_valid = true;
	saved.signalled_used = 2 * SIZE;
	assert_int_equal(virtqueue_check_saved(&saved, &memory, features, 0, NULL), packed ? -EINVAL : 0);
	saved = queue;
	saved.used_wrap = !saved.used_wrap;
	assert_int_equal(virtqueue_check_saved(&saved, &memory, features, 0, NULL), packed ? -EINVAL : 0);
}

/* The other half of a queue's life goes on where the first one ended. */
static void a_loaded_queue_goes_on(void **state)
{
	const struct piece piece = {DATA, 8, RING_WRITE};
	bool packed = *(const bool *)*state;

	for (unsigned i = 0; i < 50; i++) {
		struct virtqueue loaded = {.size_max = queue.size_max};
		uint16_t id = ring_add(&ring, &piece, 1);

		loaded.descriptors = queue.descriptors;
		loaded.driver = queue.driver;
		loaded.device = queue.device;
		loaded.size = queue.size;
		loaded.ready = queue.ready;
		loaded.next_available = queue.next_available;
		loaded.next_used = queue.next_used;
		loaded.available_wrap = queue.available_wrap;
		loaded.used_wrap = queue.used_wrap;
		loaded.signalled_used = queue.signalled_used;
		loaded.signalled_valid = queue.signalled_valid;
		virtqueue_loaded(&loaded, &memory, feature_bits(packed, ALL_FEATURES));
		queue = loaded;
		ring_interrupt_after(&ring, i % 2);
		pop();
		virtqueue_push(&queue, &chain, i);
		assert_int_equal(virtqueue_wants_interrupt(&queue), i % 2 == 0);
		assert_used(id, i);
	}
}

static atomic_bool stop;

/* Rewrites the descriptor under the device's eyes, between what is allowed and what is not. */
static void *rewrite(void *arg)
{
	const struct piece good = {DATA, 64, 0}, bad = {BASE + RAM - 32, 1 << 20, 0};
	uint16_t flags = *(const bool *)arg ? RING_AVAILABLE : 0;

	while (!atomic_load(&stop)) {
		ring_put_descriptor(&ring, ring.table, &bad, flags, 0);
		ring_put_descriptor(&ring, ring.table, &good, flags, 0);
	}
	return NULL;
}

static void a_buffer_rewritten_between_two_reads(void **state)
{
	bool packed = *(const bool *)*state;
	const struct piece good = {DATA, 64, 0};
	unsigned accepted = 0;
	pthread_t thread;

	atomic_store(&stop, false);
	ring_put_descriptor(&ring, ring.table, &good, packed ? RING_AVAILABLE : 0, 0);
	ring_put16(&ring, ring.driver + 2, packed ? 0 : 1);
	assert_int_equal(pthread_create(&thread, NULL, rewrite, &packed), 0);
	for (unsigned i = 0; i < 20000; i++) {
		if (virtqueue_pop(&queue, &chain, NULL) == 1) {
			uint64_t at = memory_physical(&memory, chain.spans[0].iov_base).value;

			accepted++;
			if (at + chain.spans[0].iov_len > BASE + RAM)
				fail_msg("a span of %zu bytes at 0x%llx", chain.spans[0].iov_len,
					 (unsigned long long)at);
			virtqueue_unpop(&queue, &chain);
		}
		queue.broken = false;
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	assert_int_not_equal(accepted, 0);
}

int main(void)
{
#define SPLIT(f)  cmocka_unit_test_prestate_setup_teardown(f, setup, teardown, (void *)(uintptr_t)&layouts[0])
#define PACKED(f) cmocka_unit_test_prestate_setup_teardown(f, setup, teardown, (void *)(uintptr_t)&layouts[1])
#define BOTH(f)   SPLIT(f), PACKED(f)
	const struct CMUnitTest tests[] = {
		BOTH(buffers_go_there_and_back),
		BOTH(a_whole_ring_of_buffers_in_any_order),
		BOTH(indirect_tables),
		BOTH(a_buffer_is_put_back),
		BOTH(interrupts_where_they_are_asked_for),
		BOTH(interrupts_on_and_off),
		BOTH(kicks_are_asked_for),
		BOTH(spans_are_cut_and_copied),
		BOTH(pushed_bytes_are_dirty),
		BOTH(impossible_rings_are_refused),
		BOTH(hostile_buffers),
		BOTH(hostile_tables),
		SPLIT(hostile_split_rings),
		PACKED(hostile_packed_rings),
		BOTH(impossible_saved_queues_are_refused),
		BOTH(a_loaded_queue_goes_on),
		BOTH(a_buffer_rewritten_between_two_reads),
	};

	return cmocka_run_group_tests_name("virtqueue", tests, NULL, NULL);
}
