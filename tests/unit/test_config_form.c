/* Properties with parts: what each spelling means, what is refused, and that any values survive being written. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/types.h"
#include "config/form.h"

static const char *const kinds[] = {"user", "tap", NULL};

/* FILE[,ro][,over[=FILE]][,n=N] */
static const struct option_spec comma_parts[] = {
	{.name = "file", .type = OPTION_PATH, .placeholder = "FILE", .required = true},
	{.name = "ro", .type = OPTION_FLAG},
	{.name = "over", .type = OPTION_PATH, .placeholder = "FILE", .bare = true},
	{.name = "n", .type = OPTION_INTEGER, .minimum = 1, .maximum = 9},
};
static const struct option_form comma_form = {FORM_COMMAS, false, comma_parts, 4, NULL};
static const struct option_spec comma = {
	.name = "disk", .type = OPTION_FORM, .placeholder = "FILE[,ro]", .form = &comma_form};

/* KIND[=NAME][,n=N] */
static const struct option_spec headed_parts[] = {
	{.name = "kind", .type = OPTION_ENUM, .words = kinds, .required = true},
	{.name = "name", .type = OPTION_STRING},
	{.name = "n", .type = OPTION_INTEGER, .minimum = 1, .maximum = 9},
};
static const struct option_form headed_form = {FORM_COMMAS, true, headed_parts, 3, NULL};
static const struct option_spec headed = {
	.name = "net", .type = OPTION_FORM, .placeholder = "KIND", .form = &headed_form};

/* FOLDER[:TAG][:ro] */
static const struct option_spec share_parts[] = {
	{.name = "folder", .type = OPTION_PATH, .placeholder = "FOLDER", .required = true},
	{.name = "tag", .type = OPTION_STRING},
	{.name = "ro", .type = OPTION_FLAG},
};
static const struct option_form share_form = {FORM_COLONS, false, share_parts, 3, NULL};
static const struct option_spec share = {
	.name = "share", .type = OPTION_FORM, .placeholder = "FOLDER[:TAG][:ro]", .form = &share_form};

/* [KIND:][ADDRESS:]HOST:GUEST */
static const struct option_spec port_parts[] = {
	{.name = "kind", .type = OPTION_ENUM, .words = kinds},
	{.name = "address", .type = OPTION_STRING},
	{.name = "host", .type = OPTION_INTEGER, .maximum = 99, .required = true},
	{.name = "guest", .type = OPTION_INTEGER, .maximum = 99, .required = true},
};
static const struct option_form port_form = {FORM_COLONS, false, port_parts, 4, NULL};
static const struct option_spec port = {
	.name = "publish", .type = OPTION_FORM, .placeholder = "HOST:GUEST", .form = &port_form};

/* NAME=SOCKET */
static const struct option_spec pair_parts[] = {
	{.name = "name", .type = OPTION_PATH, .placeholder = "NAME", .required = true},
	{.name = "socket", .type = OPTION_PATH, .placeholder = "SOCKET", .required = true},
};
static const struct option_form pair_form = {FORM_EQUALS, false, pair_parts, 2, NULL};
static const struct option_spec pair = {
	.name = "channel", .type = OPTION_FORM, .placeholder = "NAME=SOCKET", .form = &pair_form};

/* Parts as "name=text" with bars between; flags and bare parts by name alone. */
static void show(const struct option_spec *spec, const struct option_value *values, char out[256])
{
	size_t used = 0;

	*out = '\0';
	for (size_t i = 0; i < spec->form->count; i++)
		if (values[i].given)
			used += (size_t)snprintf(out + used, 256 - used, "%s%s%s%s", used ? "|" : "",
						 spec->form->parts[i].name, values[i].text ? "=" : "",
						 values[i].text ? values[i].text : "");
}

static void test_split(void **state)
{
	static const struct {
		const struct option_spec *spec;
		const char *text, *parts;
		const char *again; /* as it is written, when not as it was */
	} cases[] = {
		{&comma, "a", "file=a", NULL},
		{&comma, "a,n=3,ro", "file=a|ro|n=3", "a,ro,n=3"},
		{&comma, "a,over", "file=a|over", NULL},
		{&comma, "a,,b=c,over=d,,e", "file=a,b=c|over=d,e", NULL},
		{&comma, ",,,ro", "file=,|ro", NULL},
		{&headed, "user", "kind=user", NULL},
		{&headed, "tap=t=0,n=2", "kind=tap|name=t=0|n=2", NULL},
		{&headed, "tap=", "kind=tap|name=", NULL},
		{&share, "/a", "folder=/a", NULL},
		{&share, "/a:t", "folder=/a|tag=t", NULL},
		{&share, "/a:ro", "folder=/a|ro", NULL},
		{&share, "/a:t:ro", "folder=/a|tag=t|ro", NULL},
		{&share, "/a::b:t", "folder=/a:b|tag=t", NULL},
		{&share, "/a:ro:ro", "folder=/a|tag=ro|ro", NULL},
		{&share, "[a]", "folder=[a]", NULL},
		{&port, "8:9", "host=8|guest=9", NULL},
		{&port, "tap:8:9", "kind=tap|host=8|guest=9", NULL},
		{&port, "1.2.3.4:8:9", "address=1.2.3.4|host=8|guest=9", NULL},
		{&port, "tap:[::1]:8:9", "kind=tap|address=::1|host=8|guest=9", NULL},
		{&pair, "a=/b=c", "name=a|socket=/b=c", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *again = cases[i].again ? cases[i].again : cases[i].text;
		struct form_values values;
		struct error e = {.message = ""};
		char parts[256], *text = NULL;

		if (form_split(cases[i].spec, cases[i].text, &values, &e) < 0)
			fail_msg("%s: %s", cases[i].text, e.message);
		show(cases[i].spec, values.values, parts);
		assert_string_equal(parts, cases[i].parts);
		if (form_join(cases[i].spec, values.values, &text, &e) < 0)
			fail_msg("%s: %s", cases[i].text, e.message);
		assert_string_equal(text, again);
		free(text);
		form_finish(&values);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const struct option_spec *spec;
		const char *text, *message;
	} cases[] = {
		{&comma, "", "--disk file: the value is empty; give FILE"},
		{&comma, "a,", "--disk: \"\" is not known; there are ro, over, n; a comma within a value is written twice"},
		{&comma, "a,ro=1", "--disk: ro takes no value"},
		{&comma, "a,n", "--disk: the value of n is missing; give n=VALUE"},
		{&comma, "a,n=0", "--disk n: 0 is out of range; give 1 to 9"},
		{&comma, "a,ro,ro", "--disk: ro is given twice; give it once"},
		{&comma, "a,ovre", "--disk: \"ovre\" is not known; did you mean over?"},
		{&comma, "a,over=", "--disk over: the value is empty; give FILE"},
		{&headed, "usr", "--net kind: unknown kind \"usr\"; did you mean user?"},
		{&share, "", "--share folder: the value is empty; give FOLDER"},
		{&share, "a:b:c", "--share: \"a:b:c\" is not understood; give FOLDER[:TAG][:ro]"},
		{&share, "a:b:c:ro", "--share: \"a:b:c:ro\" is not understood; give FOLDER[:TAG][:ro]"},
		{&port, "8", "--publish: the guest is missing; give HOST:GUEST"},
		{&port, "8:100", "--publish guest: 100 is out of range; give 0 to 99"},
		{&port, "x:y:8:9", "--publish host: \"y\" is not a whole number; write digits, such as 4"},
		{&port, "tap:y:8:9:1", "--publish: \"tap:y:8:9:1\" is not understood; give HOST:GUEST"},
		{&pair, "a", "--channel: \"a\" is not understood; give NAME=SOCKET"},
		{&pair, "=a", "--channel name: the value is empty; give NAME"},
		{&pair, "a=", "--channel socket: the value is empty; give SOCKET"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct form_values values;
		struct error e = {.message = ""};

		assert_int_equal(form_split(cases[i].spec, cases[i].text, &values, &e), -EINVAL);
		assert_string_equal(e.message, cases[i].message);
		assert_int_equal(e.kind, ERROR_USAGE);
	}
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A short text of the letters that mean something to the syntaxes, and of some that mean nothing. */
static const char *random_text(uint64_t *state, char *room)
{
	static const char letters[] = ",,:::==ro[]abc/1";
	size_t length = 1 + next_random(state) % 5;

	for (size_t i = 0; i < length; i++)
		room[i] = letters[next_random(state) % (sizeof letters - 1)];
	room[length] = '\0';
	return room;
}

static void random_values(const struct option_spec *spec, uint64_t *state, struct option_value *values,
			  char rooms[FORM_PARTS_MAX][16])
{
	for (size_t i = 0; i < spec->form->count; i++) {
		const struct option_spec *row = &spec->form->parts[i];

		values[i] = (struct option_value){.given = row->required || next_random(state) % 2};
		if (!values[i].given || row->type == OPTION_FLAG || (row->bare && next_random(state) % 2))
			continue;
		if (row->type == OPTION_INTEGER)
			values[i].text = next_random(state) % 2 ? "3" : "7";
		else if (row->type == OPTION_ENUM)
			values[i].text = row->words[next_random(state) % 2];
		else
			values[i].text = random_text(state, rooms[i]);
	}
}

/* Whatever is written means what it was made of; few are refused. */
static void test_any_values(void **state)
{
	static const struct option_spec *const specs[] = {&comma, &headed, &share, &port, &pair};
	uint64_t random = 20261121;
	unsigned written = 0, rounds = 50000;

	(void)state;
	for (unsigned round = 0; round < rounds; round++) {
		const struct option_spec *spec = specs[round % ARRAY_SIZE(specs)];
		struct option_value values[FORM_PARTS_MAX];
		char rooms[FORM_PARTS_MAX][16], before[256], after[256], *text;
		struct form_values back;
		struct error e = {.message = ""};

		random_values(spec, &random, values, rooms);
		if (form_join(spec, values, &text, &e) < 0) {
			assert_int_equal(e.kind, ERROR_USAGE);
			continue;
		}
		if (form_split(spec, text, &back, &e) < 0)
			fail_msg("%s: %s", text, e.message);
		show(spec, values, before);
		show(spec, back.values, after);
		if (strcmp(before, after) != 0)
			fail_msg("%s: %s became %s", text, before, after);
		form_finish(&back);
		free(text);
		written++;
	}
	if (written < rounds / 2)
		fail_msg("only %u of %u could be written", written, rounds);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split), cmocka_unit_test(test_refused), cmocka_unit_test(test_any_values)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
