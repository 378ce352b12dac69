/* YAML as it is written: a parser reads the same tree back, whatever the text in it looks like. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/types.h"
#include "base/yaml.h"
#include "yaml_tree.h"

/* The caller frees the text. */
static char *printed(const json_t *tree, size_t *size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, size);

	assert_int_equal(yaml_print(out, tree), 0);
	fclose(out);
	return text;
}

static void reads_back(json_t *tree)
{
	size_t size = 0;
	char *text = printed(tree, &size);
	json_t *back = yaml_tree(text, size);

	if (!json_equal(tree, back)) {
		char *was = json_dumps(tree, JSON_ENCODE_ANY), *is = json_dumps(back, JSON_ENCODE_ANY);

		fail_msg("%s\nwas written as\n%s\nwhich reads as %s", was, text, is ? is : "nothing");
	}
	json_decref(back);
	json_decref(tree);
	free(text);
}

static void test_layout(void **state)
{
	json_t *tree = json_pack("{s:s, s:i, s:{s:b, s:n}, s:[{s:s, s:f}, [i, i], s, {}], s:[]}", "name", "web",
				 "cpus", 2, "with", "rng", 1, "disk", "list", "a", "yes", "b", 0.5, 1, 2,
				 "two words", "none");
	size_t size = 0;
	char *text = printed(tree, &size);

	(void)state;
	assert_string_equal(text, "name: web\n"
				  "cpus: 2\n"
				  "with:\n"
				  "  rng: true\n"
				  "  disk: null\n"
				  "list:\n"
				  "  - a: \"yes\"\n"
				  "    b: 0.5\n"
				  "  - - 1\n"
				  "    - 2\n"
				  "  - two words\n"
				  "  - {}\n"
				  "none: []\n");
	free(text);
	reads_back(tree);
}

/* Text that means something else to some version of YAML, or to its syntax. */
static const char *const awkward[] = {
	"",
	" ",
	"a ",
	" a",
	"null",
	"NULL",
	"~",
	"true",
	"Yes",
	"oFF",
	"y",
	"N",
	"1",
	"-1",
	"+1",
	"0x1f",
	"0o17",
	"017",
	"1_000",
	"1e3",
	".5",
	"1.",
	".inf",
	"-.INF",
	".nan",
	"12:30",
	"1:20:30",
	"2026-11-21",
	"<<",
	"=",
	"-",
	"- a",
	"--- a",
	"---",
	"...",
	"? a",
	": a",
	"a: b",
	"a :b",
	"a:b",
	"a:",
	"# a",
	"a #b",
	"a#b",
	"&a",
	"*a",
	"!a",
	"!!str a",
	"|",
	">",
	"%a",
	"@a",
	"`a",
	"'a'",
	"\"a\"",
	"[a]",
	"{a: b}",
	"a, b",
	"a\nb",
	"a\n",
	"\ta",
	"a\t",
	"\\n",
	"\033[2J",
	"\177",
	"a\r\nb",
	"\302\205",
	"\302\240",
	"\342\200\250",
	"\357\273\277",
	"\357\277\277",
	"\360\237\230\200",
	"\303\251t\303\251",
	"a  b",
	"/dev/vda1 rw",
	"root=/dev/vda1 console=hvc0",
	"8080:80/tcp",
	"http://host:1/x?y=z#top",
	"52:54:00:12:34:56",
};

static void test_awkward_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(awkward); i++) {
		reads_back(json_string(awkward[i]));
		reads_back(json_pack("[s]", awkward[i]));
		reads_back(json_pack("{s:s, s:s}", awkward[i], awkward[i], "other", awkward[i]));
		reads_back(json_pack("{s:{s:[s]}}", "a", awkward[i], awkward[i]));
	}
	reads_back(json_stringn("a\0b", 3));
}

static void test_plain(void **state)
{
	static const char *const plain[] = {"web",     "a:b",     "two words", "/dev/vda1 rw",
					    "a-b_c.d", "nothing", "yesterday"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		if (!yaml_is_plain(plain[i], strlen(plain[i])))
			fail_msg("\"%s\" needs no quotes", plain[i]);
}

static void test_numbers(void **state)
{
	static const double reals[] = {0.0,     1.0,     -2.5,        0.1,  1e20, 1e-7,  1.5e300,           5e-324,
				       1.0 / 3, 2.0 / 3, 123456789.0, 1e15, 1e16, -1e21, 9007199254740993.0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(reals); i++)
		reads_back(json_real(reals[i]));
	reads_back(json_integer(INT64_MIN));
	reads_back(json_integer(INT64_MAX));
	reads_back(json_integer(0));
}

/* Longer than parsers look ahead for the colon behind a key. */
static void test_long_keys(void **state)
{
	(void)state;
	for (size_t length = 100; length < 3000; length += 97) {
		char *key = malloc(length + 1);
		json_t *tree = json_object();

		memset(key, length % 2 ? '\n' : 'k', length);
		key[length] = '\0';
		json_object_set_new(tree, "before", json_null());
		json_object_set_new(tree, key, json_pack("{s:[i]}", key, 1));
		json_object_set_new(tree, "behind", json_pack("[{s:s}]", key, key));
		reads_back(tree);
		free(key);
	}
}

static json_t *random_text(void)
{
	char text[200] = "";

	for (int parts = rand() % 3; parts >= 0; parts--)
		strcat(text, awkward[(size_t)rand() % ARRAY_SIZE(awkward)]);
	return json_string(text);
}

static json_t *random_tree(int depth)
{
	int kind = rand() % (depth > 0 ? 9 : 6), count = rand() % 4;
	json_t *tree;

	if (kind == 0)
		return json_integer(rand() - RAND_MAX / 2);
	if (kind == 1)
		return json_real((double)rand() / (1 + rand() % 1000));
	if (kind == 2)
		return rand() % 3 ? json_boolean(rand() % 2) : json_null();
	if (kind < 6)
		return random_text();
	tree = kind == 6 ? json_array() : json_object();
	for (; count > 0; count--) {
		json_t *key = random_text();

		if (kind == 6)
			json_array_append_new(tree, random_tree(depth - 1));
		else
			json_object_set_new(tree, json_string_value(key), random_tree(depth - 1));
		json_decref(key);
	}
	return tree;
}

static void test_random_trees(void **state)
{
	(void)state;
	srand(1);
	for (int i = 0; i < 2000; i++)
		reads_back(random_tree(6));
}

static void test_deep(void **state)
{
	json_t *tree = json_string("bottom");

	(void)state;
	for (int i = 0; i < 300; i++)
		tree = i % 2 ? json_pack("[o]", tree) : json_pack("{s:o}", "k", tree);
	reads_back(tree);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),    cmocka_unit_test(test_awkward_text),
		cmocka_unit_test(test_plain),     cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_long_keys), cmocka_unit_test(test_random_trees),
		cmocka_unit_test(test_deep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
