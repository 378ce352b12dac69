#include "cli/usage.h"

#include <stdarg.h>
#include <string.h>

#include "cli/text.h"

#define OPTION_INDENT  26
#define SUMMARY_INDENT 14

const char usage_description[] =
	"Doppel is a virtual machine monitor. Each machine is one process; it needs no privilege, no daemon and no "
	"hardware assistance, and uses what the host has of the latter.\n\n"
	"A size is a number and K, M, G or T (powers of 1024). A duration is a number and ms, s, m or h. The value of "
	"an option follows it as the next argument or after an equals sign; -- ends the options.\n\n"
	"On a guest's console Ctrl-A is the way to the monitor: Ctrl-A x leaves, Ctrl-A h tells what else there is.";

const struct usage_fact usage_statuses[] = {
	{"0", "it worked, or the guest ended without an error"},
	{"1", "it was tried and failed"},
	{"2", "the command line is wrong"},
	{"3", "something that was named is not there"},
	{"4", "not possible in the present state"},
	{"5", "not permitted"},
	{"6", "it did not happen in time"},
	{"other",
	 "of run: the guest's own code, when it ended with one; 128 and the signal's number, when a signal came"},
	{NULL, NULL},
};

const struct usage_fact usage_environment[] = {
	{"NO_COLOR", "when set and not empty, output is never coloured; it is only on terminals anyway"},
	{"DOPPEL_STATE", "where machines with names are kept; $XDG_STATE_HOME/doppel when not set (or "
			 "$HOME/.local/state/doppel), and /var/lib/doppel for root"},
	{"XDG_CACHE_HOME", "where images are kept, in a directory doppel of it; $HOME/.cache when not set"},
	{NULL, NULL},
};

const struct usage_fact usage_files[] = {
	{"$XDG_CACHE_HOME/doppel", "images and what they were made from; may be deleted at any time"},
	{"$DOPPEL_STATE/machines/NAME", "a machine: its document machine.yaml, what became of it, its own disk, its console's log"},
	{"$DOPPEL_STATE/history", "what was done to machines, also to those that are gone"},
	{NULL, NULL},
};

/* Appends to a text of `size` bytes of which *used are used; what does not fit is cut off. */
static void add(char *out, size_t size, size_t *used, const char *format, ...) PRINTF_LIKE(4, 5);

static void add(char *out, size_t size, size_t *used, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(out + *used, size - *used, format, arguments);
	va_end(arguments);
	*used = (size_t)length < size - *used ? *used + (size_t)length : size - 1;
}

void usage_values(const struct option_spec *spec, char out[USAGE_VALUES_SIZE])
{
	char range[OPTION_RANGE_SIZE];
	const char *word;
	size_t used = 0;

	out[0] = '\0';
	option_range(spec, range);
	if (*range)
		add(out, USAGE_VALUES_SIZE, &used, "%s", range);
	for (size_t i = 0; (word = option_word(spec, i)); i++)
		add(out, USAGE_VALUES_SIZE, &used, "%s%s", i ? ", " : "", word);
	if (spec->type == OPTION_PATH && used)
		add(out, USAGE_VALUES_SIZE, &used, " or a file");
	if (spec->fallback)
		add(out, USAGE_VALUES_SIZE, &used, "%sdefault %s", used ? "; " : "", spec->fallback);
	if (spec->repeatable)
		add(out, USAGE_VALUES_SIZE, &used, "%smay be repeated", used ? "; " : "");
}

static void print_verbs(FILE *out, const struct verb *const *table)
{
	for (; *table; table++)
		text_wrap(out, (*table)->summary, SUMMARY_INDENT, (size_t)fprintf(out, "  %s", verb_word(*table)));
}

void usage_overview(FILE *out)
{
	fprintf(out, "doppel: %s\n\nusage: doppel VERB [OPTION...]\n\nverbs:\n", USAGE_TITLE);
	print_verbs(out, verbs);
	fputs("\nfor a start:\n"
	      "  doppel doctor           what this host offers\n"
	      "  doppel run debian-tiny  a small Debian guest on this terminal\n"
	      "  doppel help VERB        all about a verb, with examples\n",
	      out);
}

static void print_option(FILE *out, const struct option_spec *spec)
{
	char help[512], values[USAGE_VALUES_SIZE];
	size_t column;

	usage_values(spec, values);
	snprintf(help, sizeof help, "%s%s%s%s", spec->help, *values ? " (" : "", values, *values ? ")" : "");
	if (spec->letter)
		column = (size_t)fprintf(out, "  -%c, --%s", spec->letter, spec->name);
	else
		column = (size_t)fprintf(out, "      --%s", spec->name);
	if (spec->placeholder)
		column += (size_t)fprintf(out, " %s", spec->placeholder);
	if (column + 2 > OPTION_INDENT) {
		fputc('\n', out);
		column = 0;
	}
	text_wrap(out, help, OPTION_INDENT, column);
}

static const struct option_spec help_option = {.name = "help", .letter = 'h', .help = "print this"};

static void print_leaf(FILE *out, const struct verb *verb)
{
	fputs("\noptions:\n", out);
	for (size_t i = 0; i < verb->option_count; i++)
		if (verb_takes(verb, i))
			print_option(out, &verb->options[i]);
	print_option(out, &help_option);
	fputs("\nexamples:\n", out);
	for (const struct verb_example *x = verb->examples; x->command; x++) {
		fprintf(out, "  %s\n", x->command);
		text_wrap(out, x->meaning, 6, 0);
	}
}

void usage_verb(FILE *out, const struct verb *verb)
{
	fprintf(out, "usage: doppel %s %s[OPTION...]%s%s\n\n", verb->name, verb->verbs ? "VERB " : "",
		*verb->operands ? " " : "", verb->operands);
	text_wrap(out, verb->description, 0, 0);
	if (verb->verbs) {
		fputs("\nverbs:\n", out);
		print_verbs(out, verb->verbs);
	} else {
		print_leaf(out, verb);
	}
}
