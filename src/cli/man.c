#include "cli/usage.h"

#include <string.h>

#include "cli/machine_document.h"
#include "config/form.h"

/* roff takes "-" for a hyphen, "\" for an escape, and "." or "'" at the beginning of a line for a request. */
static void escaped_part(FILE *out, const char *text, size_t length, bool line_start)
{
	for (size_t i = 0; i < length; i++) {
		if (line_start && (text[i] == '.' || text[i] == '\''))
			fputs("\\&", out);
		if (text[i] == '\\')
			fputs("\\e", out);
		else if (text[i] == '-')
			fputs("\\-", out);
		else
			fputc(text[i], out);
		line_start = text[i] == '\n';
	}
}

static void escaped(FILE *out, const char *text, bool line_start)
{
	escaped_part(out, text, strlen(text), line_start);
}

/* An empty line, between paragraphs, becomes a request of its own. */
static void paragraphs(FILE *out, const char *text)
{
	const char *gap;

	for (; (gap = strstr(text, "\n\n")); text = gap + 2) {
		escaped_part(out, text, (size_t)(gap - text), true);
		fputs("\n.PP\n", out);
	}
	escaped(out, text, true);
	fputc('\n', out);
}

/* A macro with its text on the same line: ".B text". */
static void macro(FILE *out, const char *request, const char *text)
{
	fprintf(out, ".%s ", request);
	escaped(out, text, false);
	fputc('\n', out);
}

/* What an option or a part is, and what it may be. */
static void meaning(FILE *out, const struct option_spec *spec)
{
	char values[USAGE_VALUES_SIZE];

	escaped(out, spec->help, true);
	usage_values(spec, values);
	if (*values) {
		fputs(" (", out);
		escaped(out, values, false);
		fputc(')', out);
	}
	fputs(".\n", out);
}

static void option(FILE *out, const struct option_spec *spec)
{
	fputs(".TP\n\\fB", out);
	if (spec->letter)
		fprintf(out, "\\-%c\\fR, \\fB", spec->letter);
	fputs("\\-\\-", out);
	escaped(out, spec->name, false);
	fputs("\\fR", out);
	if (spec->placeholder)
		fprintf(out, " \\fI%s\\fR", spec->placeholder);
	fputc('\n', out);
	meaning(out, spec);
}

/* The verb above whose options these are too, or NULL. */
static const struct verb *told_above(const struct verb *verb)
{
	for (const struct verb *const *above = verbs; *above && *above != verb; above++)
		if (verb->option_count > 0 && (*above)->options == verb->options)
			return *above;
	return NULL;
}

static void refer(FILE *out, const struct verb *verb, const struct verb *above)
{
	const char *separator = ", but not";

	fputs(".PP\nTakes the options of \\fBdoppel ", out);
	escaped(out, above->name, false);
	fputs("\\fR", out);
	for (size_t i = 0; i < verb->option_count; i++) {
		if (verb_takes(verb, i) || !verb_takes(above, i))
			continue;
		fprintf(out, "%s \\fB\\-\\-", separator);
		escaped(out, verb->options[i].name, false);
		fputs("\\fR", out);
		separator = ",";
	}
	fputs(".\n", out);
}

static void options(FILE *out, const struct verb *verb)
{
	const struct verb *above = told_above(verb);

	if (above) {
		refer(out, verb, above);
		return;
	}
	for (size_t i = 0; i < verb->option_count; i++)
		if (verb_takes(verb, i))
			option(out, &verb->options[i]);
}

static void leaf(FILE *out, const struct verb *verb)
{
	fputs(".SS doppel ", out);
	escaped(out, verb->name, false);
	fputs(" [\\fIOPTION\\fR...] ", out);
	escaped(out, verb->operands, false);
	fputc('\n', out);
	paragraphs(out, verb->description);
	options(out, verb);
}

static void leaves(FILE *out, const struct verb *const *table)
{
	for (; *table; table++) {
		if ((*table)->verbs)
			leaves(out, (*table)->verbs);
		else
			leaf(out, *table);
	}
}

static void examples(FILE *out, const struct verb *const *table)
{
	for (; *table; table++) {
		if ((*table)->verbs)
			examples(out, (*table)->verbs);
		for (const struct verb_example *x = (*table)->examples; x && x->command; x++) {
			fputs(".TP\n", out);
			macro(out, "B", x->command);
			escaped(out, x->meaning, true);
			fputs(".\n", out);
		}
	}
}

/* A key of documents that is not just an option's name, or has parts. */
static void key(FILE *out, const struct option_spec *spec)
{
	fputs(".TP\n", out);
	macro(out, "B", option_key(spec));
	fputs(spec->repeatable ? "one or a list of what \\-\\-" : "what \\-\\-", out);
	escaped(out, spec->name, false);
	fputs(spec->form ? " takes, or a mapping:\n.RS\n" : " takes.\n", out);
	for (size_t i = 0; spec->form && i < spec->form->count; i++) {
		fputs(".TP\n", out);
		macro(out, "B", spec->form->parts[i].name);
		meaning(out, &spec->form->parts[i]);
	}
	fputs(spec->form ? ".RE\n" : "", out);
}

static void documents(FILE *out)
{
	fputs(".SH DOCUMENTS\nA document for \\fB\\-\\-file\\fR is YAML or JSON: a mapping with the image as "
	      "\\fBimage\\fR, and the options' names as keys for all else, apart from these:\n",
	      out);
	for (size_t i = 0; i < machine_kind.option_count; i++)
		if (config_is_written(&machine_kind, i) && (machine_kind.options[i].key || machine_kind.options[i].form))
			key(out, &machine_kind.options[i]);
}

static void facts(FILE *out, const char *heading, const struct usage_fact *fact)
{
	macro(out, "SH", heading);
	for (; fact->name; fact++) {
		fputs(".TP\n", out);
		macro(out, "B", fact->name);
		escaped(out, fact->meaning, true);
		fputs(".\n", out);
	}
}

void usage_man(FILE *out)
{
	fputs(".TH DOPPEL 1 \"\" \"doppel " DOPPEL_VERSION "\" \"User Commands\"\n.SH NAME\ndoppel \\- ", out);
	escaped(out, USAGE_TITLE, false);
	fputs("\n.SH SYNOPSIS\n.B doppel\n.I VERB\n.RI [ OPTION ...]\n.SH DESCRIPTION\n", out);
	paragraphs(out, usage_description);
	fputs(".SH VERBS\nEach of them also takes \\fB\\-h\\fR, \\fB\\-\\-help\\fR.\n", out);
	leaves(out, verbs);
	documents(out);
	fputs(".SH EXAMPLES\n", out);
	examples(out, verbs);
	facts(out, "EXIT STATUS", usage_statuses);
	facts(out, "ENVIRONMENT", usage_environment);
	facts(out, "FILES", usage_files);
}
