#include "cli/arguments.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/suggest.h"
#include "cli/verb.h"

struct reader {
	struct arguments *out;
	size_t count, at; /* argv[at] is the next to be read */
	char *const *argv;
	struct error *e;
};

static int usage(const struct reader *r, const char *format, ...) PRINTF_LIKE(2, 3);

static int usage(const struct reader *r, const char *format, ...)
{
	char text[sizeof r->e->message];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	return error_set(r->e, ERROR_USAGE, -EINVAL, "%s", text);
}

static int store(struct reader *r, size_t option, const char *text)
{
	const struct option_spec *spec = &r->out->verb->options[option];
	struct option_value *value = &r->out->values[option];
	int code;

	if (value->given && !spec->repeatable)
		return usage(r, "--%s is given twice; give it once", spec->name);
	if (spec->type != OPTION_FLAG) {
		code = option_parse(spec, text, value, r->e);
		if (code < 0)
			return code;
		r->out->occurrences[r->out->occurrence_count++] = (struct occurrence){option, text};
	}
	value->given = true;
	return 0;
}

/* `inside` is a value in the same argument, or NULL. */
static int take(struct reader *r, size_t option, const char *inside)
{
	const struct option_spec *spec = &r->out->verb->options[option];

	if (spec->type == OPTION_FLAG)
		return store(r, option, NULL);
	if (inside)
		return store(r, option, inside);
	if (r->at == r->count)
		return usage(r, "--%s needs a value; give --%s %s", spec->name, spec->name, spec->placeholder);
	return store(r, option, r->argv[r->at++]);
}

static int unknown_option(const struct reader *r, const char *name, int length)
{
	const struct verb *verb = r->out->verb;
	char written[64];
	struct suggestion best;

	snprintf(written, sizeof written, "%.*s", length, name);
	best = suggestion_for(written);
	suggestion_consider(&best, "help");
	for (size_t i = 0; i < verb->option_count; i++)
		if (verb_takes(verb, i))
			suggestion_consider(&best, verb->options[i].name);
	if (best.word)
		return usage(r, "unknown option --%s; did you mean --%s?", written, best.word);
	return usage(r, "unknown option --%s; see doppel help %s", written, verb->name);
}

static int read_long(struct reader *r, const char *argument)
{
	const struct verb *verb = r->out->verb;
	const char *equals = strchr(argument, '=');
	size_t length = equals ? (size_t)(equals - argument) : strlen(argument);

	if (strcmp(argument, "help") == 0) {
		r->out->help = true;
		return 0;
	}
	for (size_t i = 0; i < verb->option_count; i++) {
		const struct option_spec *spec = &verb->options[i];

		if (!verb_takes(verb, i) || strlen(spec->name) != length || strncmp(spec->name, argument, length) != 0)
			continue;
		if (equals && spec->type == OPTION_FLAG)
			return usage(r, "--%s takes no value; leave \"%s\" out", spec->name, equals);
		return take(r, i, equals ? equals + 1 : NULL);
	}
	return unknown_option(r, argument, (int)(length > 60 ? 60 : length));
}

static int find_letter(const struct verb *verb, char letter, size_t *option)
{
	for (size_t i = 0; i < verb->option_count; i++) {
		if (letter != '\0' && verb->options[i].letter == letter && verb_takes(verb, i)) {
			*option = i;
			return 0;
		}
	}
	return -ENOENT;
}

static int read_letters(struct reader *r, const char *letters)
{
	const struct verb *verb = r->out->verb;

	for (; *letters; letters++) {
		size_t option = 0;
		bool flag;
		int code;

		if (*letters == 'h') {
			r->out->help = true;
			return 0;
		}
		if (find_letter(verb, *letters, &option) < 0)
			return usage(r, "unknown option -%c; see doppel help %s", *letters, verb->name);
		flag = verb->options[option].type == OPTION_FLAG;
		code = take(r, option, !flag && letters[1] ? letters + 1 : NULL);
		if (code < 0 || !flag)
			return code;
	}
	return 0;
}

static int read_operand(struct reader *r, const char *text)
{
	const struct verb *verb = r->out->verb;

	if (r->out->operand_count == verb->operands_max) {
		if (verb->operands_max == 0)
			return usage(r, "takes no operand; leave \"%s\" out", text);
		return usage(r, "\"%s\" is one too many; usage: doppel %s %s", text, verb->name, verb->operands);
	}
	r->out->operands[r->out->operand_count++] = text;
	return 0;
}

static int read_all(struct reader *r)
{
	bool options_ended = false;

	while (r->at < r->count && !r->out->help) {
		const char *argument = r->argv[r->at++];
		int code;

		if (!options_ended && strcmp(argument, "--") == 0) {
			options_ended = true;
			continue;
		}
		if (options_ended || argument[0] != '-' || argument[1] == '\0')
			code = read_operand(r, argument);
		else if (argument[1] == '-')
			code = read_long(r, argument + 2);
		else
			code = read_letters(r, argument + 1);
		if (code < 0)
			return code;
	}
	return 0;
}

/* A fallback that does not parse is a mistake in the table. */
static void fill_fallbacks(struct arguments *arguments)
{
	const struct verb *verb = arguments->verb;

	for (size_t i = 0; i < verb->option_count; i++) {
		const struct option_spec *spec = &verb->options[i];
		int code;

		arguments->values[i].number = arguments->values[i].given ? arguments->values[i].number
									 : OPTION_NO_WORD;
		if (arguments->values[i].given || !spec->fallback)
			continue;
		code = option_parse(spec, spec->fallback, &arguments->values[i], NULL);
		assert(code == 0);
		(void)code;
	}
}

static int check_operands(const struct reader *r)
{
	const struct verb *verb = r->out->verb;

	if (r->out->help || r->out->operand_count >= verb->operands_min)
		return 0;
	return usage(r, "too few operands; usage: doppel %s %s", verb->name, verb->operands);
}

int arguments_parse(struct arguments *out, const struct verb *verb, size_t count, char *const *argv,
		    struct error *e)
{
	struct arguments arguments = {.verb = verb};
	struct reader r = {.out = &arguments, .count = count, .argv = argv, .e = e};
	int code;

	assert(verb->option_count <= ARGUMENTS_OPTIONS_MAX);
	arguments.operands = calloc(count + 1, sizeof *arguments.operands);
	arguments.occurrences = calloc(count + 1, sizeof *arguments.occurrences);
	if (!arguments.operands || !arguments.occurrences) {
		arguments_finish(&arguments);
		return error_errno(e, -ENOMEM, "%zu arguments", count);
	}
	code = read_all(&r);
	if (code == 0)
		code = check_operands(&r);
	if (code < 0) {
		arguments_finish(&arguments);
		return code;
	}
	fill_fallbacks(&arguments);
	*out = arguments;
	return 0;
}

int arguments_parse_own(struct arguments *out, const struct verb *verb, size_t count, char **argv, struct error *e)
{
	int code = arguments_parse(out, verb, count, argv, e);

	if (code == 0) {
		out->own = argv;
		out->own_count = count;
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		free(argv[i]);
	free(argv);
	return code;
}

void arguments_finish(struct arguments *arguments)
{
	for (size_t i = 0; i < arguments->own_count; i++)
		free(arguments->own[i]);
	free(arguments->own);
	free(arguments->operands);
	free(arguments->occurrences);
	arguments->own = NULL;
	arguments->own_count = 0;
	arguments->operands = NULL;
	arguments->occurrences = NULL;
}

const char *arguments_next(const struct arguments *arguments, size_t option, size_t *cursor)
{
	while (*cursor < arguments->occurrence_count) {
		const struct occurrence *o = &arguments->occurrences[(*cursor)++];

		if (o->option == option)
			return o->text;
	}
	return NULL;
}
