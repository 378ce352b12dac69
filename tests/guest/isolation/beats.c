/*
 * A witness: every 10 ms of its clock, a line on the console that tells when it was due and when it came. And a kernel that
 * ends in a crash. In M-mode, one hart. GUEST names the function that this payload is.
 */
#include <stddef.h>
#include <stdint.h>

#define UART     0x10000000u
#define FINISHER 0x100000u
#define MTIMECMP 0x2004000u
#define MTIME    0x200bff8u
/* Ticks of the clock, 10 MHz. */
#define PERIOD 100000u

static void put(char c)
{
	*(volatile uint8_t *)(uintptr_t)UART = (uint8_t)c;
}

static void put_text(const char *text)
{
	while (*text)
		put(*text++);
}

static void put_number(uint64_t value, unsigned digits)
{
	char text[20];

	for (unsigned i = 0; i < digits; i++, value /= 10)
		text[digits - 1 - i] = (char)('0' + value % 10);
	for (unsigned i = 0; i < digits; i++)
		put(text[i]);
}

static uint64_t now(void)
{
	return *(volatile uint64_t *)(uintptr_t)MTIME;
}

/* The form of a line is known to watch.c. */
void guest_beats(void)
{
	uint64_t due = now() + PERIOD, at;

	__asm__ volatile("csrw mie, %0" ::"r"((uint64_t)0x80));
	for (uint64_t number = 0;; number++, due += PERIOD) {
		*(volatile uint64_t *)(uintptr_t)MTIMECMP = due;
		while ((at = now()) < due)
			__asm__ volatile("wfi");
		put_text("beat ");
		put_number(number, 8);
		put_text(" due ");
		put_number(due, 12);
		put_text(" at ");
		put_number(at, 12);
		put(' ');
		for (unsigned i = 0; i < 16; i++)
			put((char)('a' + (number + i) % 26));
		put('\n');
	}
}

/* As a kernel that has just begun: words, a jump to where nothing is, and a handler that tells of it and gives up. */
void guest_crash(void)
{
	put_text("the kernel crashes\n");
	__asm__ volatile("la t0, 1f; csrw mtvec, t0; li t0, 0x40000000; jr t0; .balign 4; 1:" ::: "t0");
	*(volatile uint32_t *)(uintptr_t)FINISHER = 9 << 16 | 0x3333;
	for (;;)
		__asm__ volatile("wfi");
}

void start(void);

#define TEXT(text) #text
#define NAME(name) TEXT(name)
__attribute__((section(".text.start"), naked)) void start(void)
{
	__asm__ volatile("la sp, stack_end; call " NAME(GUEST));
}

__attribute__((aligned(16))) uint8_t stack[4096];
__asm__(".globl stack_end; .set stack_end, stack + 4096");
