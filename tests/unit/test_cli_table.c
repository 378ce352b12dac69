/* Tables for people and as JSON, wrapping, and quoting of what must not reach a terminal. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/types.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/text.h"

static const struct column columns[] = {
	{.key = "name"},
	{.key = "disk_size", .type = COLUMN_BYTES},
	{.key = "cpus", .type = COLUMN_COUNT},
	{.key = "ready", .type = COLUMN_YES_NO},
	{.key = "note"},
	{.key = "remedy", .joined = true},
};

static void row(struct table *table, const char *name, uint64_t size, uint64_t cpus, bool ready, const char *note,
		const char *remedy)
{
	table_text(table, name);
	table_number(table, size);
	table_number(table, cpus);
	table_number(table, ready);
	table_tinted(table, note, TINT_GOOD);
	table_text(table, remedy);
}

/* The caller frees the text. */
static char *printed(enum output_format format, const char *odd_name)
{
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	struct error e = {.message = ""};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	row(table, "web", 31 * MIB + 200 * KIB, 4, true, "all well", "");
	row(table, odd_name, 0, 32, false, "", "mend it");
	assert_int_equal(table_print(table, format, out, &e), 0);
	fclose(out);
	table_free(table);
	return text;
}

static void test_aligned(void **state)
{
	char *text = printed(FORMAT_TABLE, "d\303\251butant");

	(void)state;
	assert_string_equal(text, "NAME      DISK SIZE  CPUS  READY  NOTE\n"
				  "web           31.2M     4  yes    all well\n"
				  "d\303\251butant         0B    32  no     -; mend it\n");
	free(text);
}

static void test_control_characters(void **state)
{
	char *text = printed(FORMAT_TABLE, "\033[2J\nx");

	(void)state;
	assert_null(strchr(text, '\033'));
	assert_non_null(strstr(text, "\n\\x1b[2J\\x0ax "));
	free(text);
}

static void test_json(void **state)
{
	char *text = printed(FORMAT_JSON, "\033\"\n");
	json_t *array = json_loads(text, 0, NULL), *first, *second;

	(void)state;
	assert_int_equal(json_array_size(array), 2);
	first = json_array_get(array, 0);
	second = json_array_get(array, 1);
	assert_int_equal(json_object_size(first), ARRAY_SIZE(columns));
	assert_int_equal(json_integer_value(json_object_get(first, "disk_size")), 31 * MIB + 200 * KIB);
	assert_true(json_is_true(json_object_get(first, "ready")));
	assert_true(json_is_false(json_object_get(second, "ready")));
	assert_string_equal(json_string_value(json_object_get(second, "name")), "\033\"\n");
	assert_string_equal(json_string_value(json_object_get(second, "note")), "");
	assert_string_equal(json_string_value(json_object_get(second, "remedy")), "mend it");
	json_decref(array);
	free(text);
}

static void test_json_without_utf8(void **state)
{
	char *text = printed(FORMAT_JSON, "\377\376");
	json_t *array = json_loads(text, 0, NULL);

	(void)state;
	assert_true(json_is_null(json_object_get(json_array_get(array, 1), "name")));
	json_decref(array);
	free(text);
}

static void test_empty(void **state)
{
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	assert_int_equal(table_print(table, FORMAT_JSON, out, NULL), 0);
	fclose(out);
	assert_string_equal(text, "[]\n");
	table_free(table);
	table_free(NULL);
	free(text);
}

static void test_bytes(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0B"},     {1023, "1023B"},      {1024, "1.0K"},        {MIB - 1, "1.0M"},
		{MIB, "1.0M"}, {1536 * MIB, "1.5G"}, {UINT64_MAX, "16.0E"},
	};
	char text[TABLE_BYTES_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		table_format_bytes(cases[i].bytes, text);
		assert_string_equal(text, cases[i].text);
	}
}

static char *wrapped(const char *text, size_t indent, size_t column)
{
	char *result = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&result, &size);

	text_wrap(out, text, indent, column);
	fclose(out);
	return result;
}

static void test_wrap(void **state)
{
	char *text = wrapped("one two\n\nthree  four", 4, 1);

	(void)state;
	assert_string_equal(text, "   one two\n\n    three four\n");
	free(text);
	text = wrapped("12345678901234567890 12345678901234567890 12345678901234567890 1234567890123456789 1", 0,
		       0);
	assert_string_equal(text, "12345678901234567890 12345678901234567890 12345678901234567890\n"
				  "1234567890123456789 1\n");
	free(text);
}

static void test_progress_line(void **state)
{
	static const struct {
		struct image_progress progress;
		uint64_t done_before, elapsed_ns;
		const char *line;
	} cases[] = {
		{{.step = "reading"}, 0, 0, "reading"},
		{{.step = "unpacking", .done = 500, .total = 1000},
		 0,
		 UINT64_C(2000000000),
		 "unpacking  [############............]  50%"},
		{{.step = "loading", .done = 3 * MIB, .total = 4 * MIB, .bytes = true},
		 MIB,
		 UINT64_C(2000000000),
		 "loading  [##################......]  75%  3.0M of 4.0M  1.0M/s"},
		{{.step = "loading", .done = 3 * MIB, .bytes = true}, 0, 1, "loading  3.0M"},
		{{.step = "loading", .done = 9, .total = 4, .bytes = true},
		 10,
		 UINT64_C(2000000000),
		 "loading  [########################] 100%  9B of 4B"},
	};
	char line[PROGRESS_LINE_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		progress_line(&cases[i].progress, cases[i].done_before, cases[i].elapsed_ns, line);
		assert_string_equal(line, cases[i].line);
	}
}

/* What is no terminal is never coloured. */
static void test_no_colour(void **state)
{
	FILE *file = tmpfile();

	(void)state;
	assert_false(text_colour_wanted(file));
	fclose(file);
	assert_string_equal(text_tint(TINT_BAD, false), "");
	assert_string_equal(text_tint_end(TINT_BAD, false), "");
	assert_string_equal(text_tint_end(TINT_NONE, true), "");
	assert_int_equal(text_tint(TINT_BAD, true)[0], '\033');
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aligned),       cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_json),          cmocka_unit_test(test_json_without_utf8),
		cmocka_unit_test(test_empty),         cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_wrap),          cmocka_unit_test(test_no_colour),
		cmocka_unit_test(test_progress_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
