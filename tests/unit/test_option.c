/* Option values: what each type takes and refuses, and what the refusals say. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/types.h"
#include "config/option.h"
#include "config/suggest.h"

static const char *const colours[] = {"red", "green", "blue", NULL};

static const struct option_spec size_option = {.name = "memory",
					       .type = OPTION_SIZE,
					       .placeholder = "SIZE",
					       .minimum = 16 * MIB,
					       .maximum = UINT64_C(1) << 44,
					       .multiple = 4096};
static const struct option_spec small_option = {
	.name = "block", .type = OPTION_SIZE, .placeholder = "SIZE", .maximum = UINT64_MAX - 1};
static const struct option_spec integer_option = {
	.name = "cpus", .type = OPTION_INTEGER, .placeholder = "N", .minimum = 1, .maximum = 32};
static const struct option_spec duration_option = {
	.name = "timeout", .type = OPTION_DURATION, .placeholder = "TIME", .minimum = 1, .maximum = 3600000};
static const struct option_spec enum_option = {
	.name = "colour", .type = OPTION_ENUM, .placeholder = "COLOUR", .words = colours};
static const struct option_spec path_option = {
	.name = "console", .type = OPTION_PATH, .placeholder = "WHERE", .words = colours};
static const struct option_spec string_option = {.name = "name", .type = OPTION_STRING, .placeholder = "NAME"};

static void test_accepted(void **state)
{
	static const struct {
		const struct option_spec *spec;
		const char *text;
		uint64_t number;
	} cases[] = {
		{&size_option, "512M", 512 * MIB},
		{&size_option, "512m", 512 * MIB},
		{&size_option, "512MiB", 512 * MIB},
		{&size_option, "2G", 2 * GIB},
		{&size_option, "16T", UINT64_C(1) << 44},
		{&size_option, "16384K", 16 * MIB},
		{&size_option, "16777216", 16 * MIB},
		{&size_option, "16777216B", 16 * MIB},
		{&small_option, "0", 0},
		{&small_option, "18446744073709551614", UINT64_MAX - 1},
		{&integer_option, "1", 1},
		{&integer_option, "032", 32},
		{&duration_option, "30s", 30000},
		{&duration_option, "5m", 300000},
		{&duration_option, "1h", 3600000},
		{&duration_option, "250ms", 250},
		{&duration_option, "30", 30000},
		{&enum_option, "red", 0},
		{&enum_option, "blue", 2},
		{&path_option, "green", 1},
		{&path_option, "greenish", OPTION_NO_WORD},
		{&string_option, "", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct option_value value = {.text = NULL};
		struct error e = {.message = ""};

		if (option_parse(cases[i].spec, cases[i].text, &value, &e) != 0)
			fail_msg("--%s %s: %s", cases[i].spec->name, cases[i].text, e.message);
		if (value.number != cases[i].number)
			fail_msg("--%s %s: %lu, not %lu", cases[i].spec->name, cases[i].text, value.number,
				 cases[i].number);
		assert_string_equal(value.text, cases[i].text);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const struct option_spec *spec;
		const char *text, *message;
	} cases[] = {
		{&size_option, "5X",
		 "--memory: \"5X\" is not a size; write a number and K, M, G or T, such as 512M"},
		{&size_option, "", "--memory: \"\" is not a size; write a number and K, M, G or T, such as 512M"},
		{&size_option, "-1M",
		 "--memory: \"-1M\" is not a size; write a number and K, M, G or T, such as 512M"},
		{&size_option, " 1M",
		 "--memory: \" 1M\" is not a size; write a number and K, M, G or T, such as 512M"},
		{&size_option, "1.5G",
		 "--memory: \"1.5G\" is not a size; write a number and K, M, G or T, such as 512M"},
		{&size_option, "5K", "--memory: 5K is out of range; give 16M to 16T"},
		{&size_option, "17T", "--memory: 17T is out of range; give 16M to 16T"},
		{&size_option, "512", "--memory: 512 bytes is out of range; give 16M to 16T, perhaps 512M"},
		{&size_option, "20000001", "--memory: 20000001 is not a multiple of 4K; round it"},
		{&small_option, "18446744073709551616",
		 "--block: 18446744073709551616 is out of range; give 0 to 18446744073709551614"},
		{&small_option, "99999999999999999999999999T",
		 "--block: 99999999999999999999999999T is out of range; give 0 to 18446744073709551614"},
		{&integer_option, "0", "--cpus: 0 is out of range; give 1 to 32"},
		{&integer_option, "33", "--cpus: 33 is out of range; give 1 to 32"},
		{&integer_option, "4K", "--cpus: \"4K\" is not a whole number; write digits, such as 4"},
		{&integer_option, "0x10", "--cpus: \"0x10\" is not a whole number; write digits, such as 4"},
		{&duration_option, "0s", "--timeout: 0s is out of range; give 1ms to 1h"},
		{&duration_option, "61m", "--timeout: 61m is out of range; give 1ms to 1h"},
		{&duration_option, "5d",
		 "--timeout: \"5d\" is not a duration; write a number and ms, s, m or h, such as 30s"},
		{&enum_option, "gren", "--colour: unknown colour \"gren\"; did you mean green?"},
		{&enum_option, "purple", "--colour: unknown colour \"purple\"; choose from: red, green, blue"},
		{&path_option, "", "--console: the value is empty; give WHERE"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct option_value value = {.text = "before", .number = 7};
		struct error e = {.message = ""};

		assert_int_equal(option_parse(cases[i].spec, cases[i].text, &value, &e), -EINVAL);
		assert_string_equal(e.message, cases[i].message);
		assert_int_equal(e.kind, ERROR_USAGE);
		assert_string_equal(value.text, "before");
		assert_int_equal(value.number, 7);
	}
}

static void test_format(void **state)
{
	static const struct {
		uint64_t number;
		const char *size, *duration;
	} cases[] = {
		{0, "0", "0ms"},
		{1, "1", "1ms"},
		{4096, "4K", "4096ms"},
		{MIB + 1, "1048577", "1048577ms"},
		{GIB, "1G", "1073741824ms"},
		{90000, "90000", "90s"},
		{7200000, "7200000", "2h"},
	};
	char text[OPTION_NUMBER_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		option_format_size(cases[i].number, text);
		assert_string_equal(text, cases[i].size);
		option_format_duration(cases[i].number, text);
		assert_string_equal(text, cases[i].duration);
	}
}

static const char *nearest(const char *text)
{
	static const char *const words[] = {"run",  "image",   "engines", "doctor",
					    "help", "version", "memory",  "ls"};
	struct suggestion best = suggestion_for(text);

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		suggestion_consider(&best, words[i]);
	return best.word ? best.word : "nothing";
}

static void test_suggestions(void **state)
{
	(void)state;
	assert_string_equal(nearest("memroy"), "memory");
	assert_string_equal(nearest("docter"), "doctor");
	assert_string_equal(nearest("rum"), "run");
	assert_string_equal(nearest("urn"), "run");
	assert_string_equal(nearest("eng"), "engines");
	assert_string_equal(nearest("lst"), "ls");
	assert_string_equal(nearest("xyzzy"), "nothing");
	assert_string_equal(nearest(""), "nothing");
	assert_string_equal(nearest("a text that is longer than any word that could be meant by it"), "nothing");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_suggestions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
