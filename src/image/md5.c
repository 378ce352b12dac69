#include "image/md5.h"

#include <endian.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define BLOCK 64

/* How far each step of the four rounds rotates (section 3.4). */
static const uint8_t rotations[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

/* The table T: 2^32 times the absolute value of the sine of 1 to 64, in radians. */
static uint32_t sine(unsigned i)
{
	return (uint32_t)(uint64_t)floor(fabs(sin((double)(i + 1))) * 4294967296.0);
}

static uint32_t rotate(uint32_t value, unsigned by)
{
	return value << by | value >> (32 - by);
}

static uint32_t mix(unsigned round, uint32_t b, uint32_t c, uint32_t d)
{
	switch (round) {
	case 0:
		return (b & c) | (~b & d);
	case 1:
		return (b & d) | (c & ~d);
	case 2:
		return b ^ c ^ d;
	}
	return c ^ (b | ~d);
}

static void digest_block(uint32_t state[4], const uint8_t *block, const uint32_t table[64])
{
	static const unsigned factor[4] = {1, 5, 3, 7}, offset[4] = {0, 1, 5, 0};
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3];

	for (unsigned i = 0; i < 64; i++) {
		unsigned round = i / 16;
		uint32_t word, sum;

		memcpy(&word, block + 4 * ((factor[round] * i + offset[round]) % 16), 4);
		sum = a + mix(round, b, c, d) + le32toh(word) + table[i];
		a = d;
		d = c;
		c = b;
		b += rotate(sum, rotations[round][i % 4]);
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

void md5_text(const void *bytes, size_t size, char out[MD5_TEXT_SIZE])
{
	uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}, table[64];
	uint8_t tail[2 * BLOCK] = {0};
	size_t whole = size / BLOCK * BLOCK, rest = size - whole;
	size_t tail_size = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;
	uint64_t bits = htole64((uint64_t)size * 8);

	for (unsigned i = 0; i < 64; i++)
		table[i] = sine(i);
	for (size_t at = 0; at < whole; at += BLOCK)
		digest_block(state, (const uint8_t *)bytes + at, table);
	if (rest > 0)
		memcpy(tail, (const uint8_t *)bytes + whole, rest);
	tail[rest] = 0x80;
	memcpy(tail + tail_size - 8, &bits, 8);
	for (size_t at = 0; at < tail_size; at += BLOCK)
		digest_block(state, tail + at, table);
	for (unsigned i = 0; i < 16; i++)
		snprintf(out + 2 * (size_t)i, 3, "%02x", state[i / 4] >> (8 * (i % 4)) & 0xff);
}
