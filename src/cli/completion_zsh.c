#include "cli/usage.h"

#include <string.h>

static const char prologue[] = "#compdef doppel\n"
			       "# Completion for doppel in zsh. Written by: doppel help --completion zsh\n"
			       "_doppel_names() {\n"
			       "\tlocal -a names\n"
			       "\tnames=(${(f)\"$(doppel \"$@\" 2>/dev/null)\"})\n"
			       "\tcompadd -a names\n"
			       "}\n"
			       "_doppel_words_or_files() {\n"
			       "\tcompadd -- \"$@\"\n"
			       "\t_files\n"
			       "}\n";

static const char epilogue[] = "if [[ $funcstack[1] == _doppel ]]; then\n"
			       "\t_doppel \"$@\"\n"
			       "else\n"
			       "\tcompdef _doppel doppel\n"
			       "fi\n";

/* Inside single quotes of the shell, inside brackets and colons of _arguments. */
static void escaped(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("[]:\\", *text))
			fputc('\\', out);
		if (*text == '\'')
			fputs("'\\''", out);
		else
			fputc(*text, out);
	}
}

static void function_name(FILE *out, const struct verb *verb)
{
	fputs("_doppel_", out);
	for (const char *c = verb->name; *c; c++)
		fputc(*c == ' ' ? '_' : *c, out);
}

static void words(FILE *out, const struct option_spec *spec)
{
	const char *word;

	for (size_t i = 0; (word = option_word(spec, i)); i++)
		fprintf(out, "%s%s", i ? " " : "", word);
}

/* The blank before a command keeps _arguments from giving it options of compadd. */
static void value(FILE *out, const struct option_spec *spec)
{
	fprintf(out, ":%s:", spec->placeholder);
	if (spec->type == OPTION_ENUM) {
		fputc('(', out);
		words(out, spec);
		fputc(')', out);
	} else if (spec->type == OPTION_PATH && option_word(spec, 0)) {
		fputs(" _doppel_words_or_files ", out);
		words(out, spec);
	} else if (spec->type == OPTION_PATH) {
		fputs("_files", out);
	}
}

static void option(FILE *out, const struct option_spec *spec)
{
	const char *valued = spec->type == OPTION_FLAG ? "" : "=";

	fputs(" \\\n\t\t", out);
	if (spec->repeatable)
		fputs("'*'", out);
	else if (spec->letter)
		fprintf(out, "'(-%c --%s)'", spec->letter, spec->name);
	if (spec->letter)
		fprintf(out, "{-%c%s,--%s%s}", spec->letter, *valued ? "+" : "", spec->name, valued);
	else
		fprintf(out, "--%s%s", spec->name, valued);
	fputs("'[", out);
	escaped(out, spec->help);
	fputc(']', out);
	if (spec->type != OPTION_FLAG)
		value(out, spec);
	fputc('\'', out);
}

static void leaf(FILE *out, const struct verb *verb)
{
	static const struct option_spec help = {.name = "help", .letter = 'h', .help = "print help"};

	function_name(out, verb);
	fputs("() {\n\t_arguments -s -S", out);
	for (size_t i = 0; i < verb->option_count; i++)
		if (verb_takes(verb, i))
			option(out, &verb->options[i]);
	option(out, &help);
	if (operand_names[verb->operand_kind])
		fprintf(out, " \\\n\t\t'*:%s: _doppel_names %s'",
			verb->operand_kind == OPERAND_IMAGE ? "IMAGE" : "NAME", operand_names[verb->operand_kind]);
	else if (verb->operand_kind == OPERAND_VERB)
		fputs(" \\\n\t\t'*:VERB:_doppel_verbs'", out);
	fputs("\n}\n", out);
}

/* A function that offers the verbs of a group, and one that goes on to the verb that was chosen. */
static void group(FILE *out, const char *name, const struct verb *const *table)
{
	fprintf(out, "%s_verbs() {\n\tlocal -a list\n\tlist=(\n", name);
	for (const struct verb *const *v = table; *v; v++) {
		fprintf(out, "\t\t'%s:", verb_word(*v));
		escaped(out, (*v)->summary);
		fputs("'\n", out);
	}
	fputs("\t)\n\t_describe verb list\n}\n", out);
	fprintf(out, "%s() {\n\tlocal context state state_descr line\n\ttypeset -A opt_args\n", name);
	fprintf(out, "\t_arguments -C '1:verb:%s_verbs' '*:: :->rest'\n", name);
	fputs("\tif [[ $state == rest ]]; then\n\t\tcase $words[1] in\n", out);
	for (const struct verb *const *v = table; *v; v++) {
		fprintf(out, "\t\t%s) ", verb_word(*v));
		function_name(out, *v);
		fputs(" ;;\n", out);
	}
	fputs("\t\tesac\n\tfi\n}\n", out);
}

static void functions(FILE *out, const struct verb *const *table)
{
	for (; *table; table++) {
		char name[64];

		if (!(*table)->verbs) {
			leaf(out, *table);
			continue;
		}
		snprintf(name, sizeof name, "_doppel_%s", (*table)->name);
		functions(out, (*table)->verbs);
		group(out, name, (*table)->verbs);
	}
}

void usage_completion_zsh(FILE *out)
{
	fputs(prologue, out);
	functions(out, verbs);
	group(out, "_doppel", verbs);
	fputs(epilogue, out);
}
