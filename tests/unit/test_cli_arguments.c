/* The parser of a verb's arguments, on a verb made for the purpose. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/types.h"
#include "cli/arguments.h"
#include "cli/verb.h"

enum { MEMORY, FORCE, QUIET, APPEND, MODE, OPTIONS };

static const char *const modes[] = {"fast", "slow", NULL};

static const struct option_spec options[OPTIONS] = {
	[MEMORY] = {.name = "memory",
		    .letter = 'm',
		    .type = OPTION_SIZE,
		    .placeholder = "SIZE",
		    .minimum = MIB,
		    .maximum = GIB,
		    .fallback = "4M"},
	[FORCE] = {.name = "force", .letter = 'F', .type = OPTION_FLAG},
	[QUIET] = {.name = "quiet", .letter = 'q', .type = OPTION_FLAG},
	[APPEND] = {.name = "append", .type = OPTION_STRING, .placeholder = "TEXT", .repeatable = true},
	[MODE] = {.name = "mode", .type = OPTION_ENUM, .placeholder = "MODE", .words = modes},
};

static const struct verb verb = {
	.name = "try",
	.operands = "WHAT [MORE]",
	.operands_min = 1,
	.operands_max = 2,
	.options = options,
	.option_count = OPTIONS,
};

static const struct verb bare = {.name = "bare", .operands = ""};

#define PARSE(out, e, ...) parse(out, &verb, e, (const char *[]){__VA_ARGS__, NULL})

static int parse(struct arguments *out, const struct verb *v, struct error *e, const char *const *words)
{
	char *argv[16];
	size_t count = 0;

	for (; words[count]; count++)
		argv[count] = (char *)(uintptr_t)words[count];
	return arguments_parse(out, v, count, argv, e);
}

static void test_forms(void **state)
{
	static const char *const forms[][4] = {
		{"x", "--memory", "8M"}, {"x", "--memory=8M"}, {"-m", "8M", "x"},
		{"-m8M", "x"},           {"-Fm8M", "x"},       {"-Fm", "8M", "x"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct error e = {.message = ""};
		struct arguments a;

		if (parse(&a, &verb, &e, forms[i]) != 0)
			fail_msg("form %zu: %s", i, e.message);
		assert_true(a.values[MEMORY].given);
		assert_int_equal(a.values[MEMORY].number, 8 * MIB);
		assert_int_equal(a.operand_count, 1);
		assert_string_equal(a.operands[0], "x");
		arguments_finish(&a);
	}
}

static void test_fallback_and_flags(void **state)
{
	struct arguments a;

	(void)state;
	assert_int_equal(PARSE(&a, NULL, "-qF", "x"), 0);
	assert_false(a.values[MEMORY].given);
	assert_int_equal(a.values[MEMORY].number, 4 * MIB);
	assert_string_equal(a.values[MEMORY].text, "4M");
	assert_true(a.values[QUIET].given);
	assert_true(a.values[FORCE].given);
	assert_false(a.values[MODE].given);
	assert_null(a.values[MODE].text);
	assert_int_equal(a.values[MODE].number, OPTION_NO_WORD);
	arguments_finish(&a);
}

static void test_end_of_options(void **state)
{
	struct arguments a;

	(void)state;
	assert_int_equal(PARSE(&a, NULL, "--", "--memory", "-"), 0);
	assert_int_equal(a.operand_count, 2);
	assert_string_equal(a.operands[0], "--memory");
	assert_string_equal(a.operands[1], "-");
	arguments_finish(&a);
	assert_int_equal(PARSE(&a, NULL, "-", "--append", "--"), 0);
	assert_int_equal(a.operand_count, 1);
	assert_string_equal(a.values[APPEND].text, "--");
	arguments_finish(&a);
}

static void test_repeated(void **state)
{
	struct arguments a;
	size_t cursor = 0;

	(void)state;
	assert_int_equal(PARSE(&a, NULL, "--append", "a=1", "x", "-m", "2M", "--append=b=2", "--append="), 0);
	assert_string_equal(arguments_next(&a, APPEND, &cursor), "a=1");
	assert_string_equal(arguments_next(&a, APPEND, &cursor), "b=2");
	assert_string_equal(arguments_next(&a, APPEND, &cursor), "");
	assert_null(arguments_next(&a, APPEND, &cursor));
	arguments_finish(&a);
}

static void test_help_ends_reading(void **state)
{
	struct arguments a;

	(void)state;
	assert_int_equal(PARSE(&a, NULL, "--help", "--nonsense"), 0);
	assert_true(a.help);
	arguments_finish(&a);
	assert_int_equal(PARSE(&a, NULL, "-qh"), 0);
	assert_true(a.help);
	arguments_finish(&a);
}

static void test_refused(void **state)
{
	static const struct {
		const char *words[5];
		const char *message;
	} cases[] = {
		{{"x", "--memroy", "8M"}, "unknown option --memroy; did you mean --memory?"},
		{{"x", "--memroy=8M"}, "unknown option --memroy; did you mean --memory?"},
		{{"x", "--xyzzy"}, "unknown option --xyzzy; see doppel help try"},
		{{"x", "-Z"}, "unknown option -Z; see doppel help try"},
		{{"x", "--memory"}, "--memory needs a value; give --memory SIZE"},
		{{"x", "-m"}, "--memory needs a value; give --memory SIZE"},
		{{"x", "--force=1"}, "--force takes no value; leave \"=1\" out"},
		{{"-m", "2M", "--memory=2M"}, "--memory is given twice; give it once"},
		{{"x", "--memory", "--force"},
		 "--memory: \"--force\" is not a size; write a number and K, M, G or T, such as 512M"},
		{{"x", "--mode", "fats"}, "--mode: unknown mode \"fats\"; did you mean fast?"},
		{{"-q"}, "too few operands; usage: doppel try WHAT [MORE]"},
		{{"a", "b", "c"}, "\"c\" is one too many; usage: doppel try WHAT [MORE]"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error e = {.message = ""};
		struct arguments a;

		assert_int_equal(parse(&a, &verb, &e, cases[i].words), -EINVAL);
		assert_string_equal(e.message, cases[i].message);
		assert_int_equal(e.kind, ERROR_USAGE);
	}
}

static void test_no_operands(void **state)
{
	struct error e = {.message = ""};
	struct arguments a;

	(void)state;
	assert_int_equal(parse(&a, &bare, &e, (const char *[]){"x", NULL}), -EINVAL);
	assert_string_equal(e.message, "takes no operand; leave \"x\" out");
	assert_int_equal(parse(&a, &bare, &e, (const char *[]){NULL}), 0);
	arguments_finish(&a);
}

/* A text far longer than a message is cut off, and stays one. */
static void test_long_text(void **state)
{
	static char text[70000];
	struct error e = {.message = ""};
	struct arguments a;

	(void)state;
	memset(text, 'x', sizeof text - 1);
	memcpy(text, "--", 2);
	assert_int_equal(PARSE(&a, &e, "x", text), -EINVAL);
	assert_in_range(strlen(e.message), 60, sizeof e.message - 1);
	memcpy(text, "-m", 2);
	assert_int_equal(PARSE(&a, &e, "x", text), -EINVAL);
	assert_int_equal(strlen(e.message), sizeof e.message - 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_fallback_and_flags),
		cmocka_unit_test(test_end_of_options),
		cmocka_unit_test(test_repeated),
		cmocka_unit_test(test_help_ends_reading),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_operands),
		cmocka_unit_test(test_long_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
