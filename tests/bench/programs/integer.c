/* Calls, dispatch, branches, arithmetic. */
#include "bench.h"

#include <stddef.h>

/* Eight instructions a round on riscv64, so that the speed in instructions a second follows. */
#define LOOP_ROUNDS 25000000

static uint64_t loop_run(void)
{
	uint64_t a = 1, b = 2, n = LOOP_ROUNDS;

#ifdef __riscv
	__asm__ volatile("1:	add %0, %0, %1\n"
			 "	slli t0, %0, 3\n"
			 "	xor %1, %1, t0\n"
			 "	srli t1, %1, 7\n"
			 "	sltu t2, t1, %0\n"
			 "	add %1, %1, t2\n"
			 "	addi %2, %2, -1\n"
			 "	bnez %2, 1b\n"
			 : "+r"(a), "+r"(b), "+r"(n)
			 :
			 : "t0", "t1", "t2");
#else
	for (; n; n--) {
		a += b;
		b ^= a << 3;
		b += b >> 7 < a;
		__asm__("" : "+r"(a), "+r"(b));
	}
#endif
	return a + b;
}

static uint64_t fib(uint64_t n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t fib_run(void)
{
	return fib(36);
}

static int64_t tak(int64_t x, int64_t y, int64_t z)
{
	return y >= x ? z : tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y));
}

static uint64_t tak_run(void)
{
	uint64_t sum = 0;

	for (volatile int64_t z = 7; z < 9; z = z + 1)
		sum += (uint64_t)tak(24, 16, z);
	return sum;
}

enum { PUSH, ADD, SUBTRACT, MULTIPLY, LOAD, STORE, LESS, BRANCH, AND, HALT };

/* sum = 0; i = 0; do { sum = (sum + i * 3 - (i & 7)); i = i + 1; } while (i < limit) */
static const uint32_t program[] = {
	PUSH, 0,        STORE, 0,     PUSH, 0,    STORE, 1,    LOAD,     0,     LOAD,   1,    PUSH,
	3,    MULTIPLY, ADD,   LOAD,  1,    PUSH, 7,     AND,  SUBTRACT, STORE, 0,      LOAD, 1,
	PUSH, 1,        ADD,   STORE, 1,    LOAD, 1,     PUSH, 1000000,  LESS,  BRANCH, 8,    HALT,
};

static uint64_t bytecode_run(void)
{
	uint64_t stack[16] = {0}, variables[4] = {0}, *top = stack;

	for (const uint32_t *at = program;;) {
		switch (*at++) {
		case PUSH:
			*++top = *at++;
			break;
		case ADD:
			top--, *top += top[1];
			break;
		case SUBTRACT:
			top--, *top -= top[1];
			break;
		case MULTIPLY:
			top--, *top *= top[1];
			break;
		case AND:
			top--, *top &= top[1];
			break;
		case LOAD:
			*++top = variables[*at++];
			break;
		case STORE:
			variables[*at++] = *top--;
			break;
		case LESS:
			top--, *top = *top < top[1];
			break;
		case BRANCH:
			at = *top-- ? program + *at : at + 1;
			break;
		default:
			return variables[0];
		}
	}
}

/* A list searched and reversed, a small matrix, a state machine over text, a CRC of it all. */
struct item {
	struct item *next;
	int32_t value;
};

static uint16_t crc16(uint16_t crc, uint16_t value)
{
	for (int bit = 0; bit < 16; bit++) {
		unsigned carry = (crc ^ value) & 1;

		crc = (uint16_t)(crc >> 1 ^ (carry ? 0xa001 : 0));
		value >>= 1;
	}
	return crc;
}

static uint16_t list_work(struct item *items, size_t count, uint16_t crc)
{
	struct item *head = NULL;

	for (size_t i = 0; i < count; i++) {
		items[i].value = (int32_t)((i * 7919 + crc) & 0xfff);
		items[i].next = head;
		head = &items[i];
	}
	for (int32_t wanted = 0; wanted < 24; wanted++) {
		struct item *reversed = NULL, *found = head;

		while (found && (found->value & 31) != wanted)
			found = found->next;
		crc = crc16(crc, (uint16_t)(found ? found->value : wanted));
		for (struct item *item = head, *next; item; item = next) {
			next = item->next;
			item->next = reversed;
			reversed = item;
		}
		head = reversed;
	}
	return crc;
}

static uint16_t matrix_work(uint16_t crc)
{
	enum { SIDE = 12 };
	int16_t a[SIDE][SIDE], b[SIDE][SIDE];
	int32_t trace = 0;

	for (int i = 0; i < SIDE; i++)
		for (int j = 0; j < SIDE; j++) {
			a[i][j] = (int16_t)((i * j + crc) & 0xff);
			b[i][j] = (int16_t)(i + j);
		}
	for (int i = 0; i < SIDE; i++)
		for (int j = 0; j < SIDE; j++) {
			int32_t sum = 0;

			for (int k = 0; k < SIDE; k++)
				sum += a[i][k] * b[k][j];
			trace += sum >> 2 & 0x7ff;
		}
	return crc16(crc, (uint16_t)trace);
}

static uint16_t state_work(uint16_t crc)
{
	static const char text[] = "5012,-7.25e3,+88,.5,0x1f,word,12e,3.14159,-0,99999,";
	enum { START, INTEGER, FRACTION, EXPONENT, INVALID } state = START;
	uint16_t counts[5] = {0};

	for (size_t i = 0; i < sizeof text - 1; i++) {
		char c = (char)(text[i] ^ (i == crc % sizeof text ? 1 : 0));

		if (c == ',') {
			counts[state]++;
			state = START;
		} else if (c >= '0' && c <= '9') {
			state = state == START ? INTEGER : state;
		} else if (c == '.') {
			state = state <= INTEGER ? FRACTION : INVALID;
		} else if (c == 'e') {
			state = state == INTEGER || state == FRACTION ? EXPONENT : INVALID;
		} else if ((c != '-' && c != '+') || state != START) {
			state = INVALID;
		}
	}
	for (int i = 0; i < 5; i++)
		crc = crc16(crc, counts[i]);
	return crc;
}

static uint64_t mix_run(void)
{
	static struct item items[64];
	uint16_t crc = 0;

	for (int round = 0; round < 6000; round++)
		crc = state_work(matrix_work(list_work(items, 64, crc)));
	return crc;
}

#define SORTED 150000

static uint32_t numbers[SORTED];

static void sort_prepare(void)
{
	uint64_t seed = 1;

	for (size_t i = 0; i < SORTED; i++)
		numbers[i] = bench_random(&seed);
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int by_low_bits(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a << 16 | *(const uint32_t *)a >> 16;
	uint32_t y = *(const uint32_t *)b << 16 | *(const uint32_t *)b >> 16;

	return ascending(&x, &y);
}

/* The library's own differ, so this is one of ours; the comparison stays a call through a pointer. */
static void sort(uint32_t *low, uint32_t *high, int (*compare)(const void *, const void *))
{
	while (high - low > 1) {
		uint32_t pivot = low[(high - low) / 2], *i = low, *j = high - 1;

		while (i <= j) {
			while (compare(i, &pivot) < 0)
				i++;
			while (compare(j, &pivot) > 0)
				j--;
			if (i <= j) {
				uint32_t other = *i;

				*i++ = *j;
				*j-- = other;
			}
		}
		if (j + 1 - low < high - i) {
			sort(low, j + 1, compare);
			low = i;
		} else {
			sort(i, high, compare);
			high = j + 1;
		}
	}
}

static uint64_t sort_run(void)
{
	static int (*const orders[])(const void *, const void *) = {ascending, by_low_bits};
	uint64_t sum = 0;

	for (size_t order = 0; order < 2; order++) {
		int (*volatile compare)(const void *, const void *) = orders[order];

		sort(numbers, numbers + SORTED, compare);
		for (size_t i = 0; i < SORTED; i += 97)
			sum = bench_mix(sum, numbers[i]);
	}
	return sum;
}

static uint32_t rotate(uint32_t value, int count)
{
	return value >> count | value << (32 - count);
}

/* FIPS 180-4, 6.2; the constants are the fractions of cube roots, computed here in integers. */
static uint32_t sha_constants[64];
static uint8_t sha_data[1 << 20];

static uint32_t cube_root_fraction(uint64_t prime)
{
	unsigned __int128 target = (unsigned __int128)prime << 96;
	uint64_t root = 0;

	for (int bit = 36; bit >= 0; bit--) {
		unsigned __int128 next = root | UINT64_C(1) << bit;

		if (next * next * next <= target)
			root = (uint64_t)next;
	}
	return (uint32_t)root;
}

static void sha_prepare(void)
{
	uint64_t seed = 7;
	int count = 0;

	for (uint64_t n = 2; count < 64; n++) {
		uint64_t divisor = 2;

		while (divisor < n && n % divisor)
			divisor++;
		if (divisor == n)
			sha_constants[count++] = cube_root_fraction(n);
	}
	for (size_t i = 0; i < sizeof sha_data; i++)
		sha_data[i] = (uint8_t)bench_random(&seed);
}

static void sha_block(uint32_t state[8], const uint8_t *block)
{
	uint32_t w[64], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5],
			g = state[6], h = state[7];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
		       (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
	for (int i = 0; i < 64; i++) {
		uint32_t one = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) +
			       sha_constants[i] + w[i];
		uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));

		h = g, g = f, f = e, e = d + one;
		d = c, c = b, b = a, a = one + two;
	}
	state[0] += a, state[1] += b, state[2] += c, state[3] += d;
	state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static uint64_t sha_run(void)
{
	uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

	for (int round = 0; round < 12; round++)
		for (size_t at = 0; at < sizeof sha_data; at += 64)
			sha_block(state, sha_data + at);
	return (uint64_t)state[0] << 32 | state[7];
}

const struct bench benches_integer[] = {
	{"loop", NULL, loop_run},         {"fib", NULL, fib_run}, {"tak", NULL, tak_run},
	{"bytecode", NULL, bytecode_run}, {"mix", NULL, mix_run}, {"sort", sort_prepare, sort_run},
	{"sha256", sha_prepare, sha_run}, {NULL, NULL, NULL},
};
