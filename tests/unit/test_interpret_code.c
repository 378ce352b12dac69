/* Guest code that changes while it is looked at. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/interpret/code.h"

#define LOOKS 3000000

/* Bytes at an offset from an aligned word, and what is there. */
static void instructions(void **state)
{
	static const struct {
		uint8_t bytes[8];
		unsigned at, room;
		uint32_t word;
		bool whole;
	} cases[] = {
		{{0x13, 0x05, 0x10, 0x00}, 0, 8, 0x00100513, true},
		{{0x13, 0x05, 0x10, 0x00}, 0, 4, 0x00100513, true},
		{{0x13, 0x05, 0x10, 0x00}, 0, 2, 0x0513, false},
		{{0x05, 0x45, 0x82, 0x80}, 0, 4, 0x4505, true},
		{{0x05, 0x45, 0x82, 0x80}, 0, 2, 0x4505, true},
		{{0, 0, 0x05, 0x45, 0x82, 0x80}, 2, 6, 0x4505, true},
		{{0, 0, 0x05, 0x45, 0x82, 0x80}, 2, 2, 0x4505, true},
		{{0, 0, 0x13, 0x05, 0x10, 0x00}, 2, 6, 0x00100513, true},
		{{0, 0, 0x13, 0x05, 0x10, 0x00}, 2, 2, 0x0513, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		_Alignas(4) uint8_t bytes[8];
		bool whole;

		memcpy(bytes, cases[i].bytes, sizeof bytes);
		assert_int_equal(code_instruction(bytes + cases[i].at, cases[i].room, &whole), cases[i].word);
		assert_int_equal(whole, cases[i].whole);
	}
}

/* Each length at both alignments; a difference in each byte. */
static void equality(void **state)
{
	_Alignas(4) uint8_t bytes[24], copy[24];

	(void)state;
	for (unsigned at = 0; at <= 2; at += 2) {
		for (unsigned length = 0; length <= 16; length += 2) {
			for (unsigned i = 0; i < sizeof bytes; i++)
				bytes[i] = (uint8_t)(i * 37 + 1);
			memcpy(copy, bytes + at, length);
			assert_true(code_equals(bytes + at, copy, length));
			for (unsigned i = 0; i < sizeof bytes; i++) {
				bytes[i] ^= 0x10;
				assert_int_equal(code_equals(bytes + at, copy, length), i < at || i >= at + length);
				bytes[i] ^= 0x10;
			}
		}
	}
}

/* Jumps 8 bytes apart, as a guest changes them one after the other: the third has the first byte that differs of the second
 * back, so that a second look at that byte would find the first one again. */
static const uint32_t jumps[] = {0x1180106f, 0x1200106f, 0x1280106f};

static _Atomic uint32_t code[2];
static atomic_bool over;

static void *change(void *arg)
{
	for (unsigned i = 0; !atomic_load_explicit(&over, memory_order_relaxed); i++)
		atomic_store_explicit(&code[0], jumps[1 + i % 2], memory_order_relaxed);
	return arg;
}

static void a_third_value(void **state)
{
	unsigned found = 0, torn = 0;
	pthread_t thread;
	bool whole;

	(void)state;
	atomic_store(&code[0], jumps[1]);
	assert_int_equal(pthread_create(&thread, NULL, change, NULL), 0);
	for (unsigned i = 0; i < LOOKS; i++) {
		const uint8_t *source = (const uint8_t *)(const void *)code;
		uint32_t word = code_instruction(source, 4, &whole);

		found += code_equals(source, (const uint8_t *)&jumps[0], 4);
		torn += word != jumps[1] && word != jumps[2];
	}
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	assert_int_equal(found, 0);
	assert_int_equal(torn, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instructions),
		cmocka_unit_test(equality),
		cmocka_unit_test(a_third_value),
	};

	return cmocka_run_group_tests_name("interpret-code", tests, NULL, NULL);
}
