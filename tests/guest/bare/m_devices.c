/*
 * Garbage in every register of every device, of every size, and the machine is still there. The finisher and the
 * registers that end or reset it are left out.
 */
#include "bare.h"

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t random_value(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static const struct {
	uint64_t base, size, step;
} devices[] = {
	{0x101000, 0x1000, 4},              /* RTC */
	{CLINT, 0x10000, 16},               /* ACLINT */
	{0xc000000, 0x4000, 16},            /* PLIC: priorities, pending, enables */
	{0xc200000, 0x4000, 16},            /* PLIC: thresholds, claims */
	{0xc000000 + 0x5ff000, 0x1000, 64}, /* PLIC: its end */
	{0x10001000, 8 * 0x1000, 4},        /* virtio-mmio */
	{UART, 0x100, 1},                   /* UART */
};

/* Any single access may fault, and nothing else may happen. */
static void poke(uint64_t address, unsigned size)
{
	uint64_t cause = try_store(S, address, size);

	context("device", address, size, 0);
	check(cause == 0 || cause == STORE_ACCESS || cause == STORE_MISALIGNED, 1);
	/* A misaligned access may be made, and fail, in parts. */
	if (cause)
		check(last.tval >= address && last.tval < address + size, 1);
	cause = try_load(S, address, size);
	check(cause == 0 || cause == LOAD_ACCESS || cause == LOAD_MISALIGNED, 1);
}

static naked void store_value(void)
{
	asm("sd a1, 0(a0); ret");
}
static naked void store_word(void)
{
	asm("sw a1, 0(a0); ret");
}
static naked void store_byte(void)
{
	asm("sb a1, 0(a0); ret");
}
static naked void amo_value(void)
{
	asm("amoadd.w a0, a1, (a0); ret");
}
static naked void execute_it(void)
{
	asm("jr a0");
}

static void garbage(uint64_t address)
{
	static const void *const stores[] = {store_value, store_word, store_byte};

	for (unsigned i = 0; i < 3; i++)
		run(M, stores[i], address, random_value());
	for (unsigned size = 1; size <= 8; size *= 2)
		poke(address + (random_value() & (size - 1)), size);
}

static void recover(void)
{
	volatile uint8_t *uart = (volatile uint8_t *)UART;

	csr_write(mie, 0);
	for (unsigned i = 0; i < 8; i++)
		*(volatile uint64_t *)(CLINT + 0x4000 + 8 * i) = UINT64_MAX;
	uart[3] = 3;
	uart[1] = 0;
	uart[4] = 3;
	uart[2] = 7;
	uart[7] = 0;
}

/* Devices are not memory: no code comes from them, and atomics are refused. */
static void not_memory(void)
{
	static const uint64_t places[] = {UART, CLINT, 0xc000000, 0x101000, 0x10001000, HOLE};

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		context("not memory", places[i], 0, 0);
		last = run(M, execute_it, places[i], 0);
		check(last.cause, FETCH_ACCESS);
		check(last.tval, places[i]);
		last = run(M, amo_value, places[i], 0);
		check(last.cause, STORE_ACCESS);
		check(last.tval, places[i]);
	}
}

int main(void)
{
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
			for (uint64_t at = 0; at < devices[i].size; at += devices[i].step)
				garbage(devices[i].base + at);
	recover();
	print("\n");
	/* QEMU 7.2 executes from devices, and lets atomics reach them. */
	if (!on_qemu())
		not_memory();
	return 0;
}
