/*
 * A guest that writes all of its memory without pause, and checks what it wrote the turn before: each page holds the turn in
 * which it was written and its own address, so that one which is missing, stale or somebody else's is found. In M-mode, on all
 * harts, each with its share of the pages. Every hart tells its turns: a line "HART TURN". What is wrong ends the machine with
 * status 1, and a line that says where.
 */
#include <stdint.h>

#define UART     UINT64_C(0x10000000)
#define FINISHER UINT64_C(0x100000)
#define BEGIN    UINT64_C(0x80400000)
#define END      UINT64_C(0x83800000) /* of 64 MiB: what is beyond is the monitor's to fill */
#define PAGE     UINT64_C(4096)
/* Words of a page that are written, in different lines of it. */
#define STRIDE 584

static volatile uint32_t talking;

static void put(char c)
{
	while (!(*(volatile uint8_t *)(UART + 5) & 0x20))
		;
	*(volatile uint8_t *)UART = (uint8_t)c;
}

static void put_number(uint64_t value, unsigned base)
{
	char text[24];
	unsigned n = 0;

	do {
		text[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		put(text[--n]);
}

/* One hart at a time. */
static void tell(const char *what, uint64_t a, uint64_t b, unsigned base)
{
	while (__atomic_exchange_n(&talking, 1, __ATOMIC_ACQUIRE))
		;
	for (; *what; what++)
		put(*what);
	put_number(a, base);
	put(' ');
	put_number(b, base);
	put('\n');
	__atomic_store_n(&talking, 0, __ATOMIC_RELEASE);
}

static uint64_t word(uint64_t at, uint64_t turn)
{
	return (at * UINT64_C(0x9e3779b97f4a7c15)) ^ turn;
}

static void check(uint64_t at, uint64_t turn)
{
	uint64_t found = *(volatile uint64_t *)at;

	if (found == (turn ? word(at, turn) : 0))
		return;
	tell("WRONG ", at, found, 16);
	*(volatile uint32_t *)FINISHER = 0x13333;
}

void go(uint64_t hart, uint64_t harts);
void go(uint64_t hart, uint64_t harts)
{
	for (uint64_t turn = 0;; turn++) {
		for (uint64_t page = BEGIN + hart * PAGE; page < END; page += harts * PAGE)
			for (uint64_t at = page; at + 8 <= page + PAGE; at += STRIDE) {
				check(at, turn);
				*(volatile uint64_t *)at = word(at, turn + 1);
			}
		tell("", hart, turn + 1, 10);
	}
}

void start(void);

#define QUOTE(text) #text
#define TEXT(text)  QUOTE(text)

/* a0 is the hart's number. 4 KiB of stack for each. */
__attribute__((section(".text.start"), naked)) void start(void)
{
	__asm__ volatile("la sp, stack_end; slli t0, a0, 12; sub sp, sp, t0; li a1, " TEXT(HARTS) "; call go");
}

__attribute__((aligned(16))) uint8_t stack[8 * 4096];
__asm__(".globl stack_end; .set stack_end, stack + 8 * 4096");
