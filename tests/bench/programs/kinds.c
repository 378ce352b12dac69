/* More kinds that real programs are made of: tables of a cipher, carries of large numbers, a code of bits, dynamic
 * programming, floats and unsigned numbers, code that is written once and runs often. */
#include "bench.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static uint32_t boxes[4][256], keys[44];

static void cipher_prepare(void)
{
	uint64_t seed = 5;

	for (size_t i = 0; i < 256 * 4; i++)
		boxes[i / 256][i % 256] = bench_random(&seed) * 2 + 1;
	for (size_t i = 0; i < 44; i++)
		keys[i] = bench_random(&seed);
}

static uint32_t column(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t key)
{
	return boxes[0][a >> 24] ^ boxes[1][b >> 16 & 255] ^ boxes[2][c >> 8 & 255] ^ boxes[3][d & 255] ^ key;
}

/* Rounds as those of AES by tables. */
static uint64_t cipher_run(void)
{
	uint32_t a = 1, b = 2, c = 3, d = 4;

	for (int block = 0; block < 250000; block++)
		for (const uint32_t *key = keys; key < keys + 44; key += 4) {
			uint32_t e = column(a, b, c, d, key[0]), f = column(b, c, d, a, key[1]);
			uint32_t g = column(c, d, a, b, key[2]);

			d = column(d, a, b, c, key[3]);
			a = e, b = f, c = g;
		}
	return bench_mix((uint64_t)a << 32 | b, (uint64_t)c << 32 | d);
}

/* Sums of numbers of 16,384 bits. */
static uint64_t carries_run(void)
{
	static uint64_t a[256], b[256];
	uint64_t carry = 0;

	for (uint64_t i = 0; i < 256; i++) {
		a[i] = i * UINT64_C(0x9e3779b97f4a7c15);
		b[i] = ~i * UINT64_C(0xc2b2ae3d27d4eb4f);
	}
	for (int round = 0; round < 40000; round++)
		for (size_t i = 0; i < 256; i++) {
			uint64_t sum = a[i] + carry, both = sum + b[i];

			carry = (sum < carry) | (both < sum);
			a[i] = both;
		}
	return bench_mix(a[3], a[255]) + carry;
}

static uint8_t packed[1 << 17];

static void bits_prepare(void)
{
	uint64_t seed = 3;

	for (size_t i = 0; i < sizeof packed; i++)
		packed[i] = (uint8_t)bench_random(&seed);
}

/* Symbols of one to nine bits, from a table, as decoders of compressed data read them. */
static uint64_t bits_run(void)
{
	uint16_t lengths[512];
	uint64_t sum = 0;

	for (uint32_t i = 0; i < 512; i++)
		lengths[i] = (uint16_t)(i ? __builtin_ctz(i) + 1 : 9);
	for (int round = 0; round < 16; round++) {
		const uint8_t *at = packed, *end = packed + sizeof packed;
		uint64_t bits = 0;
		int have = 0;

		for (;;) {
			uint32_t symbol;

			for (; have <= 48 && at < end; have += 8)
				bits |= (uint64_t)*at++ << have;
			if (have < 9)
				break;
			symbol = (uint32_t)bits & 511;
			sum = sum * 5 + symbol;
			bits >>= lengths[symbol];
			have -= lengths[symbol];
		}
	}
	return sum;
}

#define WORD 700

/* How many letters must change to make one word of another. */
static int distance(const char *a, const char *b)
{
	static int row[WORD + 1];

	for (int j = 0; j <= WORD; j++)
		row[j] = j;
	for (int i = 0; i < WORD; i++) {
		int corner = row[0];

		row[0] = i + 1;
		for (int j = 0; j < WORD; j++) {
			int least = corner + (a[i] != b[j]);

			corner = row[j + 1];
			least = corner + 1 < least ? corner + 1 : least;
			row[j + 1] = row[j] + 1 < least ? row[j] + 1 : least;
		}
	}
	return row[WORD];
}

static uint64_t distance_run(void)
{
	static char a[WORD], b[WORD];
	uint64_t seed = 2, sum = 0;

	for (size_t i = 0; i < WORD; i++) {
		a[i] = (char)(bench_random(&seed) % 8);
		b[i] = (char)(bench_random(&seed) % 8);
	}
	for (int round = 0; round < 16; round++) {
		sum = bench_mix(sum, (uint64_t)distance(a, b));
		a[round] ^= 1;
	}
	return sum;
}

/* Numbers without a sign as floats and back, the least and the greatest of them; whole numbers only, so that all is exact. */
static uint64_t unsigned_run(void)
{
	uint64_t seed = 1, sum = 0;
	double least = 1e18, greatest = 0;

	for (uint32_t i = 0; i < 1500000; i++) {
		uint32_t word = bench_random(&seed);
		double x = (double)word + (double)(seed >> 12);

		least = fmin(least, x);
		greatest = fmax(greatest, x - least);
		sum += (uint64_t)greatest + (uint32_t)(x * 0x1p-22);
	}
	return bench_mix(sum, (uint64_t)least);
}

const struct bench benches_kinds[] = {
	{"cipher", cipher_prepare, cipher_run}, {"carries", NULL, carries_run},   {"bits", bits_prepare, bits_run},
	{"distance", NULL, distance_run},       {"unsigned", NULL, unsigned_run}, {NULL, NULL, NULL},
};
