#include "bare.h"

#define COM1 0x3f8

struct boot boot;
static handler *handlers[VECTORS];

void put_text(const char *text)
{
	for (; *text; text++) {
		while (!(in8(COM1 + 5) & 0x20))
			;
		out8(COM1, (uint8_t)*text);
	}
}

void put_hex(uint64_t value)
{
	char text[19] = "0x";

	for (unsigned i = 0; i < 16; i++)
		text[2 + i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
	text[18] = 0;
	put_text(text);
}

void leave(uint8_t value)
{
	for (;;)
		out8(0xf4, value);
}

void fail(const char *what, uint64_t got, uint64_t wanted)
{
	put_text("failed: ");
	put_text(what);
	put_text(" is ");
	put_hex(got);
	put_text(", not ");
	put_hex(wanted);
	put_text("\n");
	leave(0x11);
}

void on_interrupt(unsigned vector, handler *fn)
{
	handlers[vector] = fn;
}

void interrupt(struct frame *frame)
{
	if (!handlers[frame->vector])
		fail("an interrupt without a handler: vector", frame->vector, frame->rip);
	handlers[frame->vector](frame);
}

static struct {
	uint64_t low, high;
} idt[VECTORS];

static struct {
	uint32_t reserved;
	uint32_t rsp0[2];
	uint32_t others[23];
} tss;
static uint8_t interrupt_stack[8192] __attribute__((aligned(16)));

static void load_tables(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} pointer = {sizeof idt - 1, (uintptr_t)idt};
	uint64_t base = (uintptr_t)&tss;

	for (unsigned i = 0; i < VECTORS; i++) {
		uint64_t at = (uintptr_t)stubs + 16 * i;

		idt[i].low = (at & 0xffff) | 8 << 16 | UINT64_C(0x8e00) << 32 | (at >> 16 & 0xffff) << 48;
		idt[i].high = at >> 32;
	}
	__asm__ volatile("lidt %0" : : "m"(pointer));
	tss.rsp0[0] = (uint32_t)(uintptr_t)(interrupt_stack + sizeof interrupt_stack);
	gdt_tss[0] = (sizeof tss - 1) | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 | (base >> 24) << 56;
	gdt_tss[1] = base >> 32;
	__asm__ volatile("ltr %w0" : : "r"(0x28));
}

void route(unsigned input, uint8_t vector, bool level)
{
	volatile uint32_t *select = (volatile uint32_t *)(uintptr_t)0xfec00000u;
	volatile uint32_t *window = (volatile uint32_t *)(uintptr_t)0xfec00010u;

	*select = 0x11 + 2 * input;
	*window = 0;
	*select = 0x10 + 2 * input;
	*window = vector | (level ? 1u << 15 : 0);
}

/* Of a multiboot information: words 0 flags, 4 command line, 5 and 6 modules, 11 and 12 the map. */
static void read_multiboot(const uint32_t *info)
{
	const uint32_t *modules = (const uint32_t *)(uintptr_t)info[6];
	uint32_t at = info[12], end = info[12] + info[11];

	if ((info[0] & 0x44) != 0x44)
		fail("the multiboot flags", info[0], 0x44);
	boot.command_line = (const char *)(uintptr_t)info[4];
	if (info[0] & 8 && info[5]) {
		boot.module = (const uint8_t *)(uintptr_t)modules[0];
		boot.module_bytes = modules[1] - modules[0];
	}
	while (at < end) {
		const uint32_t *range = (const uint32_t *)(uintptr_t)at;

		if (range[5] == 1)
			boot.ram_bytes += range[3] | (uint64_t)range[4] << 32;
		at += range[0] + 4;
	}
}

static void read_pvh(const uint32_t *info)
{
	const uint64_t *wide = (const uint64_t *)info;
	const uint64_t *map = (const uint64_t *)wide[5];

	CHECK(info[0], 0x336ec578);
	boot.pvh = true;
	boot.command_line = (const char *)wide[3];
	if (info[3]) {
		boot.module = (const uint8_t *)((const uint64_t *)wide[2])[0];
		boot.module_bytes = ((const uint64_t *)wide[2])[1];
	}
	for (uint32_t i = 0; i < info[12]; i++)
		if ((uint32_t)map[3 * i + 2] == 1)
			boot.ram_bytes += map[3 * i + 1];
}

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* The name of the test is the command line's last word. */
static const char *last_word(const char *text)
{
	const char *word = text;

	for (; *text; text++)
		if (*text == ' ')
			word = text + 1;
	return word;
}

void kernel_main(uint32_t magic, const uint32_t *info)
{
	if (magic == 0x2badb002)
		read_multiboot(info);
	else
		read_pvh(info);
	load_tables();
	/* Firmware may have left interrupts of the 8259s open. */
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	*apic(APIC_SPURIOUS) = 0x100 | 62;
	for (unsigned i = 0; i < test_count; i++)
		if (same(tests[i].name, last_word(boot.command_line))) {
			tests[i].run();
			put_text("well: ");
			put_text(tests[i].name);
			put_text("\n");
			leave(0x10);
		}
	put_text("no such test: ");
	put_text(boot.command_line);
	put_text("\n");
	leave(0x12);
}
