/* The table of verbs, and what is generated from it: nothing left out, nothing that contradicts itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/text.h"
#include "cli/usage.h"
#include "cli/verb.h"

static void for_each(const struct verb *const *table, void (*visit)(const struct verb *verb))
{
	for (; *table; table++) {
		visit(*table);
		if ((*table)->verbs)
			for_each((*table)->verbs, visit);
	}
}

static void check_phrase(const struct verb *verb, const char *text)
{
	size_t length = text ? strlen(text) : 0;

	if (length == 0 || text[length - 1] == '.')
		fail_msg("%s: \"%s\" should be a phrase without a full stop", verb->name, text ? text : "");
}

/* Whether it may be called without its own name. */
static bool is_left_out(const struct verb *verb)
{
	for (size_t i = 0; verbs[i]; i++)
		if (verbs[i]->otherwise == verb)
			return true;
	return false;
}

static void check_verb(const struct verb *verb)
{
	check_phrase(verb, verb->summary);
	assert_non_null(verb->description);
	assert_non_null(verb->operands);
	if (!verb->run == !verb->verbs)
		fail_msg("%s is neither a verb nor a group, or both", verb->name);
	if (verb->verbs)
		return;
	assert_non_null(verb->examples);
	if (!verb->examples[0].command)
		fail_msg("%s has no example", verb->name);
	for (const struct verb_example *x = verb->examples; x->command; x++) {
		check_phrase(verb, x->meaning);
		if (!strstr(x->command, verb->name) && !is_left_out(verb))
			fail_msg("\"%s\" is no example of %s", x->command, verb->name);
	}
}

static void check_option(const struct verb *verb, const struct option_spec *spec)
{
	struct option_value value = {.text = NULL};
	struct error e = {.message = ""};

	assert_non_null(spec->name);
	check_phrase(verb, spec->help);
	if ((spec->type == OPTION_FLAG) == (spec->placeholder != NULL))
		fail_msg("%s --%s: a flag with a placeholder, or a value without", verb->name, spec->name);
	if (spec->letter == 'h' || strcmp(spec->name, "help") == 0)
		fail_msg("%s --%s: help belongs to the parser", verb->name, spec->name);
	if (spec->minimum > spec->maximum)
		fail_msg("%s --%s: empty range", verb->name, spec->name);
	if (spec->type == OPTION_ENUM && !option_word(spec, 0))
		fail_msg("%s --%s: no words", verb->name, spec->name);
	if (spec->fallback && option_parse(spec, spec->fallback, &value, &e) < 0)
		fail_msg("%s: fallback: %s", verb->name, e.message);
}

static void check_options(const struct verb *verb)
{
	assert_in_range(verb->option_count, 0, ARGUMENTS_OPTIONS_MAX);
	for (size_t i = 0; i < verb->option_count; i++) {
		check_option(verb, &verb->options[i]);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(verb->options[i].name, verb->options[j].name) == 0)
				fail_msg("%s --%s twice", verb->name, verb->options[i].name);
			if (verb->options[i].letter && verb->options[i].letter == verb->options[j].letter)
				fail_msg("%s -%c twice", verb->name, verb->options[i].letter);
		}
	}
}

static void test_verbs(void **state)
{
	(void)state;
	for_each(verbs, check_verb);
}

static void test_options(void **state)
{
	(void)state;
	for_each(verbs, check_options);
}

/* What a generator prints; the caller frees it. */
static char *text_of(void (*print)(FILE *out))
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	print(out);
	fclose(out);
	return text;
}

static void contains(const char *text, const char *what, const char *of)
{
	if (!strstr(text, what))
		fail_msg("\"%s\" of %s is left out", what, of);
}

static void check_help(const struct verb *verb)
{
	char *text = NULL, option[64];
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	usage_verb(out, verb);
	fclose(out);
	for (size_t i = 0; i < verb->option_count; i++) {
		if (!verb_takes(verb, i))
			continue;
		snprintf(option, sizeof option, "--%s", verb->options[i].name);
		contains(text, option, verb->name);
	}
	for (const struct verb_example *x = verb->examples; x && x->command; x++)
		contains(text, x->command, verb->name);
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		if (strcspn(line, "\n") > TEXT_WIDTH + 10)
			fail_msg("a line of %s is %zu columns long", verb->name, strcspn(line, "\n"));
	free(text);
}

static void test_help(void **state)
{
	(void)state;
	for_each(verbs, check_help);
}

static char *generated;

static void check_generated(const struct verb *verb)
{
	contains(generated, verb_word(verb), "verbs");
	for (size_t i = 0; i < verb->option_count; i++)
		contains(generated, verb->options[i].name, verb->name);
}

static void test_completions(void **state)
{
	void (*const generators[])(FILE *) = {usage_completion_bash, usage_completion_zsh};

	(void)state;
	for (size_t i = 0; i < sizeof generators / sizeof generators[0]; i++) {
		generated = text_of(generators[i]);
		for_each(verbs, check_generated);
		free(generated);
	}
}

/* Names hold dashes, which roff wants escaped. */
static void check_man(const struct verb *verb)
{
	for (size_t i = 0; i < verb->option_count; i++) {
		char name[128];
		size_t used = 0;

		for (const char *c = verb->options[i].name; *c; c++)
			used += (size_t)snprintf(name + used, sizeof name - used, "%s%c", *c == '-' ? "\\" : "",
						 *c);
		contains(generated, name, verb->name);
	}
}

static void test_man(void **state)
{
	(void)state;
	generated = text_of(usage_man);
	for_each(verbs, check_man);
	contains(generated, ".SH EXIT STATUS", "the manual page");
	contains(generated, "NO_COLOR", "the manual page");
	assert_null(strstr(generated, "\n\n"));
	free(generated);
}

static void test_overview(void **state)
{
	(void)state;
	generated = text_of(usage_overview);
	for (const struct verb *const *v = verbs; *v; v++)
		contains(generated, (*v)->summary, (*v)->name);
	free(generated);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verbs), cmocka_unit_test(test_options),     cmocka_unit_test(test_help),
		cmocka_unit_test(test_man),   cmocka_unit_test(test_completions), cmocka_unit_test(test_overview),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
