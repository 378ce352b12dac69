/* Bytes as hexadecimal digits, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/hex.h"

static void test_all_bytes(void **state)
{
	uint8_t bytes[256], back[256];
	char text[2 * sizeof bytes + 1], expected[3];

	(void)state;
	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)i;
	memset(text, 'x', sizeof text);
	hex_write(text, bytes, sizeof bytes);
	assert_int_equal(strlen(text), 2 * sizeof bytes);
	for (unsigned i = 0; i < sizeof bytes; i++) {
		snprintf(expected, sizeof expected, "%02x", i);
		assert_memory_equal(text + (size_t)2 * i, expected, 2);
	}
	assert_true(hex_is(text, 2 * sizeof bytes));
	assert_true(hex_read(back, text, sizeof back));
	assert_memory_equal(back, bytes, sizeof bytes);
}

static void test_what_is_none(void **state)
{
	static const char *const wrong[] = {"0g", "g0", "0", "", " 1", "+1", "0x", "1:", "/0", "`0"};
	uint8_t byte;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_false(hex_read(&byte, wrong[i], 1));
		assert_false(hex_is(wrong[i], 2));
	}
	assert_true(hex_read(&byte, "aF:rest", 1));
	assert_int_equal(byte, 0xaf);
	assert_false(hex_is("aF", 2));
	assert_false(hex_is("abc", 2));
	assert_true(hex_is("ab", 2));
	assert_true(hex_is("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_bytes),
		cmocka_unit_test(test_what_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
