/*
 * A test bench for one device: a bus to reach its registers as a guest does, harts whose interrupt bits can be
 * looked at, a clock that stands still until a test sets it, a probe for a wire, and its state saved, damaged
 * and loaded.
 */
#ifndef DOPPEL_TESTS_DEVICE_BENCH_H
#define DOPPEL_TESTS_DEVICE_BENCH_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device/devices.h"

#define BENCH_HARTS 4

struct bench {
	struct bus bus;
	struct clock clock;
	struct hart_cluster cluster;
	struct hart harts[BENCH_HARTS];
};

static inline void bench_init(struct bench *b)
{
	memset(b, 0, sizeof *b);
	bus_init(&b->bus);
	clock_init(&b->clock);
	b->cluster.bus = &b->bus;
	b->cluster.clock = &b->clock;
	b->cluster.count = BENCH_HARTS;
	for (unsigned i = 0; i < BENCH_HARTS; i++) {
		b->cluster.harts[i] = &b->harts[i];
		hart_init(&b->harts[i], &b->cluster, i);
	}
}

static inline void bench_add(struct bench *b, struct device *device)
{
	struct error e;

	assert_int_equal(device_attach(device, &b->bus, &e), 0);
	device_reset(device);
}

static inline uint64_t bench_read(struct bench *b, uint64_t address, unsigned size)
{
	uint64_t value = 0;

	assert_int_equal(bus_read(&b->bus, gpa(address), size, &value), 0);
	return value;
}

static inline void bench_write(struct bench *b, uint64_t address, uint64_t value, unsigned size)
{
	assert_int_equal(bus_write(&b->bus, gpa(address), size, value), 0);
}

static inline bool bench_pending(struct bench *b, unsigned hart, enum riscv_interrupt line)
{
	return (hart_mip(&b->harts[hart]) & IRQ_BIT(line)) != 0;
}

struct probe {
	bool level;
	unsigned rises;
};

static inline void probe_set(void *probe, unsigned number, bool level)
{
	struct probe *p = probe;

	(void)number;
	p->rises += level && !p->level;
	p->level = level;
}

static inline struct irq_line probe_line(struct probe *p)
{
	return (struct irq_line){.set = probe_set, .controller = p, .number = 10};
}

/* A device's section with bytes of its own, so that a test can damage it. */
struct saved {
	struct state_section section;
	uint8_t *payload;
};

static inline struct saved bench_save(struct device *device)
{
	struct state_writer w;
	struct state_reader r;
	struct saved saved;
	struct error e;

	state_writer_init(&w);
	device_save(device, &w);
	assert_int_equal(w.failed, 0);
	state_reader_init(&r, w.bytes, w.length);
	assert_int_equal(state_next(&r, &saved.section, &e), 1);
	saved.payload = malloc(saved.section.length);
	assert_non_null(saved.payload);
	memcpy(saved.payload, saved.section.payload, saved.section.length);
	saved.section.payload = saved.payload;
	assert_int_equal(state_next(&r, &(struct state_section){0}, &e), 0);
	state_writer_finish(&w);
	return saved;
}

/* Puts `value` into one element of a saved field; the payload's layout is in docs/internals/state.md. */
static inline void bench_damage(struct saved *saved, const struct state_descriptor *d, const char *name,
				unsigned element, uint64_t value)
{
	uint8_t *at = saved->payload;

	for (unsigned i = 0; i < d->field_count; i++) {
		const struct state_field *field = &d->fields[i];
		unsigned size = STATE_SIZE_OF(field->type);
		le64_t wire = le64_put(value);

		at += 8;
		if (strcmp(field->name, name) == 0) {
			assert_true(element < state_field_elements(field));
			memcpy(at + element * size, &wire, size);
			return;
		}
		at += state_field_elements(field) * size;
	}
	fail_msg("no field %s", name);
}

static inline void bench_load(struct device *device, const struct saved *saved)
{
	struct error e;
	int result = device_load(device, &saved->section, &e);

	if (result)
		fail_msg("load: %d, %s", result, e.message);
}

/* Loading `device`'s state with one element replaced must be refused and change nothing. */
static inline void bench_refuses(struct device *device, const char *field, unsigned element, uint64_t value)
{
	struct saved saved = bench_save(device), before = bench_save(device), after;
	struct error e;

	bench_damage(&saved, device->type->state, field, element, value);
	assert_int_equal(device_load(device, &saved.section, &e), -EINVAL);
	assert_int_not_equal(strlen(e.message), 0);
	after = bench_save(device);
	assert_int_equal(before.section.length, after.section.length);
	assert_memory_equal(before.payload, after.payload, before.section.length);
	free(saved.payload);
	free(before.payload);
	free(after.payload);
}

#endif
