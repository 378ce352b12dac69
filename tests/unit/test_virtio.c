/* The common part of virtio devices and its MMIO transport, with a toy device: it copies the first byte that it reads
 * into the bytes that it writes, at once or, for a first byte of 0xff, 20 ms later. */
#include "virtio_bench.h"

#include <pthread.h>

#include "base/clock.h"
#include "device/describe.h"

#define SLOW       0xff
#define SLOW_NS    UINT64_C(20000000)
#define RING_RESET VIRTIO_F_RING_RESET
#define TOY_BIT    UINT64_C(1)

struct toy {
	struct virtio virtio;
	struct virtqueue_chain chain, slow;
	struct loop_timer timer;
	bool quiescing;
	atomic_uint starts, resets;
	uint32_t own;
};

static struct virtio_bench bench;
static struct toy *toy;

static uint64_t toy_features(const struct virtio *virtio)
{
	(void)virtio;
	return TOY_BIT;
}

/* The second word of the configuration is the driver's, but never odd. */
static void toy_config_written(struct virtio *virtio, uint32_t offset, uint32_t size)
{
	(void)offset;
	(void)size;
	memset(virtio->config, 0x11, 4);
	virtio->config[4] &= 0xfe;
}

static void answer(struct toy *t, const struct virtqueue_chain *chain, unsigned queue)
{
	uint8_t byte = 0;

	(void)virtqueue_read(chain, 0, &byte, 1);
	for (uint64_t i = 0; i < chain->writable_bytes; i++)
		(void)virtqueue_write(chain, i, &byte, 1);
	virtqueue_push(&t->virtio.queues[queue], chain, (uint32_t)chain->writable_bytes);
	virtio_notify(&t->virtio, queue);
}

static void toy_timer(void *arg)
{
	struct toy *t = arg;

	answer(t, &t->slow, 0);
	if (t->quiescing) {
		t->quiescing = false;
		virtio_quiet(&t->virtio);
	}
}

static void toy_kicked(struct virtio *virtio, unsigned queue)
{
	struct toy *t = (struct toy *)virtio;

	while (!t->timer.armed && virtio_next(virtio, queue, &t->chain)) {
		uint8_t byte = 0;

		(void)virtqueue_read(&t->chain, 0, &byte, 1);
		if (byte == SLOW && queue == 0) {
			t->slow = t->chain;
			loop_timer_set(worker_loop(virtio->worker), &t->timer, clock_host_ns() + SLOW_NS);
		} else {
			answer(t, &t->chain, queue);
		}
	}
}

static void toy_start(struct virtio *virtio)
{
	atomic_fetch_add(&((struct toy *)virtio)->starts, 1);
}

static void toy_quiesce(struct virtio *virtio)
{
	struct toy *t = (struct toy *)virtio;

	if (t->timer.armed)
		t->quiescing = true;
	else
		virtio_quiet(virtio);
}

static void toy_reset(struct virtio *virtio)
{
	atomic_fetch_add(&((struct toy *)virtio)->resets, 1);
}

static const struct virtio_kind toy_kind = {
	.id = 42,
	.features = toy_features,
	.config_written = toy_config_written,
	.start = toy_start,
	.kicked = toy_kicked,
	.quiesce = toy_quiesce,
	.reset = toy_reset,
};

static void toy_destroy(struct device *device)
{
	virtio_finish((struct virtio *)device);
	free(device);
}

static const struct state_field toy_fields[] = {VIRTIO_STATE_FIELDS, STATE_FIELD(struct toy, own, STATE_U32)};

static const struct state_descriptor toy_state = {
	.kind = "toy",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct toy),
	.fields = toy_fields,
	.field_count = ARRAY_SIZE(toy_fields),
	.validate = virtio_validate,
};

static const struct device_type toy_type = {
	.name = "toy",
	.help = "a toy",
	.state = &toy_state,
	VIRTIO_DEVICE_OPS,
	.destroy = toy_destroy,
};

static struct toy *toy_new(struct virtio_bench *b)
{
	static const uint16_t sizes[] = {64, 32};
	struct toy *t = calloc(1, sizeof *t);

	assert_non_null(t);
	assert_int_equal(virtio_init(&t->virtio, &toy_type, &toy_kind, "toy0", b->worker, sizes, 2, 8, NULL), 0);
	t->timer = (struct loop_timer){.fn = toy_timer, .arg = t};
	virtio_bench_place(b, &t->virtio);
	return t;
}

static int setup(void **state)
{
	(void)state;
	virtio_bench_init(&bench);
	toy = toy_new(&bench);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	virtio_bench_finish(&bench);
	return 0;
}

/* One byte there, eight bytes back. */
static const struct piece exchange[2] = {{BENCH_DATA, 1, 0}, {BENCH_DATA + 4096, 8, RING_WRITE}};

static void assert_works(struct virtio_bench *b, unsigned queue, uint8_t byte)
{
	static const struct piece aside[2] = {{BENCH_DATA + 0x2000, 1, 0}, {BENCH_DATA + 0x3000, 8, RING_WRITE}};

	*bench_bytes(b, aside[0].address) = byte;
	assert_int_equal(bench_transfer(b, queue, aside, 2), 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(bench_bytes(b, aside[1].address)[i], byte);
}

static void identity(void **state)
{
	uint64_t value;

	(void)state;
	assert_int_equal(reg_get(&bench, REG_MAGIC), 0x74726976);
	assert_int_equal(reg_get(&bench, REG_VERSION), 2);
	assert_int_equal(reg_get(&bench, REG_ID), 42);
	assert_int_equal(bench_offered(&bench), TOY_BIT | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC |
							 VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED | RING_RESET);
	reg_put(&bench, REG_FEATURES_SELECT, 2);
	assert_int_equal(reg_get(&bench, REG_FEATURES), 0);
	reg_put(&bench, REG_QUEUE_SELECT, 1);
	assert_int_equal(reg_get(&bench, REG_QUEUE_MAX), 32);
	reg_put(&bench, REG_QUEUE_SELECT, 2);
	assert_int_equal(reg_get(&bench, REG_QUEUE_MAX), 0);
	reg_put(&bench, REG_QUEUE_SELECT, UINT32_MAX);
	reg_put(&bench, REG_QUEUE_SIZE, 8);
	reg_put(&bench, REG_QUEUE_READY, 1);
	assert_int_equal(reg_get(&bench, REG_QUEUE_READY), 0);
	/* Registers of the legacy interface, and a shared memory region. */
	for (uint64_t offset = 0x3c; offset <= 0x40; offset += 4) {
		reg_put(&bench, offset, 4096);
		assert_int_equal(reg_get(&bench, offset), 0);
	}
	assert_int_equal(reg_get(&bench, 0xb0), UINT32_MAX);
	assert_int_equal(bus_read(&bench.bus, gpa(BENCH_MMIO + REG_MAGIC), 1, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(bus_read(&bench.bus, gpa(BENCH_MMIO + REG_MAGIC), 8, &value), -EFAULT);
}

static void assert_status(uint32_t write, uint32_t expected)
{
	reg_put(&bench, REG_STATUS, write);
	assert_int_equal(reg_get(&bench, REG_STATUS), expected);
}

/* Each bit only after the one before it; none is cleared but by a reset. */
static void status_in_order_only(void **state)
{
	(void)state;
	assert_status(VIRTIO_DRIVER_OK, 0);
	assert_status(VIRTIO_FEATURES_OK, 0);
	assert_status(VIRTIO_DRIVER, 0);
	assert_status(VIRTIO_ACKNOWLEDGE, 1);
	assert_status(VIRTIO_ACKNOWLEDGE | VIRTIO_NEEDS_RESET | 0x30, 1);
	assert_status(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER_OK, 1);
	assert_status(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER, 3);
	assert_status(VIRTIO_DRIVER, 3);
	/* Without VERSION_1, and so without anything. */
	assert_status(3 | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK, 3);
	reg_put(&bench, REG_DRIVER_FEATURES_SELECT, 1);
	reg_put(&bench, REG_DRIVER_FEATURES, 1);
	assert_status(3 | VIRTIO_DRIVER_OK, 3);
	assert_status(3 | VIRTIO_FEATURES_OK, 11);
	/* Features can not be changed any more. */
	reg_put(&bench, REG_DRIVER_FEATURES, 0);
	assert_int_equal(toy->virtio.driver_features, VIRTIO_F_VERSION_1);
	assert_status(11 | VIRTIO_DRIVER_OK, 15);
	assert_status(15 | VIRTIO_FAILED, 15 | VIRTIO_FAILED);
	assert_status(0, 0);
	assert_int_equal(toy->virtio.driver_features, 0);
}

static void forced_features_are_refused(void **state)
{
	static const uint64_t bad[] = {UINT64_C(1) << 1, UINT64_C(1) << 63, VIRTIO_F_IN_ORDER, UINT64_C(1) << 33};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(bench_negotiate(&bench, VIRTIO_F_VERSION_1 | bad[i]));
	assert_false(bench_negotiate(&bench, TOY_BIT));
	assert_true(bench_negotiate(&bench, VIRTIO_F_VERSION_1 | TOY_BIT));
	toy->virtio.withheld = VIRTIO_F_RING_PACKED;
	assert_false(bench_negotiate(&bench, VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED));
}

static const uint64_t rings[] = {0, VIRTIO_F_RING_PACKED};

static void buffers_are_served(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rings); i++) {
		bench_start(&bench, rings[i], 2, 16);
		for (unsigned k = 0; k < 100; k++)
			assert_works(&bench, k % 2, (uint8_t)k);
		bench_settle(&bench);
		assert_true(atomic_load(&bench.level));
		assert_int_equal(reg_get(&bench, REG_INTERRUPT), 1);
		reg_put(&bench, REG_ACK, 1);
		assert_false(atomic_load(&bench.level));
	}
	assert_int_equal(atomic_load(&toy->starts), 2);
}

/* More buffers than one turn, all there before the driver is. */
static void what_waits_is_served_at_the_start(void **state)
{
	const struct piece piece = {BENCH_DATA, 1, 0};
	uint32_t length;
	uint16_t id;

	(void)state;
	assert_true(bench_negotiate(&bench, VIRTIO_F_VERSION_1));
	assert_true(bench_queue(&bench, 0, 64));
	for (unsigned i = 0; i < 64; i++)
		ring_add(&bench.rings[0], &piece, 1);
	bench_kick(&bench, 0);
	bench_settle(&bench);
	assert_false(ring_used(&bench.rings[0], &id, &length));
	bench_driver_ok(&bench);
	for (unsigned i = 0; i < 64; i++)
		bench_wait_used(&bench, 0, &id, &length);
}

static void ready_queues_keep_their_place(void **state)
{
	(void)state;
	bench_start(&bench, 0, 1, 16);
	reg_put(&bench, REG_QUEUE_SELECT, 0);
	reg_put64(&bench, REG_TABLE, 0x1000);
	reg_put64(&bench, REG_DRIVER_AREA, 0x2000);
	reg_put64(&bench, REG_DEVICE_AREA, 0x3000);
	reg_put(&bench, REG_QUEUE_SIZE, 4);
	assert_works(&bench, 0, 1);
	/* Enabled a second time: nothing begins anew. */
	reg_put(&bench, REG_QUEUE_READY, 1);
	assert_works(&bench, 0, 2);
	assert_int_equal(atomic_load(&toy->starts), 1);
}

static void impossible_queues_are_not_ready(void **state)
{
	(void)state;
	assert_true(bench_negotiate(&bench, VIRTIO_F_VERSION_1));
	assert_false(bench_queue(&bench, 0, 48));
	assert_false(bench_queue(&bench, 1, 64));
	reg_put(&bench, REG_QUEUE_SIZE, 0x10010);
	reg_put(&bench, REG_QUEUE_READY, 1);
	assert_int_equal(reg_get(&bench, REG_QUEUE_READY), 0);
	reg_put(&bench, REG_STATUS, 0);
	/* Before features were agreed on there is no layout to check. */
	assert_false(bench_queue(&bench, 0, 16));
}

static void a_broken_queue_asks_for_a_reset(void **state)
{
	const struct piece bad = {0, 16, 0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rings); i++) {
		unsigned resets = atomic_load(&toy->resets);

		bench_start(&bench, rings[i], 2, 16);
		assert_works(&bench, 0, 3);
		bench_settle(&bench);
		reg_put(&bench, REG_ACK, 3);
		ring_add(&bench.rings[0], &bad, 1);
		bench_kick(&bench, 0);
		bench_settle(&bench);
		assert_int_equal(reg_get(&bench, REG_STATUS), 15 | VIRTIO_NEEDS_RESET);
		assert_int_equal(reg_get(&bench, REG_INTERRUPT), 2);
		assert_true(atomic_load(&bench.level));
		/* No queue is served, not even the good one. */
		ring_add(&bench.rings[1], exchange, 2);
		bench_kick(&bench, 1);
		bench_settle(&bench);
		assert_false(ring_used(&bench.rings[1], &(uint16_t){0}, &(uint32_t){0}));
		/* The driver can not take the bit back, but by a reset. */
		assert_status(15, 15 | VIRTIO_NEEDS_RESET);
		assert_status(0, 0);
		assert_false(atomic_load(&bench.level));
		assert_int_equal(atomic_load(&toy->resets), resets + 2);
	}
	bench_start(&bench, 0, 2, 16);
	assert_works(&bench, 1, 4);
}

/* A buffer that the device is at work on is done, and no byte of it is touched, when a reset returns. */
static void reset_waits_for_what_is_in_flight(void **state)
{
	uint8_t *target = bench_bytes(&bench, exchange[1].address);
	uint64_t before;

	(void)state;
	bench_start(&bench, 0, 1, 16);
	*bench_bytes(&bench, BENCH_DATA) = SLOW;
	ring_add(&bench.rings[0], exchange, 2);
	before = clock_host_ns();
	bench_kick(&bench, 0);
	bench_settle(&bench);
	reg_put(&bench, REG_STATUS, 0);
	assert_true(clock_host_ns() - before >= SLOW_NS);
	assert_int_equal(*target, SLOW);
	*target = 1;
	nanosleep(&(struct timespec){.tv_nsec = 2 * SLOW_NS}, NULL);
	assert_int_equal(*target, 1);
	assert_int_equal(reg_get(&bench, REG_INTERRUPT), 0);
	bench_start(&bench, 0, 1, 16);
	assert_works(&bench, 0, 9);
}

static void pause_waits_and_resume_goes_on(void **state)
{
	(void)state;
	bench_start(&bench, VIRTIO_F_RING_PACKED, 2, 16);
	*bench_bytes(&bench, BENCH_DATA) = SLOW;
	ring_add(&bench.rings[0], exchange, 2);
	bench_kick(&bench, 0);
	bench_settle(&bench);
	device_pause(&toy->virtio.device);
	assert_true(ring_used(&bench.rings[0], &(uint16_t){0}, &(uint32_t){0}));
	*bench_bytes(&bench, BENCH_DATA) = 5;
	ring_add(&bench.rings[0], exchange, 2);
	bench_kick(&bench, 0);
	bench_settle(&bench);
	assert_false(ring_used(&bench.rings[0], &(uint16_t){0}, &(uint32_t){0}));
	device_resume(&toy->virtio.device);
	bench_wait_used(&bench, 0, &(uint16_t){0}, &(uint32_t){0});
	assert_works(&bench, 1, 6);
	assert_int_equal(atomic_load(&toy->starts), 2);
	assert_int_equal(atomic_load(&toy->resets), 2);
}

static void a_queue_is_reset_alone(void **state)
{
	(void)state;
	bench_start(&bench, RING_RESET, 2, 16);
	assert_works(&bench, 0, 1);
	assert_works(&bench, 1, 2);
	reg_put(&bench, REG_QUEUE_SELECT, 0);
	reg_put(&bench, REG_QUEUE_RESET, 1);
	assert_int_equal(reg_get(&bench, REG_QUEUE_READY), 0);
	assert_int_equal(reg_get(&bench, REG_QUEUE_RESET), 0);
	assert_works(&bench, 1, 3);
	assert_true(bench_queue(&bench, 0, 32));
	assert_works(&bench, 0, 4);
	/* Disabled and enabled again, the other way. */
	reg_put(&bench, REG_QUEUE_SELECT, 1);
	reg_put(&bench, REG_QUEUE_READY, 0);
	assert_int_equal(reg_get(&bench, REG_QUEUE_READY), 0);
	assert_true(bench_queue(&bench, 1, 16));
	assert_works(&bench, 1, 5);
	/* Without the feature the register does nothing. */
	bench_start(&bench, 0, 1, 16);
	reg_put(&bench, REG_QUEUE_RESET, 1);
	assert_works(&bench, 0, 6);
}

static void configuration(void **state)
{
	static const uint8_t news[] = {7, 8};
	uint64_t value;

	(void)state;
	assert_int_equal(bus_write(&bench.bus, gpa(BENCH_MMIO + REG_CONFIG + 4), 2, 0x0305), 0);
	assert_int_equal(reg_get(&bench, REG_CONFIG + 4), 0x0304);
	assert_int_equal(bus_write(&bench.bus, gpa(BENCH_MMIO + REG_CONFIG), 1, 0), 0);
	assert_int_equal(reg_get(&bench, REG_CONFIG), 0x11111111);
	/* Beyond the end: nothing there, also for an access that begins before it. */
	assert_int_equal(reg_get(&bench, REG_CONFIG + 8), 0);
	reg_put(&bench, REG_CONFIG + 8, 1);
	reg_put(&bench, 0xffc, 1);
	assert_int_equal(bus_read(&bench.bus, gpa(BENCH_MMIO + REG_CONFIG + 5), 1, &value), 0);
	assert_int_equal(value, 3);
	virtio_config_change(&toy->virtio, 2, news, sizeof news);
	assert_int_equal(reg_get(&bench, REG_GENERATION), 1);
	assert_int_equal(reg_get(&bench, REG_CONFIG), 0x08071111);
	assert_int_equal(reg_get(&bench, REG_INTERRUPT), 0);
	bench_start(&bench, 0, 1, 16);
	virtio_config_change(&toy->virtio, 2, news, sizeof news);
	assert_int_equal(reg_get(&bench, REG_INTERRUPT), 2);
	assert_int_equal(reg_get(&bench, REG_GENERATION), 2);
}

static void save(struct device *device, struct state_writer *w, struct state_section *section)
{
	struct state_reader r;

	state_writer_init(w);
	device_save(device, w);
	state_reader_init(&r, w->bytes, w->length);
	assert_int_equal(state_next(&r, section, NULL), 1);
}

/* Saved while paused, reset, loaded: it goes on where it was. */
static void saved_and_loaded(void **state)
{
	struct state_section section;
	struct state_writer w;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rings); i++) {
		bench_start(&bench, rings[i] | VIRTIO_F_EVENT_IDX, 2, 16);
		for (unsigned k = 0; k < 21; k++)
			assert_works(&bench, k % 2, (uint8_t)k);
		bench_settle(&bench);
		device_pause(&toy->virtio.device);
		assert_true(atomic_load(&bench.level));
		save(&toy->virtio.device, &w, &section);
		device_reset(&toy->virtio.device);
		assert_false(atomic_load(&bench.level));
		if (device_load(&toy->virtio.device, &section, NULL) < 0)
			fail_msg("load");
		assert_true(atomic_load(&bench.level));
		device_resume(&toy->virtio.device);
		for (unsigned k = 0; k < 21; k++)
			assert_works(&bench, k % 2, (uint8_t)k);
		state_writer_finish(&w);
	}
}

/* One element of a field in a saved section; the layout is in docs/internals/state.md. */
static void forge(struct state_writer *w, const struct state_section *section, const char *name, unsigned element,
		  uint64_t value)
{
	uint8_t *at = w->bytes + (section->payload - w->bytes);

	for (unsigned i = 0; i < toy_state.field_count; i++) {
		const struct state_field *field = &toy_state.fields[i];
		unsigned size = STATE_SIZE_OF(field->type);
		le64_t wire = le64_put(value);

		at += 8;
		if (strcmp(field->name, name) == 0) {
			memcpy(at + element * size, &wire, size);
			return;
		}
		at += state_field_elements(field) * size;
	}
	fail_msg("no field %s", name);
}

static void forged_states_are_refused(void **state)
{
	static const struct {
		const char *field;
		unsigned element;
		uint64_t value;
	} bad[] = {
		{"driver_features", 0, VIRTIO_F_VERSION_1 | VIRTIO_F_IN_ORDER},
		{"driver_features", 0, 0},
		{"status", 0, 0x2f},
		{"status", 0, 7},
		{"interrupt_status", 0, 4},
		{"queues.descriptors", 0, 0x1000},
		{"queues.driver", 0, UINT64_MAX},
		{"queues.device", 1, BENCH_RAM + BENCH_RAM_SIZE - 8},
		{"queues.size", 0, 3},
		{"queues.size", 1, 64},
		{"queues.size", 2, 1},
		{"queues.ready", 2, 1},
		{"queues.ready", VIRTIO_QUEUES_MAX - 1, 1},
		{"queues.next_available", 0, 9},
		{"queues.next_used", 1, 9},
	};

	(void)state;
	bench_start(&bench, 0, 2, 16);
	bench_settle(&bench);
	device_pause(&toy->virtio.device);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct state_section section;
		struct state_writer w;
		struct error e = {0};

		save(&toy->virtio.device, &w, &section);
		forge(&w, &section, bad[i].field, bad[i].element, bad[i].value);
		if (device_load(&toy->virtio.device, &section, &e) != -EINVAL)
			fail_msg("%s[%u] = 0x%llx was accepted", bad[i].field, bad[i].element,
				 (unsigned long long)bad[i].value);
		assert_true(e.message[0] != '\0');
		state_writer_finish(&w);
	}
	device_resume(&toy->virtio.device);
	assert_works(&bench, 0, 1);
}

static atomic_bool done;

static void *kick_all_the_time(void *arg)
{
	struct virtio_bench *b = arg;

	for (unsigned i = 0; !atomic_load(&done); i++) {
		reg_put(b, REG_NOTIFY, i % 3);
		reg_put(b, REG_ACK, 3);
	}
	return NULL;
}

/* Rewrites the ring's index all the time, so that queues are full, broken, empty. */
static void *scribble(void *arg)
{
	struct virtio_bench *b = arg;

	for (unsigned i = 0; !atomic_load(&done); i++)
		__atomic_store_n((uint16_t *)(void *)bench_bytes(b, BENCH_RINGS + 0x1002), (uint16_t)i,
				 __ATOMIC_SEQ_CST);
	return NULL;
}

/* Kicks from two threads against resets, pauses and a ring that is never at rest. Run under ThreadSanitizer too. */
static void kicks_against_resets_and_pauses(void **state)
{
	pthread_t threads[3];

	(void)state;
	atomic_store(&done, false);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, kick_all_the_time, &bench), 0);
	assert_int_equal(pthread_create(&threads[2], NULL, scribble, &bench), 0);
	for (unsigned i = 0; i < 300; i++) {
		if (!bench_negotiate(&bench, VIRTIO_F_VERSION_1 | RING_RESET))
			fail_msg("features");
		(void)bench_queue(&bench, 0, 16);
		(void)bench_queue(&bench, 1, 16);
		bench_driver_ok(&bench);
		if (i % 3 == 0) {
			device_pause(&toy->virtio.device);
			device_resume(&toy->virtio.device);
		}
		reg_put(&bench, REG_QUEUE_SELECT, i % 2);
		reg_put(&bench, i % 2 ? REG_QUEUE_RESET : REG_QUEUE_READY, i % 2);
		virtio_config_change(&toy->virtio, 0, &(uint8_t){1}, 1);
	}
	atomic_store(&done, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	bench_start(&bench, 0, 2, 16);
	assert_works(&bench, 0, 77);
}

/* Two vCPUs that reset and set up the same device at once: nobody waits for ever, and it works afterwards. */
static void *reset_all_the_time(void *arg)
{
	struct virtio_bench *b = arg;

	while (!atomic_load(&done))
		for (unsigned i = 0; i < 4; i++) {
			static const uint8_t values[] = {0, 1, 3, 0};

			reg_put(b, REG_STATUS, values[i]);
		}
	return NULL;
}

static void two_drivers_at_once(void **state)
{
	pthread_t thread;

	(void)state;
	atomic_store(&done, false);
	assert_int_equal(pthread_create(&thread, NULL, reset_all_the_time, &bench), 0);
	for (unsigned i = 0; i < 300; i++) {
		(void)bench_negotiate(&bench, VIRTIO_F_VERSION_1);
		reg_put(&bench, REG_QUEUE_READY, 1);
		bench_driver_ok(&bench);
	}
	atomic_store(&done, true);
	pthread_join(thread, NULL);
	bench_start(&bench, 0, 2, 16);
	assert_works(&bench, 1, 78);
}

int main(void)
{
#define WITH_BENCH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_BENCH(identity),
		WITH_BENCH(status_in_order_only),
		WITH_BENCH(forced_features_are_refused),
		WITH_BENCH(buffers_are_served),
		WITH_BENCH(what_waits_is_served_at_the_start),
		WITH_BENCH(ready_queues_keep_their_place),
		WITH_BENCH(impossible_queues_are_not_ready),
		WITH_BENCH(a_broken_queue_asks_for_a_reset),
		WITH_BENCH(reset_waits_for_what_is_in_flight),
		WITH_BENCH(pause_waits_and_resume_goes_on),
		WITH_BENCH(a_queue_is_reset_alone),
		WITH_BENCH(configuration),
		WITH_BENCH(saved_and_loaded),
		WITH_BENCH(forged_states_are_refused),
		WITH_BENCH(kicks_against_resets_and_pauses),
		WITH_BENCH(two_drivers_at_once),
	};

	return cmocka_run_group_tests_name("virtio", tests, NULL, NULL);
}
