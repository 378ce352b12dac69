#include <errno.h>
#include <stdio.h>

#include "config/suggest.h"
#include "cli/usage.h"
#include "cli/verb.h"

enum { HELP_MAN, HELP_COMPLETION, HELP_OPTIONS };

static const char *const shells[] = {"bash", "zsh", NULL};

static void (*const completions[])(FILE *out) = {usage_completion_bash, usage_completion_zsh};

static const struct option_spec options[HELP_OPTIONS] = {
	[HELP_MAN] = {.name = "man", .type = OPTION_FLAG, .help = "print the manual page doppel(1) in roff"},
	[HELP_COMPLETION] = {.name = "completion",
			     .type = OPTION_ENUM,
			     .placeholder = "SHELL",
			     .words = shells,
			     .help = "print the completion for a shell"},
};

static int unknown(const char *word, const struct verb *const *table, struct error *e)
{
	struct suggestion best = suggestion_for(word);

	for (; *table; table++)
		suggestion_consider(&best, verb_word(*table));
	if (best.word)
		return error_set(e, ERROR_USAGE, -EINVAL, "help: unknown verb \"%s\"; did you mean %s?", word,
				 best.word);
	return error_set(e, ERROR_USAGE, -EINVAL, "help: unknown verb \"%s\"; doppel help lists them", word);
}

static int help_for(const struct arguments *arguments, struct error *e)
{
	const struct verb *const *table = verbs;
	const struct verb *verb = NULL;

	for (size_t i = 0; i < arguments->operand_count; i++) {
		if (!table)
			return error_set(e, ERROR_USAGE, -EINVAL,
					 "help: %s has no verbs of its own; leave \"%s\" out", verb->name,
					 arguments->operands[i]);
		verb = verb_find(table, arguments->operands[i]);
		if (!verb)
			return unknown(arguments->operands[i], table, e);
		table = verb->verbs;
	}
	if (verb)
		usage_verb(stdout, verb);
	else
		usage_overview(stdout);
	return 0;
}

static int run(const struct arguments *arguments, struct error *e)
{
	if (arguments->values[HELP_MAN].given)
		usage_man(stdout);
	else if (arguments->values[HELP_COMPLETION].given)
		completions[arguments->values[HELP_COMPLETION].number](stdout);
	else
		return help_for(arguments, e);
	return 0;
}

static const struct verb_example examples[] = {
	{"doppel help run", "tells all about running a guest"},
	{"doppel help --man | man -l -", "shows the manual page"},
	{"source <(doppel help --completion bash)", "completes verbs, options and their values in this shell"},
	{NULL, NULL},
};

const struct verb verb_help = {
	.name = "help",
	.summary = "tell about a verb, with examples",
	.operands = "[VERB...]",
	.operands_max = 2,
	.operand_kind = OPERAND_VERB,
	.description =
		"Without a verb, lists the verbs. With one, tells what it does, its options and their ranges.",
	.examples = examples,
	.options = options,
	.option_count = HELP_OPTIONS,
	.run = run,
};
