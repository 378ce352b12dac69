/*
 * A PCI host bridge on a bench: its windows, its wires, a controller of messages that counts them, doorbells that a test
 * rings, and the guest's way to configuration space.
 */
#ifndef DOPPEL_TESTS_PCI_BENCH_H
#define DOPPEL_TESTS_PCI_BENCH_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "device/pci/msix.h"
#include "device/pci/pci.h"

#define BENCH_ECAM      UINT64_C(0x30000000)
#define BENCH_IO        UINT64_C(0x3000000)
#define BENCH_LOW       UINT64_C(0x40000000)
#define BENCH_LOW_SIZE  UINT64_C(0x1000000)
#define BENCH_HIGH      UINT64_C(0x400000000)
#define BENCH_HIGH_SIZE UINT64_C(0x40000000)
#define BENCH_ROUTES    64
#define BENCH_BELLS     64

struct msi_route {
	bool used;
	struct msi_message message;
	atomic_uint fired, told;
};

struct pci_bench {
	struct bus *bus;
	struct device *host;
	atomic_bool levels[PCI_WIRES];
	atomic_uint rises[PCI_WIRES];
	struct irq_line wire; /* hears of all wires */
	struct msi_route routes[BENCH_ROUTES];
	unsigned routes_left; /* that the controller still gives */
	struct {
		uint64_t address;
		unsigned size;
		int eventfd;
	} bells[BENCH_BELLS];
	unsigned bell_count;
	struct bus_doorbells doorbells;
	struct msi_controller controller;
};

static inline void pci_bench_wire(void *opaque, unsigned number, bool level)
{
	struct pci_bench *b = opaque;

	if (!atomic_exchange(&b->levels[number], level) && level)
		atomic_fetch_add(&b->rises[number], 1);
	irq_set(&b->wire, level);
}

static inline int pci_bench_route_new(void *opaque, struct msi_route **out, struct error *e)
{
	struct pci_bench *b = opaque;

	for (unsigned i = 0; b->routes_left && i < BENCH_ROUTES; i++)
		if (!b->routes[i].used) {
			b->routes_left--;
			b->routes[i] = (struct msi_route){.used = true};
			*out = &b->routes[i];
			return 0;
		}
	return error_set(e, ERROR_FAILED, -ENOSPC, "no route is left");
}

static inline void pci_bench_route_free(void *opaque, struct msi_route *route)
{
	assert_true(route->used);
	route->used = false;
	((struct pci_bench *)opaque)->routes_left++;
}

static inline void pci_bench_route_set(void *opaque, struct msi_route *route, struct msi_message message)
{
	(void)opaque;
	assert_true(route->used);
	route->message = message;
	atomic_fetch_add(&route->told, 1);
}

static inline void pci_bench_route_fire(void *opaque, struct msi_route *route)
{
	(void)opaque;
	assert_true(route->used);
	assert_int_not_equal(atomic_load(&route->told), 0);
	atomic_fetch_add(&route->fired, 1);
}

/* How often a message with this data was sent by the routes that there are. */
static inline unsigned pci_bench_fired(struct pci_bench *b, uint32_t data)
{
	unsigned fired = 0;

	for (unsigned i = 0; i < BENCH_ROUTES; i++)
		if (b->routes[i].used && b->routes[i].message.data == data)
			fired += atomic_load(&b->routes[i].fired);
	return fired;
}

static inline int pci_bench_bell_add(void *engine, gpa_t address, unsigned size, int eventfd)
{
	struct pci_bench *b = engine;

	if (b->bell_count == BENCH_BELLS)
		return -ENOSPC;
	b->bells[b->bell_count].address = address.value;
	b->bells[b->bell_count].size = size;
	b->bells[b->bell_count++].eventfd = eventfd;
	return 0;
}

static inline void pci_bench_bell_remove(void *engine, gpa_t address, unsigned size, int eventfd)
{
	struct pci_bench *b = engine;

	for (unsigned i = 0; i < b->bell_count; i++)
		if (b->bells[i].address == address.value && b->bells[i].size == size && b->bells[i].eventfd == eventfd) {
			b->bells[i] = b->bells[--b->bell_count];
			return;
		}
	fail_msg("no doorbell at 0x%llx", (unsigned long long)address.value);
}

/* As the engine does: true when the write became an event. */
static inline bool pci_bench_ring(struct pci_bench *b, uint64_t address, unsigned size)
{
	for (unsigned i = 0; i < b->bell_count; i++)
		if (b->bells[i].address == address && b->bells[i].size == size)
			return eventfd_write(b->bells[i].eventfd, 1) == 0;
	return false;
}

static inline void pci_bench_init(struct pci_bench *b, struct bus *bus, bool messages, bool doorbells)
{
	struct pci_host_options options = {
		.ecam = gpa(BENCH_ECAM),
		.io = {gpa(BENCH_IO), 0x10000},
		.low = {gpa(BENCH_LOW), BENCH_LOW_SIZE},
		.high = {gpa(BENCH_HIGH), BENCH_HIGH_SIZE},
	};

	memset(b, 0, sizeof *b);
	b->bus = bus;
	b->routes_left = BENCH_ROUTES;
	b->controller = (struct msi_controller){pci_bench_route_new, pci_bench_route_free, pci_bench_route_set,
						pci_bench_route_fire, b};
	b->doorbells = (struct bus_doorbells){pci_bench_bell_add, pci_bench_bell_remove, b};
	options.msi = messages ? &b->controller : NULL;
	for (unsigned i = 0; i < PCI_WIRES; i++)
		options.wires[i] = (struct irq_line){.set = pci_bench_wire, .controller = b, .number = i};
	bus->doorbells = doorbells ? &b->doorbells : NULL;
	assert_int_equal(pci_host_new(&b->host, "pci0", &options, NULL), 0);
	assert_int_equal(pci_host_open(b->host, bus, NULL), 0);
}

static inline uint32_t pci_get(struct pci_bench *b, unsigned slot, unsigned offset, unsigned size)
{
	uint64_t value = 0;

	assert_int_equal(bus_read(b->bus, gpa(BENCH_ECAM + slot * 0x8000 + offset), size, &value), 0);
	return (uint32_t)value;
}

static inline void pci_put(struct pci_bench *b, unsigned slot, unsigned offset, uint32_t value, unsigned size)
{
	assert_int_equal(bus_write(b->bus, gpa(BENCH_ECAM + slot * 0x8000 + offset), size, value), 0);
}

static inline void pci_put_bar(struct pci_bench *b, unsigned slot, unsigned bar, uint64_t address)
{
	pci_put(b, slot, PCI_BAR_0 + 8 * bar, (uint32_t)address, 4);
	pci_put(b, slot, PCI_BAR_0 + 8 * bar + 4, (uint32_t)(address >> 32), 4);
}

/* Offset of the next capability of a kind after `from` (0: from the start), or 0. */
static inline unsigned pci_find(struct pci_bench *b, unsigned slot, uint8_t id, unsigned from)
{
	unsigned at = pci_get(b, slot, from ? from + 1 : PCI_CAPABILITIES, 1);

	for (unsigned i = 0; at && i < 48; i++, at = pci_get(b, slot, at + 1, 1))
		if (pci_get(b, slot, at, 1) == id)
			return at;
	return 0;
}

#endif
