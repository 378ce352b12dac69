/* What the tests of a bare PC share: ports, the console, interrupts, the local APIC, and how a test ends. */
#ifndef BARE_X86_H
#define BARE_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/* What the CPU and the stubs have pushed. */
struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, code, rip, cs, rflags, rsp, ss;
};

typedef void handler(struct frame *frame);
/* A vector without a handler ends the test. */
#define VECTORS 64
void on_interrupt(unsigned vector, handler *fn);

void put_text(const char *text);
void put_hex(uint64_t value);

/* The test failed: both operands are told, and the machine ends with status 35. */
void fail(const char *what, uint64_t got, uint64_t wanted) __attribute__((noreturn));
#define CHECK(got, wanted)                                                                                        \
	do {                                                                                                      \
		if ((uint64_t)(got) != (uint64_t)(wanted))                                                        \
			fail(#got, (uint64_t)(got), (uint64_t)(wanted));                                          \
	} while (0)
/* The machine ends by the debug exit port: value << 1 | 1. */
void leave(uint8_t value) __attribute__((noreturn));

/* Registers of the local APIC. */
enum {
	APIC_ID = 0x20,
	APIC_EOI = 0xb0,
	APIC_SPURIOUS = 0xf0,
	APIC_COMMAND = 0x300,
	APIC_COMMAND_TO = 0x310,
	APIC_TIMER = 0x320,
	APIC_COUNT = 0x380,
	APIC_LEFT = 0x390,
	APIC_DIVIDE = 0x3e0,
};

static inline volatile uint32_t *apic(unsigned offset)
{
	return (volatile uint32_t *)(uintptr_t)(0xfee00000u + offset);
}

/* The input of the IOAPIC sends `vector` to CPU 0, at an edge or a level. */
void route(unsigned input, uint8_t vector, bool level);

static inline void wait_for_interrupt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* start.S */
void enter_user(void (*rip)(void), void *rsp);
extern const uint8_t other_start[], other_end[];
void leave_user(void);
extern const uint8_t stubs[];
extern uint64_t gdt_tss[2];
void interrupt(struct frame *frame);
void kernel_main(uint32_t magic, const uint32_t *info);
void other_main(void);

struct test {
	const char *name;
	void (*run)(void);
};
extern const struct test tests[];
extern const unsigned test_count;
/* What the boot loader said. */
extern struct boot {
	const char *command_line;
	uint64_t ram_bytes;    /* the sum of what its map of memory says is RAM */
	uint64_t module_bytes; /* 0: none */
	const uint8_t *module;
	bool pvh;
} boot;

#endif
