#include "kvm_bench.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool bench_can_run(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void tell(struct bench *b, uint64_t value)
{
	unsigned at = atomic_fetch_add(&b->told_count, 1);

	if (at < 64)
		b->told[at] = value;
}

static uint64_t port_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)size;
	return 0x40 + offset;
}

static void stop_all(struct bench *b)
{
	for (unsigned i = 0; i < b->count; i++)
		engine_kvm.stop(b->vcpus[i]);
}

static void out_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct bench *b = device;

	(void)offset;
	(void)size;
	tell(b, value);
	if (b->slow_from && atomic_load(&b->told_count) >= b->slow_from)
		usleep(10000);
}

static void done_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct bench *b = device;

	(void)offset;
	(void)size;
	atomic_store(&b->done, value | UINT64_C(1) << 32);
	stop_all(b);
}

static uint64_t mmio_read(void *device, uint64_t offset, unsigned size)
{
	struct bench *b = device;

	return (b->mmio_value >> (8 * (offset & 7))) & (size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1);
}

static void mmio_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	tell(device, value | offset << 48 | (uint64_t)size << 60);
}

static const struct bus_ops out_ops = {port_read, out_write, 1 | 2 | 4};
static const struct bus_ops done_ops = {port_read, done_write, 1 | 2 | 4};
static const struct bus_ops mmio_ops = {mmio_read, mmio_write, 1 | 2 | 4 | 8};

static void power(void *machine, enum power_action action, unsigned code)
{
	struct bench *b = machine;

	(void)code;
	b->power = action;
	stop_all(b);
}

static void add_region(struct bench *b, struct bus *bus, uint64_t at, uint64_t size, const struct bus_ops *ops)
{
	const struct bus_region region = {.base = gpa(at), .size = size, .ops = ops, .device = b, .name = "test"};

	assert_int_equal(bus_add(bus, &region, NULL), 0);
}

int bench_try(struct bench *b, unsigned cpus, unsigned without, const char *model, struct error *e)
{
	struct x86_platform_config config = {.memory = &b->memory, .bus = &b->bus, .ports = &b->ports,
					     .clock = &b->clock, .cpus = cpus, .cpu_model = model, .without = without,
					     .power = {power, b}, .output_port = PORT_OUT};
	int r;

	memset(b, 0, sizeof *b);
	clock_init(&b->clock);
	memory_init(&b->memory);
	bus_init(&b->bus);
	bus_init(&b->ports);
	assert_int_equal(memory_add_ram(&b->memory, gpa(0), BENCH_RAM, "ram", NULL), 0);
	add_region(b, &b->ports, PORT_OUT, 1, &out_ops);
	add_region(b, &b->ports, PORT_OUT - 1 - 8, 8, &out_ops);
	add_region(b, &b->ports, PORT_DONE, 4, &done_ops);
	add_region(b, &b->bus, MMIO_AT, 0x1000, &mmio_ops);
	r = engine_kvm.x86->platform_new(&b->platform, &config, e);
	for (unsigned i = 0; r == 0 && i < cpus; i++) {
		b->cpus[i] = x86_cpu_new(b->platform);
		assert_non_null(b->cpus[i]);
		r = engine_kvm.vcpu_new(&b->vcpus[i], &b->cpus[i]->cpu, e);
		b->count += r == 0;
	}
	return r;
}

void bench_init(struct bench *b, unsigned cpus, unsigned without)
{
	struct error e;

	if (bench_try(b, cpus, without, NULL, &e) < 0)
		fail_msg("%s", e.message);
}

void bench_finish(struct bench *b)
{
	for (unsigned i = 0; i < b->count; i++)
		engine_kvm.vcpu_free(b->vcpus[i]);
	for (unsigned i = 0; i < CPUS_MAX; i++)
		x86_cpu_free(b->cpus[i]);
	engine_kvm.x86->platform_free(b->platform);
	memory_finish(&b->memory);
}

void bench_put(struct bench *b, uint64_t at, const void *bytes, size_t length)
{
	assert_int_equal(memory_write(&b->memory, gpa(at), bytes, length), 0);
}

static void put64(struct bench *b, uint64_t at, uint64_t value)
{
	bench_put(b, at, &value, sizeof value);
}

void bench_code(struct bench *b, const void *code, const void *end)
{
	size_t length = (size_t)((const char *)end - (const char *)code);

	assert_in_range(length, 1, 0x4000);
	bench_put(b, CODE_AT, code, length);
}

void bench_real(struct bench *b)
{
	struct x86_cpu *cpu = b->cpus[0];

	cpu->segments[X86_CS].base = 0;
	cpu->segments[X86_CS].selector = 0;
	cpu->rip = CODE_AT;
	cpu->registers[X86_RSP] = CODE_AT;
}

void bench_protected(struct bench *b)
{
	x86_cpu_enter_protected(b->cpus[0]);
	b->cpus[0]->rip = CODE_AT;
	b->cpus[0]->registers[X86_RSP] = CODE_AT;
}

#define PAGE_ALL 7u /* present, writable, for users */

void bench_long(struct bench *b)
{
	struct x86_cpu *cpu = b->cpus[0];

	put64(b, PML4_AT, PDPT_AT | PAGE_ALL);
	put64(b, PDPT_AT, PD_AT | PAGE_ALL);
	put64(b, PDPT_AT + 24, DEVICES_PD_AT | PAGE_ALL);
	for (uint64_t i = 0; i < 512; i++) {
		put64(b, PD_AT + 8 * i, i << 21 | 0x80 | PAGE_ALL);
		put64(b, DEVICES_PD_AT + 8 * i, UINT64_C(3) << 30 | i << 21 | 0x80 | PAGE_ALL);
	}
	put64(b, GDT_AT + 0x10, UINT64_C(0x00af9b000000ffff));
	put64(b, GDT_AT + 0x18, UINT64_C(0x00cf93000000ffff));
	put64(b, GDT_AT + 0x20, UINT64_C(0x00affb000000ffff));
	put64(b, GDT_AT + 0x28, UINT64_C(0x00cff3000000ffff));
	put64(b, TSS_AT + 4, CODE_AT); /* RSP of ring 0 */
	x86_cpu_enter_long(cpu, PML4_AT);
	cpu->gdt = (struct x86_table){GDT_AT, 0x2f};
	cpu->idt = (struct x86_table){IDT_AT, 0xfff};
	cpu->segments[X86_TR].base = TSS_AT;
	cpu->rip = CODE_AT;
	cpu->registers[X86_RSP] = CODE_AT;
}

void bench_gate(struct bench *b, unsigned vector, uint64_t handler)
{
	put64(b, IDT_AT + 16 * vector, (handler & 0xffff) | 0x10u << 16 | UINT64_C(0xee00) << 32 |
					       (handler >> 16 & 0xffff) << 48);
	put64(b, IDT_AT + 16 * vector + 8, handler >> 32);
}

void bench_load(struct bench *b)
{
	for (unsigned i = 0; i < b->count; i++) {
		struct error e;

		if (engine_kvm.state_loaded(b->vcpus[i], &e) < 0)
			fail_msg("%s", e.message);
	}
}

struct engine_exit bench_run_one(struct bench *b, unsigned cpu)
{
	struct engine_exit out;

	engine_kvm.run(b->vcpus[cpu], 0, &out);
	return out;
}

void bench_run(struct bench *b)
{
	struct engine_exit out = bench_run_one(b, 0);

	if (out.reason != ENGINE_EXIT_KICKED)
		fail_msg("exit %d: %s", out.reason, out.message);
	assert_true(atomic_load(&b->done) >> 32);
}

void bench_save(struct bench *b, struct state_writer *w)
{
	struct error e;

	for (unsigned i = 0; i < b->count; i++) {
		if (engine_kvm.store_state(b->vcpus[i], &e) < 0)
			fail_msg("%s", e.message);
		state_save(w, &x86_cpu_state, "cpu", b->cpus[i]);
	}
	if (engine_kvm.x86->platform_store(b->platform, &e) < 0)
		fail_msg("%s", e.message);
	state_save(w, &x86_chips_state, "chips", &b->platform->chips);
	assert_int_equal(w->failed, 0);
}
