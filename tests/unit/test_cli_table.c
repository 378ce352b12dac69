/* Tables and trees for people and programs (JSON, YAML, CSV), wrapping, and quoting of what must not reach a terminal. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/types.h"
#include "cli/document.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "cli/text.h"
#include "yaml_tree.h"

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
static char *printed_names(enum output_format format, bool quiet, const char *odd_name)
{
	struct table *table = table_new(columns, ARRAY_SIZE(columns));
	struct error e = {.message = ""};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	row(table, "web", 31 * MIB + 200 * KIB, 4, true, "all well", "");
	row(table, odd_name, 0, 32, false, "", "mend it");
	assert_int_equal(table_print(table, format, quiet, out, &e), 0);
	fclose(out);
	table_free(table);
	return text;
}

static char *printed(enum output_format format, const char *odd_name)
{
	return printed_names(format, false, odd_name);
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
	char *text = printed(FORMAT_TABLE, "\302\2332J\302\240x"), *other;

	(void)state;
	assert_null(strstr(text, "\302\233"));
	assert_non_null(strstr(text, "\n\\xc2\\x9b2J\302\240x  "));
	other = text;
	text = printed(FORMAT_TABLE, "\033[2J\nx");
	free(other);

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
	assert_int_equal(table_print(table, FORMAT_JSON, false, out, NULL), 0);
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

/* The same values as in JSON. */
static void test_yaml(void **state)
{
	static const char *const names[] = {"web", "no", "1", "\033[2J\n", "a: b"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *text = printed(FORMAT_YAML, names[i]), *json = printed(FORMAT_JSON, names[i]);
		json_t *tree = yaml_tree(text, strlen(text)), *expected = json_loads(json, 0, NULL);

		if (!json_equal(tree, expected))
			fail_msg("%s\nis not\n%s", text, json);
		json_decref(tree);
		json_decref(expected);
		free(json);
		free(text);
	}
}

static void test_csv(void **state)
{
	char *text = printed(FORMAT_CSV, "a, \"b\"\nc\033");

	(void)state;
	assert_string_equal(text, "name,disk_size,cpus,ready,note,remedy\r\n"
				  "web,32710656,4,true,all well,\r\n"
				  "\"a, \"\"b\"\"\nc\357\277\275\",0,32,false,,mend it\r\n");
	free(text);
}

static void test_quiet(void **state)
{
	static const char *const texts[] = {
		[FORMAT_TABLE] = "web\na\\x09b\n",
		[FORMAT_JSON] = "[\n  \"web\",\n  \"a\\tb\"\n]\n",
		[FORMAT_YAML] = "- web\n- \"a\\tb\"\n",
		[FORMAT_CSV] = "web\r\na\tb\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char *text = printed_names((enum output_format)i, true, "a\tb");

		assert_string_equal(text, texts[i]);
		free(text);
	}
}

static const struct column other_columns[] = {
	{.key = "state"},
	{.key = "name", .names = true},
	{.key = "ports", .type = COLUMN_LIST},
	{.key = "since", .type = COLUMN_SECONDS},
	{.key = "load", .type = COLUMN_REAL},
};

static char *printed_others(enum output_format format, bool quiet)
{
	struct table *table = table_new(other_columns, ARRAY_SIZE(other_columns));
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	table_text(table, "up");
	table_text(table, "web");
	table_text(table, "80:80 443:443");
	table_number(table, 3 * 3600 + 12 * 60 + 5);
	table_real(table, 40.25);
	table_text(table, "down");
	table_text(table, "db");
	table_text(table, "");
	table_nothing(table);
	table_nothing(table);
	assert_int_equal(table_print(table, format, quiet, out, NULL), 0);
	fclose(out);
	table_free(table);
	return text;
}

static void test_other_types(void **state)
{
	static const struct {
		enum output_format format;
		bool quiet;
		const char *text;
	} cases[] = {
		{FORMAT_TABLE, false,
		 "STATE  NAME  PORTS          SINCE  LOAD\n"
		 "up     web   80:80 443:443  3h12m  40.2\n"
		 "down   db    -                  -     -\n"},
		{FORMAT_TABLE, true, "web\ndb\n"},
		{FORMAT_CSV, false,
		 "state,name,ports,since,load\r\nup,web,80:80 443:443,11525,40.25\r\ndown,db,,,\r\n"},
		{FORMAT_YAML, false,
		 "- state: up\n  name: web\n  ports:\n    - \"80:80\"\n    - \"443:443\"\n"
		 "  since: 11525\n  load: 40.25\n"
		 "- state: down\n  name: db\n  ports: []\n  since: null\n  load: null\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = printed_others(cases[i].format, cases[i].quiet);

		assert_string_equal(text, cases[i].text);
		free(text);
	}
}

static void test_seconds(void **state)
{
	static const struct {
		uint64_t seconds;
		const char *text;
	} cases[] = {{0, "0s"},        {59, "59s"},       {60, "1m0s"},
		     {3599, "59m59s"}, {86399, "23h59m"}, {86400 * 20 + 3600, "20d1h"}};
	char text[TABLE_SECONDS_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		table_format_seconds(cases[i].seconds, text);
		assert_string_equal(text, cases[i].text);
	}
}

static char *printed_tree(json_t *tree, enum output_format format)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(document_print(tree, format, out, NULL), 0);
	fclose(out);
	json_decref(tree);
	return text;
}

static json_t *machine_tree(void)
{
	return json_pack("{s:s, s:{s:I, s:b}, s:[{s:s, s:[s, s]}, {s:n, s:f}], s:[]}", "name", "web\033", "memory",
			 "given", (json_int_t)GIB, "shared", 0, "disks", "path", "a, b", "flags", "x", "y", "path",
			 "size", 1.5, "nets");
}

static void test_document(void **state)
{
	char *text = printed_tree(machine_tree(), FORMAT_TABLE);

	(void)state;
	assert_string_equal(text, "name       web\\x1b\n"
				  "memory\n"
				  "  given    1073741824\n"
				  "  shared   no\n"
				  "disks\n"
				  "  - path   a, b\n"
				  "    flags  x, y\n"
				  "  - path   -\n"
				  "    size   1.5\n"
				  "nets       -\n");
	free(text);
	text = printed_tree(machine_tree(), FORMAT_CSV);
	assert_string_equal(text, "key,value\r\nname,web\357\277\275\r\nmemory.given,1073741824\r\n"
				  "memory.shared,false\r\ndisks.0.path,\"a, b\"\r\ndisks.0.flags.0,x\r\n"
				  "disks.0.flags.1,y\r\ndisks.1.path,\r\ndisks.1.size,1.5\r\nnets,\r\n");
	free(text);
}

static void test_document_formats(void **state)
{
	char *json = printed_tree(machine_tree(), FORMAT_JSON), *yaml = printed_tree(machine_tree(), FORMAT_YAML);
	json_t *expected = machine_tree(), *read = json_loads(json, 0, NULL),
	       *tree = yaml_tree(yaml, strlen(yaml));

	(void)state;
	if (!json_equal(expected, read) || !json_equal(expected, tree))
		fail_msg("read back differently:\n%s\n%s", json, yaml);
	json_decref(expected);
	json_decref(read);
	json_decref(tree);
	free(json);
	free(yaml);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_aligned),       cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_json),          cmocka_unit_test(test_json_without_utf8),
		cmocka_unit_test(test_empty),         cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_wrap),          cmocka_unit_test(test_no_colour),
		cmocka_unit_test(test_progress_line), cmocka_unit_test(test_yaml),
		cmocka_unit_test(test_csv),           cmocka_unit_test(test_quiet),
		cmocka_unit_test(test_other_types),   cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_document),      cmocka_unit_test(test_document_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
