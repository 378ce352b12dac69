/* A hart with 64 KiB of RAM and one device, under an engine: what the fuzz targets for code run on. */
#ifndef DOPPEL_TESTS_BARE_HART_H
#define DOPPEL_TESTS_BARE_HART_H

#include <stdlib.h>

#include "engine/engine.h"
#include "riscv/hart.h"

#define RAM         UINT64_C(0x80000000)
#define SIZE        (64 * KIB)
#define DEVICE      UINT64_C(0x1000)
#define TARGETS_MAX 4

struct target {
	struct memory memory;
	struct bus bus;
	struct clock clock;
	struct hart_cluster cluster;
	struct hart *hart;
	struct engine_vcpu *vcpu;
	const struct engine *engine;
	uint8_t *ram;
	uint64_t device; /* of all writes to it */
};

static inline uint64_t bare_device_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	return offset * size;
}

static inline void bare_device_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	uint64_t *sum = device;

	*sum = *sum * 31 + (offset ^ value ^ size);
}

static inline void target_init(struct target *t, const struct engine *engine)
{
	static const struct bus_ops ops = {bare_device_read, bare_device_write, 1 | 2 | 4 | 8};
	const struct bus_region region = {
		.base = gpa(DEVICE), .size = 4096, .ops = &ops, .device = &t->device, .name = "device"};

	t->engine = engine;
	memory_init(&t->memory);
	bus_init(&t->bus);
	clock_init(&t->clock);
	t->cluster = (struct hart_cluster){
		.memory = &t->memory, .bus = &t->bus, .clock = &t->clock, .count = 1, .reset_pc = RAM};
	if (memory_add_ram(&t->memory, gpa(RAM), SIZE, "ram", NULL) || bus_add(&t->bus, &region, NULL))
		abort();
	t->ram = memory_host(&t->memory, gpa(RAM), SIZE);
	t->hart = t->cluster.harts[0] = hart_new(&t->cluster, 0);
	if (!t->hart || engine->vcpu_new(&t->vcpu, &t->hart->cpu, NULL))
		abort();
}

/* One target for each engine that works here; their number. */
static inline unsigned targets_make(struct target targets[TARGETS_MAX])
{
	unsigned count = 0;

	for (unsigned i = 0; engines[i] && count < TARGETS_MAX; i++) {
		struct engine_report report = {0};

		engines[i]->probe(&report);
		if (engines[i]->arch == ENGINE_RISCV64 && report.usable)
			target_init(&targets[count++], engines[i]);
	}
	return count;
}

#endif
