/* Text, checks and the verdict: what payloads of both modes use. */
#include "bare.h"

static unsigned checks, failures;
static const char *where;
static uint64_t where_values[3];

void print(const char *text)
{
	while (*text)
		*(volatile uint8_t *)UART = (uint8_t)*text++;
}

void print_hex(uint64_t value)
{
	char text[19];
	char *at = text + sizeof(text) - 1;

	*at = 0;
	do {
		*--at = "0123456789abcdef"[value & 15];
		value >>= 4;
	} while (value);
	*--at = 'x';
	*--at = '0';
	print(at);
}

void print_decimal(uint64_t value)
{
	char text[24];
	char *at = text + sizeof(text) - 1;

	*at = 0;
	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	print(at);
}

void context(const char *name, uint64_t a, uint64_t b, uint64_t c)
{
	where = name;
	where_values[0] = a;
	where_values[1] = b;
	where_values[2] = c;
}

static void print_context(void)
{
	if (!where)
		return;
	print(" [");
	print(where);
	for (unsigned i = 0; i < 3; i++) {
		print(" ");
		print_hex(where_values[i]);
	}
	print("]");
}

void check_at(const char *what, unsigned line, uint64_t got, uint64_t want)
{
	checks++;
	if (got == want || ++failures > 40)
		return;
	print("FAIL line ");
	print_decimal(line);
	print(": ");
	print(what);
	print(" is ");
	print_hex(got);
	print(", not ");
	print_hex(want);
	print_context();
	print("\n");
}

void note(const char *text)
{
	print("note: ");
	print(text);
	print("\n");
}

void finish(unsigned code)
{
	*(volatile uint32_t *)FINISHER = code ? 0x3333 | code << 16 : 0x5555;
	for (;;)
		asm volatile("wfi");
}

void verdict(void)
{
	print_decimal(checks);
	print(" checks, ");
	print_decimal(failures);
	print(" failures\n");
	finish(failures || !checks ? 1 : 0);
}

/* The compiler may call these. */
void *memset(void *to, int value, size_t length);
void *memcpy(void *to, const void *from, size_t length);

void *memset(void *to, int value, size_t length)
{
	uint8_t *at = to;

	while (length--)
		*at++ = (uint8_t)value;
	return to;
}

void *memcpy(void *to, const void *from, size_t length)
{
	uint8_t *at = to;
	const uint8_t *source = from;

	while (length--)
		*at++ = *source++;
	return to;
}
