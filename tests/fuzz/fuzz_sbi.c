/*
 * Sequences of SBI calls with hostile arguments from four harts.
 *
 * The input is a list of operations. Each begins with a byte: bits 1:0 name the hart, bits 4:2 the operation,
 * and a call goes on with an extension, a function and six arguments, each a byte that picks an interesting
 * value or announces eight bytes of a raw one.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "riscv/sbi.h"

#define HARTS    4
#define RAM_BASE UINT64_C(0x80000000)
#define RAM_SIZE (256 * KIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at, *end;
};

static struct memory memory;
static struct bus bus;
static struct clock guest_clock;
static struct hart_cluster cluster;
static struct hart harts[HARTS];

static void kick(struct hart *hart)
{
	(void)hart;
}

static void flush_tlb(struct hart *hart, bool one_page, gva_t address, bool one_asid, uint16_t asid)
{
	(void)hart;
	(void)one_page;
	(void)address;
	(void)one_asid;
	(void)asid;
}

static const struct hart_engine_ops engine = {kick, flush_tlb, kick};

static void console_write(void *console, const uint8_t *bytes, size_t length)
{
	uint8_t *sum = console;

	for (size_t i = 0; i < length; i++)
		*sum ^= bytes[i];
}

static size_t console_read(void *console, uint8_t *bytes, size_t room)
{
	uint8_t *sum = console;
	size_t length = *sum < room ? *sum : room;

	memset(bytes, *sum, length);
	return length;
}

static uint8_t take(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static uint64_t take_value(struct input *in)
{
	static const uint64_t values[] = {
		0,
		1,
		2,
		3,
		4,
		5,
		6,
		7,
		8,
		15,
		31,
		32,
		63,
		64,
		255,
		4096,
		UINT64_MAX,
		UINT64_MAX - 1,
		UINT64_MAX - 63,
		RAM_BASE,
		RAM_BASE + 1,
		RAM_BASE + 64,
		RAM_BASE + 4096,
		RAM_BASE + RAM_SIZE - 64,
		RAM_BASE + RAM_SIZE - 2,
		RAM_BASE + RAM_SIZE - 1,
		RAM_BASE + RAM_SIZE,
		RAM_SIZE,
		RAM_SIZE + 1,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		UINT64_C(1) << 63,
		0x10,
		0x54494d45,
		0x735049,
		0x52464e43,
		0x48534d,
		0x53525354,
		0x4442434e,
		0x53555350,
		0x535441,
		0x504d55,
		0x10000000,
	};
	uint8_t pick = take(in);
	uint64_t raw = 0;

	if (pick < ARRAY_SIZE(values))
		return values[pick];
	for (unsigned i = 0; i < 8; i++)
		raw |= (uint64_t)take(in) << 8 * i;
	return raw;
}

static void call(struct input *in, struct hart *hart)
{
	uint64_t pc = hart->pc;

	for (unsigned i = 17; i >= 10; i--)
		hart->x[i] = take_value(in);
	sbi_call(cluster.sbi, hart);
	assert(hart->pc == pc + 4);
}

static void operation(struct input *in)
{
	uint8_t what = take(in);
	struct hart *hart = &harts[what & 3];
	uint32_t power = atomic_load(&hart->power);

	switch (what >> 2 & 7) {
	default:
		if (power == HART_STARTED)
			call(in, hart);
		break;
	case 4:
		hart_serve_requests(hart);
		break;
	case 5:
		hart_set_pending(hart, IRQ_BIT(take(in) & 15), what & 0x80);
		break;
	case 6:
		hart->mie = take_value(in);
		clock_set(&guest_clock, take_value(in));
		hart_update_timers(hart, clock_ticks(&guest_clock));
		break;
	case 7:
		(void)sbi_resume(hart);
		sbi_sta_update(hart, take_value(in));
		break;
	}
	for (unsigned i = 0; i < HARTS; i++)
		assert(atomic_load(&harts[i].power) <= HART_SUSPENDED && harts[i].x[0] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	uint8_t sum = 0;
	struct sbi_console console = {console_write, console_read, &sum};

	if (memory.count == 0) {
		memory_init(&memory);
		if (memory_add_ram(&memory, gpa(RAM_BASE), RAM_SIZE, "ram", NULL))
			abort();
	}
	clock_init(&guest_clock);
	cluster = (struct hart_cluster){
		.memory = &memory, .bus = &bus, .clock = &guest_clock, .count = HARTS, .reset_pc = RAM_BASE};
	if (sbi_new(&cluster.sbi, &cluster, &console, NULL))
		abort();
	for (unsigned i = 0; i < HARTS; i++) {
		hart_init(&harts[i], &cluster, i);
		cluster.harts[i] = &harts[i];
		harts[i].engine = &engine;
		sbi_boot_state(&harts[i]);
		atomic_store(&harts[i].power, i ? HART_STOPPED : HART_STARTED);
	}
	while (in.at < in.end)
		operation(&in);
	sbi_free(cluster.sbi);
	return 0;
}
