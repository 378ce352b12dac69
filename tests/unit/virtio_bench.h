/*
 * A bench for one virtio device: RAM, a bus with the device on it, its wire, a real worker; and the driver's way
 * through registers and rings (ring_driver.h). A test plays the driver, a friendly or a hostile one.
 *
 * The device is on MMIO, or with DOPPEL_TRANSPORT=pci behind a PCI host bridge: then the registers below, which are those
 * of MMIO, stand for their counterparts there.
 */
#ifndef DOPPEL_TESTS_VIRTIO_BENCH_H
#define DOPPEL_TESTS_VIRTIO_BENCH_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "device/virtio/pci.h"
#include "device/virtio/virtio.h"
#include "pci_bench.h"
#include "ring_driver.h"

#define BENCH_RAM      UINT64_C(0x80000000)
#define BENCH_RAM_SIZE (16 * MIB)
#define BENCH_RINGS    BENCH_RAM               /* 64 KiB a queue */
#define BENCH_DATA     (BENCH_RAM + 4 * MIB)   /* free for the test */
#define BENCH_MMIO     UINT64_C(0x10001000)
#define BENCH_QUEUES   8

/* Registers (4.2.2), written down once more. */
enum {
	REG_MAGIC = 0x0,
	REG_VERSION = 0x4,
	REG_ID = 0x8,
	REG_FEATURES = 0x10,
	REG_FEATURES_SELECT = 0x14,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SELECT = 0x24,
	REG_QUEUE_SELECT = 0x30,
	REG_QUEUE_MAX = 0x34,
	REG_QUEUE_SIZE = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_NOTIFY = 0x50,
	REG_INTERRUPT = 0x60,
	REG_ACK = 0x64,
	REG_STATUS = 0x70,
	REG_TABLE = 0x80,
	REG_DRIVER_AREA = 0x90,
	REG_DEVICE_AREA = 0xa0,
	REG_QUEUE_RESET = 0xc0,
	REG_GENERATION = 0xfc,
	REG_CONFIG = 0x100,
};

struct virtio_bench {
	struct memory memory;
	struct bus bus;
	struct worker *worker;
	struct virtio *virtio;
	struct pci_bench *pci; /* NULL: it is on MMIO */
	atomic_bool level; /* of the wire */
	atomic_uint rises;
	struct ring rings[BENCH_QUEUES];
};

static inline void virtio_bench_wire(void *opaque, unsigned number, bool level)
{
	struct virtio_bench *b = opaque;

	(void)number;
	if (level && !atomic_exchange(&b->level, level))
		atomic_fetch_add(&b->rises, 1);
	atomic_store(&b->level, level);
}

/* The worker, before the device is made on it. */
static inline void virtio_bench_init(struct virtio_bench *b)
{
	memset(b, 0, sizeof *b);
	memory_init(&b->memory);
	bus_init(&b->bus);
	assert_int_equal(memory_add_ram(&b->memory, gpa(BENCH_RAM), BENCH_RAM_SIZE, "ram", NULL), 0);
	assert_int_equal(worker_new(&b->worker, "bench", NULL), 0);
}

#define BENCH_SLOT 1
#define BENCH_BAR  BENCH_LOW

static inline bool virtio_bench_on_pci(void)
{
	const char *transport = getenv("DOPPEL_TRANSPORT");

	return transport && strcmp(transport, "pci") == 0;
}

static inline void virtio_bench_place_on_pci(struct virtio_bench *b, struct virtio *virtio, bool messages, bool doorbells)
{
	b->virtio = virtio;
	b->pci = malloc(sizeof *b->pci);
	assert_non_null(b->pci);
	pci_bench_init(b->pci, &b->bus, messages, doorbells);
	b->pci->wire = (struct irq_line){.set = virtio_bench_wire, .controller = b};
	assert_int_equal(virtio_pci_place(virtio, b->pci->host, &b->memory, NULL), 0);
	device_reset(virtio->carrier);
	device_reset(&virtio->device);
	pci_put_bar(b->pci, BENCH_SLOT, 0, BENCH_BAR);
	pci_put(b->pci, BENCH_SLOT, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

static inline void virtio_bench_place(struct virtio_bench *b, struct virtio *virtio)
{
	const struct irq_line wire = {.set = virtio_bench_wire, .controller = b, .number = 1};

	if (virtio_bench_on_pci()) {
		virtio_bench_place_on_pci(b, virtio, false, false);
		return;
	}
	b->virtio = virtio;
	virtio_mmio_place(virtio, gpa(BENCH_MMIO), wire, &b->memory);
	assert_int_equal(device_attach(&virtio->device, &b->bus, NULL), 0);
	device_reset(&virtio->device);
}

/* Frees the device: another may have its place. */
static inline void virtio_bench_remove(struct virtio_bench *b)
{
	struct device *carrier = b->virtio ? b->virtio->carrier : NULL;

	device_free(b->virtio ? &b->virtio->device : NULL);
	device_free(carrier);
	device_free(b->pci ? b->pci->host : NULL);
	free(b->pci);
	b->virtio = NULL;
	b->pci = NULL;
	bus_init(&b->bus);
}

static inline void virtio_bench_finish(struct virtio_bench *b)
{
	virtio_bench_remove(b);
	worker_free(b->worker);
	memory_finish(&b->memory);
}

/* What a register of MMIO is on PCI: its place in the BAR, and its width. */
struct bench_register {
	uint64_t mmio, pci;
	unsigned size;
};

static inline struct bench_register bench_register_of(uint64_t offset)
{
	static const struct bench_register map[] = {
		{REG_FEATURES, 4, 4},         {REG_FEATURES_SELECT, 0, 4}, {REG_DRIVER_FEATURES, 12, 4},
		{REG_DRIVER_FEATURES_SELECT, 8, 4}, {REG_QUEUE_SELECT, 22, 2}, {REG_QUEUE_MAX, 24, 2},
		{REG_QUEUE_SIZE, 24, 2},      {REG_QUEUE_READY, 28, 2},    {REG_STATUS, 20, 1},
		{REG_TABLE, 32, 4},           {REG_TABLE + 4, 36, 4},      {REG_DRIVER_AREA, 40, 4},
		{REG_DRIVER_AREA + 4, 44, 4}, {REG_DEVICE_AREA, 48, 4},    {REG_DEVICE_AREA + 4, 52, 4},
		{REG_QUEUE_RESET, 58, 2},     {REG_GENERATION, 21, 1},     {REG_ACK, VIRTIO_PCI_ISR, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].mmio == offset)
			return map[i];
	assert_true(offset >= REG_CONFIG);
	return (struct bench_register){offset, VIRTIO_PCI_DEVICE + offset - REG_CONFIG, 4};
}

static inline uint64_t bar_get(struct virtio_bench *b, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	assert_int_equal(bus_read(&b->bus, gpa(BENCH_BAR + offset), size, &value), 0);
	return value;
}

static inline void bar_put(struct virtio_bench *b, uint64_t offset, uint64_t value, unsigned size)
{
	assert_int_equal(bus_write(&b->bus, gpa(BENCH_BAR + offset), size, value), 0);
}

/* The interrupt status is looked at without taking it, which no driver can on PCI. */
static inline uint32_t bench_pci_get(struct virtio_bench *b, uint64_t offset)
{
	struct bench_register r;
	uint32_t status;

	if (offset == REG_ID)
		return pci_get(b->pci, BENCH_SLOT, PCI_DEVICE, 2) - 0x1040;
	if (offset == REG_INTERRUPT) {
		pthread_mutex_lock(&b->virtio->device.lock);
		status = b->virtio->interrupt_status;
		pthread_mutex_unlock(&b->virtio->device.lock);
		return status;
	}
	r = bench_register_of(offset);
	return (uint32_t)bar_get(b, r.pci, r.size);
}

static inline void bench_pci_put(struct virtio_bench *b, uint64_t offset, uint32_t value)
{
	struct bench_register r;

	if (offset == REG_NOTIFY) {
		bar_put(b, VIRTIO_PCI_NOTIFY + 4 * (uint64_t)(value & 0xff), value, 2);
		return;
	}
	r = bench_register_of(offset);
	if (offset == REG_ACK)
		(void)bar_get(b, r.pci, r.size);
	else
		bar_put(b, r.pci, value & (UINT64_MAX >> (64 - 8 * r.size)), r.size);
}

static inline uint32_t reg_get(struct virtio_bench *b, uint64_t offset)
{
	uint64_t value = 0;

	if (b->pci)
		return bench_pci_get(b, offset);
	assert_int_equal(bus_read(&b->bus, gpa(BENCH_MMIO + offset), 4, &value), 0);
	return (uint32_t)value;
}

static inline void reg_put(struct virtio_bench *b, uint64_t offset, uint32_t value)
{
	if (b->pci) {
		bench_pci_put(b, offset, value);
		return;
	}
	assert_int_equal(bus_write(&b->bus, gpa(BENCH_MMIO + offset), 4, value), 0);
}

/* Of configuration space, in any size. */
static inline uint64_t config_get(struct virtio_bench *b, uint64_t offset, unsigned size)
{
	uint64_t value = 0, at = b->pci ? BENCH_BAR + VIRTIO_PCI_DEVICE : BENCH_MMIO + REG_CONFIG;

	assert_int_equal(bus_read(&b->bus, gpa(at + offset), size, &value), 0);
	return value;
}

static inline void config_put(struct virtio_bench *b, uint64_t offset, uint64_t value, unsigned size)
{
	uint64_t at = b->pci ? BENCH_BAR + VIRTIO_PCI_DEVICE : BENCH_MMIO + REG_CONFIG;

	assert_int_equal(bus_write(&b->bus, gpa(at + offset), size, value), 0);
}

static inline uint64_t bench_offered(struct virtio_bench *b)
{
	uint64_t low;

	reg_put(b, REG_FEATURES_SELECT, 0);
	low = reg_get(b, REG_FEATURES);
	reg_put(b, REG_FEATURES_SELECT, 1);
	return low | (uint64_t)reg_get(b, REG_FEATURES) << 32;
}

/* Up to FEATURES_OK; whether the device took the features. */
static inline bool bench_negotiate(struct virtio_bench *b, uint64_t features)
{
	reg_put(b, REG_STATUS, 0);
	reg_put(b, REG_STATUS, VIRTIO_ACKNOWLEDGE);
	reg_put(b, REG_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	reg_put(b, REG_DRIVER_FEATURES_SELECT, 0);
	reg_put(b, REG_DRIVER_FEATURES, (uint32_t)features);
	reg_put(b, REG_DRIVER_FEATURES_SELECT, 1);
	reg_put(b, REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
	reg_put(b, REG_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	return reg_get(b, REG_STATUS) & VIRTIO_FEATURES_OK;
}

static inline void reg_put64(struct virtio_bench *b, uint64_t offset, uint64_t value)
{
	reg_put(b, offset, (uint32_t)value);
	reg_put(b, offset + 4, (uint32_t)(value >> 32));
}

/* A fresh ring for a queue; whether the device says that it is ready. */
static inline bool bench_queue(struct virtio_bench *b, unsigned queue, uint16_t size)
{
	uint64_t features = b->virtio->driver_features;
	struct ring *r = &b->rings[queue];

	ring_init(r, &b->memory, features & VIRTIO_F_RING_PACKED, features & VIRTIO_F_EVENT_IDX, size,
		  BENCH_RINGS + queue * UINT64_C(0x10000));
	reg_put(b, REG_QUEUE_SELECT, queue);
	reg_put(b, REG_QUEUE_SIZE, size);
	reg_put64(b, REG_TABLE, r->table);
	reg_put64(b, REG_DRIVER_AREA, r->driver);
	reg_put64(b, REG_DEVICE_AREA, r->device);
	reg_put(b, REG_QUEUE_READY, 1);
	return reg_get(b, REG_QUEUE_READY) == 1;
}

static inline void bench_driver_ok(struct virtio_bench *b)
{
	reg_put(b, REG_STATUS, reg_get(b, REG_STATUS) | VIRTIO_DRIVER_OK);
}

/* Everything to a running device with `queues` rings of `size`. */
static inline void bench_start(struct virtio_bench *b, uint64_t features, unsigned queues, uint16_t size)
{
	assert_true(bench_negotiate(b, features | VIRTIO_F_VERSION_1));
	for (unsigned i = 0; i < queues; i++)
		assert_true(bench_queue(b, i, size));
	bench_driver_ok(b);
}

static inline void bench_kick(struct virtio_bench *b, unsigned queue)
{
	reg_put(b, REG_NOTIFY, queue);
}

static inline void virtio_bench_nothing(void *arg)
{
	(void)arg;
}

/* The worker has done all that was asked of it before. A bell that it rang itself is answered after the second call. */
static inline void bench_settle(struct virtio_bench *b)
{
	worker_call(b->worker, virtio_bench_nothing, NULL);
	worker_call(b->worker, virtio_bench_nothing, NULL);
}

/* Waits for the next used buffer of a queue, for so long that it never is not unless something hangs. */
static inline void bench_wait_used(struct virtio_bench *b, unsigned queue, uint16_t *id, uint32_t *length)
{
	*id = 0;
	*length = 0;
	for (unsigned i = 0; i < 20000; i++) {
		if (ring_used(&b->rings[queue], id, length))
			return;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	fail_msg("queue %u: nothing was used", queue);
}

/* Adds, kicks, waits: what was written. */
static inline uint32_t bench_transfer(struct virtio_bench *b, unsigned queue, const struct piece *pieces,
				      unsigned count)
{
	uint16_t id = ring_add(&b->rings[queue], pieces, count), used = 0;
	uint32_t length = 0;

	bench_kick(b, queue);
	bench_wait_used(b, queue, &used, &length);
	assert_int_equal(used, id);
	return length;
}

/* Guest memory, as the driver sees it. */
static inline uint8_t *bench_bytes(struct virtio_bench *b, uint64_t address)
{
	return memory_host(&b->memory, gpa(address), 1);
}

#endif
