/* YAML and JSON as a tree: kinds and places of values, and the limits of what is taken. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/types.h"
#include "config/tree.h"

static struct tree *parse(const char *text, struct complaints *complaints)
{
	struct tree *tree = NULL;

	*complaints = (struct complaints){.source = "test"};
	if (tree_parse(&tree, text, strlen(text), complaints) < 0)
		assert_null(tree);
	return tree;
}

static void test_kinds(void **state)
{
	static const struct {
		const char *text;
		enum tree_kind kind;
	} cases[] = {
		{"a", TREE_TEXT},       {"8080:80", TREE_TEXT},  {"2G", TREE_TEXT},      {"yes", TREE_TEXT},
		{"on", TREE_TEXT},      {"\"12\"", TREE_TEXT},   {"'true'", TREE_TEXT},  {"1.2.3", TREE_TEXT},
		{"0x", TREE_TEXT},      {"0o8", TREE_TEXT},      {".", TREE_TEXT},
		{"1e", TREE_TEXT},      {"1e+", TREE_TEXT},      {"\"\"", TREE_TEXT},    {"0", TREE_NUMBER},
		{"-12", TREE_NUMBER},   {"+3", TREE_NUMBER},     {"007", TREE_NUMBER},   {"1.5", TREE_NUMBER},
		{"1.", TREE_NUMBER},    {".5", TREE_NUMBER},     {"1e9", TREE_NUMBER},   {"1.5E-3", TREE_NUMBER},
		{"0xfF", TREE_NUMBER},  {"0o17", TREE_NUMBER},   {"-.inf", TREE_NUMBER}, {".NaN", TREE_NUMBER},
		{"true", TREE_TRUE},    {"True", TREE_TRUE},     {"FALSE", TREE_FALSE},  {"null", TREE_NULL},
		{"~", TREE_NULL},       {"", TREE_NULL},         {"[]", TREE_LIST},      {"{}", TREE_MAP},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct complaints complaints;
		const struct tree_node *key;
		struct tree *tree;
		char text[64];

		snprintf(text, sizeof text, "a: 1\nkey: %s\n", cases[i].text);
		tree = parse(text, &complaints);
		assert_non_null(tree);
		key = tree_root(tree)->first->next;
		assert_string_equal(key->text, "key");
		if (key->value->kind != cases[i].kind)
			fail_msg("%s is %s, not %s", cases[i].text, tree_kind_name(key->value->kind),
				 tree_kind_name(cases[i].kind));
		assert_int_equal(key->line, 2);
		assert_int_equal(key->column, 1);
		tree_free(tree);
	}
}

static void test_json(void **state)
{
	struct complaints complaints;
	struct tree *tree = parse("{\n\t\"a\":[1,\"\\u00e4\\/\\n\"],\n\t\"b\" : {\"c\":null,\"d\":false}}\n", &complaints);
	const struct tree_node *a, *b;

	(void)state;
	if (!tree)
		fail_msg("line %u: %s", complaints.list[0].line, complaints.list[0].text);
	a = tree_root(tree)->first;
	b = a->next;
	assert_int_equal(a->value->kind, TREE_LIST);
	assert_int_equal(a->value->first->kind, TREE_NUMBER);
	assert_string_equal(a->value->first->next->text, "\xc3\xa4/\n");
	assert_int_equal(b->line, 3);
	assert_int_equal(b->value->first->value->kind, TREE_NULL);
	assert_int_equal(b->value->first->next->value->kind, TREE_FALSE);
	assert_null(b->next);
	tree_free(tree);
}

/* Characters beyond U+FFFF, which JSON escapes in halves. */
static void test_surrogates(void **state)
{
	static const struct {
		const char *text, *value; /* NULL: it is refused */
	} cases[] = {
		{"[\"\\ud83d\\ude00\"]", "\xf0\x9f\x98\x80"},
		{" {\"a\":\"x\\uD83D\\uDE00y\"}", "x\xf0\x9f\x98\x80y"},
		{"[\"\\udbff\\udffd\"]", "\xf4\x8f\xbf\xbd"},
		{"[\"\\\\ud83d\\\\ude00\"]", "\\ud83d\\ude00"},
		{"[\"\\\\\\ud83d\\ude00\"]", "\\\xf0\x9f\x98\x80"},
		{"[\"\\\"\\ud83d\\ude00\"]", "\"\xf0\x9f\x98\x80"},
		{"- '\\ud83d\\ude00'\n", "\\ud83d\\ude00"},
		{"['\\ud83d\\ude00']", "\\ud83d\\ude00"},
		{"[\"\\ud83d\"]", NULL},
		{"[\"\\ud83d\\u0041\"]", NULL},
		{"[\"\\ude00\\ud83d\"]", NULL},
		{"[\"\\ud83d\\ude0", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct complaints complaints;
		struct tree *tree = parse(cases[i].text, &complaints);
		const struct tree_node *first = tree ? tree_root(tree)->first : NULL;
		const char *value = !first ? NULL : first->value ? first->value->text : first->text;

		if (!value != !cases[i].value || (value && strcmp(value, cases[i].value) != 0))
			fail_msg("%s is %s, not %s", cases[i].text, value ? value : complaints.list[0].text,
				 cases[i].value ? cases[i].value : "refused");
		tree_free(tree);
	}
}

static void test_nothing(void **state)
{
	static const char *const texts[] = {"", "\n\n", "# nothing\n", "---\n", "--- ~\n...\n", "# \xc3\xa9%\n", "\xef\xbb\xbf# mark\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct complaints complaints;
		struct tree *tree = parse(texts[i], &complaints);

		if (!tree)
			fail_msg("\"%s\": %s", texts[i], complaints.list[0].text);
		assert_int_equal(tree_root(tree)->kind, TREE_MAP);
		assert_null(tree_root(tree)->first);
		tree_free(tree);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text, *part;
		unsigned line;
	} cases[] = {
		{"a: &x 1\nb: *x\n", "aliases", 2},
		{"a: !!str 1\n", "tags", 1},
		{"a: !mine {}\n", "tags", 1},
		{"# x\n%YAML 1.2\n---\na: 1\n", "directives", 2},
		{"\xef\xbb\xbf%YAML 1.2\n---\na: 1\n", "directives", 1},
		{"# x\r%YAML 1.2\r---\ra: 1\r", "directives", 1},
		{"# x\xe2\x80\xa8%YAML 1.2\n---\na: 1\n", "directives", 1},
		{"a: 1\n---\nb: 2\n", "second document", 2},
		{"a: \"x\\0y\"\n", "NUL", 1},
		{"a: 1\n[1]: 2\n", "must be a text", 2},
		{"a:\n  b: 1\n c: 2\n", "neither YAML nor JSON", 3},
		{"{\"a\": 1\n", "neither YAML nor JSON", 2},
		{"a: \"\n", "neither YAML nor JSON", 2},
		{"a: \xff\n", "neither YAML nor JSON", 0},
		{"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "too deeply", 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct complaints complaints;

		if (parse(cases[i].text, &complaints))
			fail_msg("\"%s\" was taken", cases[i].text);
		assert_int_equal(complaints.count, 1);
		if (!strstr(complaints.list[0].text, cases[i].part) || complaints.list[0].line != cases[i].line)
			fail_msg("\"%s\": line %u, not %u: \"%s\" without \"%s\"", cases[i].text,
				 complaints.list[0].line, cases[i].line, complaints.list[0].text, cases[i].part);
	}
}

/* `count` times `piece`. */
static char *repeated(const char *piece, size_t count)
{
	size_t length = strlen(piece);
	char *text = malloc(count * length + 1);

	assert_non_null(text);
	for (size_t i = 0; i < count; i++)
		memcpy(text + i * length, piece, length);
	text[count * length] = '\0';
	return text;
}

static void test_limits(void **state)
{
	static const struct {
		const char *piece;
		size_t count;
		const char *part; /* NULL: it is taken */
	} cases[] = {
		{"- 1\n", TREE_NODES_MAX - 1, NULL}, {"- 1\n", TREE_NODES_MAX, "too many"}, {"[", 100000, "deeply"},
		{"#\n", TREE_BYTES_MAX / 2, NULL},   {"##\n", TREE_BYTES_MAX / 2, "longer"}, {"? ", 100000, "deeply"},
		{"- ", 100000, "deeply"},            {"{a: ", 1000, "deeply"},
		{"%TAG !a! b\n", 50000, "directives"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *text = repeated(cases[i].piece, cases[i].count);
		struct complaints complaints;
		struct tree *tree = parse(text, &complaints);

		if (!tree != (cases[i].part != NULL))
			fail_msg("%zu times \"%s\": %s", cases[i].count, cases[i].piece,
				 tree ? "taken" : complaints.list[0].text);
		if (!tree && !strstr(complaints.list[0].text, cases[i].part))
			fail_msg("\"%s\" without \"%s\"", complaints.list[0].text, cases[i].part);
		tree_free(tree);
		free(text);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),   cmocka_unit_test(test_json),   cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_limits), cmocka_unit_test(test_surrogates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
