/*
 * MMIO dispatch: which device answers at a guest-physical address.
 *
 * Regions are added while the machine is being built and never change while a vCPU runs, so look-ups take
 * no lock. The bus takes the region's lock (when it has one) around a call into the device: a device is
 * therefore never entered twice at once through the bus, and its own threads take the same lock.
 *
 * Accesses are 1, 2, 4 or 8 bytes, naturally aligned, little-endian values in a uint64_t. A device is called only
 * for sizes in its mask: others fail as an access fault, as on hardware that refuses them.
 */
#ifndef DOPPEL_BUS_BUS_H
#define DOPPEL_BUS_BUS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "base/types.h"

#define BUS_REGIONS_MAX 64

struct bus_ops {
	/* offset: from the region's base, offset + size <= region size, aligned to size. Must return for any
	 * offset: an unassigned register reads 0 and ignores writes. */
	uint64_t (*read)(void *device, uint64_t offset, unsigned size);
	void (*write)(void *device, uint64_t offset, uint64_t value, unsigned size);
	unsigned sizes; /* OR of the accepted access sizes: 1 | 2 | 4 | 8 */
};

struct bus_region {
	gpa_t base;
	uint64_t size;
	const struct bus_ops *ops;
	void *device;
	pthread_mutex_t *lock; /* NULL: the device is safe to enter from any thread at once */
	const char *name;
	_Atomic uint64_t reads, writes; /* so far, for display */
};

/* An engine that can turn a guest's write into an event without leaving guest code for long says so here. */
struct bus_doorbells {
	/* From now on a write of `size` bytes at `address`, whatever the value, adds 1 to `eventfd` and does not come to the
	 * bus. A negative errno: it comes to the bus as ever. Any thread. */
	int (*add)(void *engine, gpa_t address, unsigned size, int eventfd);
	/* What add did is undone, after the writes that are under way. */
	void (*remove)(void *engine, gpa_t address, unsigned size, int eventfd);
	void *engine;
};

struct bus {
	struct bus_region regions[BUS_REGIONS_MAX]; /* ascending, disjoint */
	unsigned count;
	const struct bus_doorbells *doorbells; /* NULL: none; set before the first region that wants one */
};

void bus_init(struct bus *bus);
/* Copies `region`. -EINVAL for an empty, wrapping or overlapping range, -ENOSPC when full. */
MUST_USE int bus_add(struct bus *bus, const struct bus_region *region, struct error *e);

/* 0, or -EFAULT when nothing answers: no region, a size it does not take, misaligned. *value is
 * untouched on failure. Thread: any. */
MUST_USE int bus_read(struct bus *bus, gpa_t address, unsigned size, uint64_t *value);
MUST_USE int bus_write(struct bus *bus, gpa_t address, unsigned size, uint64_t value);

#endif
