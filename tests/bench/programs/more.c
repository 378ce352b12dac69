/* Further kinds: threaded code, methods, divisions, library string loops, long jumps, atomics, single precision. */
#include "bench.h"

#include <math.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

/* An interpreter that jumps from each operation to the next by a table of labels, on registers. */
static uint64_t threaded_run(void)
{
	static const uint8_t program[] = {0, 1, 2, 1, 3, 0, 2, 1, 4, 3, 5};
	static const void *const labels[] = {&&add, &&mix, &&shift, &&subtract, &&exchange, &&again};
	const uint8_t *at = program;
	uint64_t a = 1, b = 3, rounds = 2500000;

#define NEXT goto *labels[*at++]
	NEXT;
add:
	a += b;
	NEXT;
mix:
	b ^= a;
	NEXT;
shift:
	a = a << 1 | a >> 63;
	NEXT;
subtract:
	b -= a >> 3;
	NEXT;
exchange : {
	uint64_t c = a;

	a = b;
	b = c;
}
	NEXT;
again:
	if (--rounds == 0)
		return bench_mix(a, b);
	at = program;
	NEXT;
#undef NEXT
}

struct shape;

struct methods {
	uint64_t (*area)(const struct shape *shape);
	void (*grow)(struct shape *shape, uint64_t by);
};

struct shape {
	const struct methods *methods;
	uint64_t a, b;
};

static uint64_t square_area(const struct shape *shape)
{
	return shape->a * shape->a;
}

static uint64_t oblong_area(const struct shape *shape)
{
	return shape->a * shape->b;
}

static uint64_t triangle_area(const struct shape *shape)
{
	return shape->a * shape->b / 2;
}

static void grow_one(struct shape *shape, uint64_t by)
{
	shape->a = (shape->a + by) & 0xffff;
}

static void grow_both(struct shape *shape, uint64_t by)
{
	shape->a = (shape->a + by) & 0xffff;
	shape->b = (shape->b ^ by) & 0xffff;
}

static uint64_t methods_run(void)
{
	static const struct methods kinds[] = {
		{square_area, grow_one}, {oblong_area, grow_both}, {triangle_area, grow_both}};
	struct shape shapes[64];
	uint64_t seed = 19, sum = 0;

	for (uint64_t i = 0; i < 64; i++)
		shapes[i] = (struct shape){&kinds[bench_random(&seed) % 3], i + 1, 2 * i + 3};
	for (uint64_t round = 0; round < 40000; round++)
		for (uint64_t i = 0; i < 64; i++) {
			sum += shapes[i].methods->area(&shapes[i]);
			shapes[i].methods->grow(&shapes[i], round & 15);
		}
	return sum;
}

static uint64_t division_run(void)
{
	uint64_t sum = 0, seed = 23;

	for (uint64_t i = 1; i <= 10000000; i++) {
		uint64_t a = (uint64_t)bench_random(&seed) << 20 | i, b = (i & 0xffff) + 3;
		int32_t c = (int32_t)a, d = (int32_t)(b | 1);

		sum += a / b + a % b + (uint64_t)(int64_t)(c / d) + (uint64_t)(int64_t)(c % -d);
		sum ^= (uint64_t)((unsigned __int128)a * sum >> 64);
	}
	return sum;
}

/* What the C library does with strings. */
static uint64_t strings_run(void)
{
	static char text[4096], other[4096];
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof text - 1; i++)
		text[i] = (char)('a' + i * 7 % 23);
	for (size_t round = 0; round < 40000; round++) {
		size_t from = round % 300;

		memset(other, (int)(round & 63) + 1, 1 + round % 4000);
		strcpy(other + 8, text + from);
		sum += strlen(text + from) + (size_t)(strchr(text + from, 'z' - (int)(round & 3)) != NULL);
		sum += memcmp(text + from, other + 8, sizeof text - from) == 0;
		sum += (size_t)((char *)memchr(text, 0, sizeof text) - text);
	}
	return sum;
}

static jmp_buf back;

static void deeper(int depth, int value)
{
	volatile int keep = value;

	if (keep < 0)
		return;
	if (depth == 0)
		longjmp(back, keep | 1);
	deeper(depth - 1, keep + depth);
}

static uint64_t longjmp_run(void)
{
	volatile uint64_t sum = 0;

	for (volatile int i = 0; i < 3000000; i = i + 1) {
		int value = setjmp(back);

		if (value == 0)
			deeper(6, i);
		sum += (uint64_t)value;
	}
	return sum;
}

static uint64_t atomics_run(void)
{
	static _Atomic uint64_t counter, lock;

	for (uint64_t i = 0; i < 4000000; i++) {
		uint64_t free = 0;

		while (!atomic_compare_exchange_weak_explicit(&lock, &free, 1, memory_order_acquire,
							      memory_order_relaxed))
			free = 0;
		atomic_fetch_add_explicit(&counter, i, memory_order_relaxed);
		atomic_store_explicit(&lock, 0, memory_order_release);
	}
	return atomic_load(&counter);
}

/* Escape counts near the edge of the set; the points are chosen so that rounding does not decide. */
static uint64_t mandelbrot_run(void)
{
	uint64_t inside = 0;

	for (int row = 0; row < 160; row++)
		for (int column = 0; column < 240; column++) {
			double cr = column / 80.0 - 2.2503, ci = row / 80.0 - 1.0003, r = 0, i = 0;
			int n = 0;

			for (; n < 500 && r * r + i * i < 4; n++) {
				double next = r * r - i * i + cr;

				i = 2 * r * i + ci;
				r = next;
			}
			inside += n == 500;
		}
	return inside;
}

/* Multiplications by powers of two and sums of small integers only, so that every step is exact. */
static uint64_t single_run(void)
{
	static float a[1024], b[1024];
	float sum = 0;

	for (int i = 0; i < 1024; i++)
		a[i] = (float)(i % 64), b[i] = (float)(i % 32);
	for (int round = 0; round < 4000; round++) {
		sum = 0;
		for (int i = 0; i < 1024; i++) {
			float mixed = a[i] * 0.5f + b[i];

			a[i] = mixed > 48 ? mixed - 32 : floorf(mixed);
			sum += a[i] < b[i] ? (float)(int)b[i] : 1.0f;
		}
	}
	return (uint64_t)sum;
}

const struct bench benches_more[] = {
	{"threaded", NULL, threaded_run}, {"methods", NULL, methods_run},       {"division", NULL, division_run},
	{"strings", NULL, strings_run},   {"longjmp", NULL, longjmp_run},       {"atomics", NULL, atomics_run},
	{"single", NULL, single_run},     {"mandelbrot", NULL, mandelbrot_run}, {NULL, NULL, NULL},
};
