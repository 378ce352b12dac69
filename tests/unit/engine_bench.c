#include "engine_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct bench *make(const struct engine *engine, uint64_t code_cache, unsigned count)
{
	struct bench *b = calloc(1, sizeof *b);

	assert_non_null(b);
	b->engine = engine;
	b->count = count;
	memory_init(&b->memory);
	bus_init(&b->bus);
	clock_init(&b->clock);
	assert_int_equal(memory_add_ram(&b->memory, gpa(BENCH_RAM), BENCH_SIZE, "ram", NULL), 0);
	b->cluster = (struct hart_cluster){.memory = &b->memory,
					   .bus = &b->bus,
					   .clock = &b->clock,
					   .count = count,
					   .code_cache = code_cache,
					   .reset_pc = BENCH_RAM};
	for (unsigned i = 0; i < count; i++) {
		struct hart *hart = hart_new(&b->cluster, i);

		assert_non_null(hart);
		b->hart[i] = b->cluster.harts[i] = hart;
		hart->mstatus |= MSTATUS_FS;
		hart->pmpaddr[0] = UINT64_MAX >> 10;
		hart->pmpcfg[0] = 0x1f;
		hart_loaded(hart);
		assert_int_equal(engine->vcpu_new(&b->vcpu[i], &hart->cpu, NULL), 0);
	}
	return b;
}

struct bench *bench_new(const struct engine *engine)
{
	return make(engine, 0, BENCH_HARTS);
}

struct bench *bench_new_with(const struct engine *engine, uint64_t code_cache)
{
	return make(engine, code_cache, BENCH_HARTS);
}

struct bench *bench_new_alone(const struct engine *engine)
{
	return make(engine, 0, 1);
}

void bench_free(struct bench *b)
{
	for (unsigned i = 0; i < b->count; i++) {
		b->engine->vcpu_free(b->vcpu[i]);
		hart_free(b->hart[i]);
	}
	memory_finish(&b->memory);
	free(b);
}

void bench_write(struct bench *b, uint64_t address, const uint32_t *words, unsigned count)
{
	assert_int_equal(memory_write(&b->memory, gpa(address), words, count * sizeof *words), 0);
}

void bench_write64(struct bench *b, uint64_t address, uint64_t value)
{
	value = htole64(value);
	assert_int_equal(memory_write(&b->memory, gpa(address), &value, sizeof value), 0);
}

uint64_t bench_read64(struct bench *b, uint64_t address)
{
	uint64_t value = 0;

	assert_int_equal(memory_read(&b->memory, gpa(address), &value, sizeof value), 0);
	return le64toh(value);
}

enum engine_exit_reason bench_run(struct bench *b, unsigned index, uint64_t limit)
{
	struct engine_exit exit;

	b->engine->run(b->vcpu[index], limit, &exit);
	return exit.reason;
}

void bench_go(struct bench *b, unsigned index, uint64_t pc)
{
	b->hart[index]->pc = pc;
	b->hart[index]->waiting = false;
}
