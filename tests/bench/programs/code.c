/* Code that a program writes, runs, and writes again, as a just-in-time compiler does. */
#include "bench.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define SLOTS      16
#define SLOT_BYTES 256
#define STEPS      12

typedef uint64_t function(uint64_t);

static uint8_t *code;

static void code_prepare(void)
{
	code = mmap(NULL, SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	if (code == MAP_FAILED)
		bench_die("mmap");
}

/* A function that adds and doubles its argument STEPS times, with constants of its own. */
static void write_function(uint8_t *at, uint32_t constant)
{
	uint8_t *start = at;

#ifdef __riscv
	for (uint32_t i = 0; i < STEPS; i++) {
		uint32_t add = 0x00050513 | (constant + i) % 2048 << 20; /* addi a0, a0, N */
		uint32_t twice = 0x00151593;                             /* slli a1, a0, 1 */
		uint32_t mix = 0x00b54533;                               /* xor a0, a0, a1 */

		memcpy(at, &add, 4);
		memcpy(at + 4, &twice, 4);
		memcpy(at + 8, &mix, 4);
		at += 12;
	}
	memcpy(at, &(uint32_t){0x00008067}, 4); /* ret */
	at += 4;
#else
	memcpy(at, "\x48\x89\xf8", 3); /* mov rax, rdi */
	at += 3;
	for (uint32_t i = 0; i < STEPS; i++) {
		uint32_t number = (constant + i) % 2048;

		memcpy(at, "\x48\x05", 2); /* add rax, N */
		memcpy(at + 2, &number, 4);
		memcpy(at + 6, "\x48\x8d\x0c\x00", 4); /* lea rcx, [rax + rax] */
		memcpy(at + 10, "\x48\x31\xc8", 3);    /* xor rax, rcx */
		at += 13;
	}
	*at++ = 0xc3;
#endif
	__builtin___clear_cache((char *)start, (char *)at);
}

static uint64_t call(size_t slot, uint64_t argument)
{
	function *f;
	uint8_t *at = code + slot * SLOT_BYTES;

	memcpy(&f, &at, sizeof f);
	return f(argument);
}

/* After each rewriting the new function runs a few times, and one of its neighbours in the page. */
static uint64_t rewritten_run(void)
{
	uint64_t sum = 1;

	for (size_t slot = 0; slot < SLOTS; slot++)
		write_function(code + slot * SLOT_BYTES, (uint32_t)slot);
	for (uint32_t i = 0; i < 30000; i++) {
		size_t slot = i % SLOTS;

		write_function(code + slot * SLOT_BYTES, i * 7);
		for (int n = 0; n < 20; n++)
			sum = call(slot, sum) & UINT64_C(0x7fffffffffff);
		sum += call((slot + 5) % SLOTS, i);
	}
	return sum;
}

#define FRESH 6000

static void fresh_prepare(void)
{
	code = mmap(NULL, FRESH * SLOT_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (code == MAP_FAILED)
		bench_die("mmap");
}

/* Each function is written behind the last one, as most compilers of this kind do, and runs a few hundred times. */
static uint64_t fresh_run(void)
{
	uint64_t sum = 1;

	for (uint32_t slot = 0; slot < FRESH; slot++) {
		write_function(code + slot * SLOT_BYTES, slot * 7);
		for (int n = 0; n < 300; n++)
			sum = call(slot, sum) & UINT64_C(0x7fffffffffff);
	}
	return sum;
}

const struct bench benches_code[] = {
	{"rewritten", code_prepare, rewritten_run},
	{"fresh", fresh_prepare, fresh_run},
	{NULL, NULL, NULL},
};
