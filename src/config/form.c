#include "config/form.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"
#include "config/suggest.h"

#define LABEL_SIZE 64

/* An option's text amid its split. */
struct splitter {
	const struct option_spec *spec;
	const struct option_form *form;
	const char *text; /* as written */
	struct form_values *out;
	struct error *e;
};

/* Ends the piece at `text` where a single separator is, and makes double ones single; returns what follows, or NULL. */
static char *cut(char *text, char separator)
{
	char *to = text, *bracket = *text == '[' && separator == ':' ? strchr(text, ']') : NULL;

	if (bracket && (bracket[1] == '\0' || bracket[1] == separator))
		to = text = bracket + 1;
	for (; *text; text++) {
		if (*text == separator && text[1] != separator) {
			*to = '\0';
			return text + 1;
		}
		if (*text == separator)
			text++;
		*to++ = *text;
	}
	*to = '\0';
	return NULL;
}

static int misread(const struct splitter *s)
{
	return error_set(s->e, ERROR_USAGE, -EINVAL, "--%s: \"%s\" is not understood; give %s", s->spec->name, s->text,
			 s->spec->placeholder);
}

/* `text` is NULL for a part without a value. */
static int store(struct splitter *s, size_t part, const char *text)
{
	const struct option_spec *row = &s->form->parts[part];
	struct option_value *value = &s->out->values[part];
	const char *name = s->spec->name;
	char label[LABEL_SIZE];
	int r = 0;

	if (value->given)
		return error_set(s->e, ERROR_USAGE, -EINVAL, "--%s: %s is given twice; give it once", name, row->name);
	if (row->type == OPTION_FLAG && text)
		return error_set(s->e, ERROR_USAGE, -EINVAL, "--%s: %s takes no value", name, row->name);
	if (row->type != OPTION_FLAG && !row->bare && !text)
		return error_set(s->e, ERROR_USAGE, -EINVAL, "--%s: the value of %s is missing; give %s=%s", name,
				 row->name, row->name, row->placeholder ? row->placeholder : "VALUE");
	snprintf(label, sizeof label, "%s %s", name, row->name);
	if (text)
		r = option_parse_as(row, label, text, value, s->e);
	value->given = r == 0;
	return r;
}

static int unknown_part(const struct splitter *s, size_t from, const char *name)
{
	struct suggestion best = suggestion_for(name);
	char list[200] = "";
	size_t used = 0;

	for (size_t i = from; i < s->form->count; i++) {
		suggestion_consider(&best, s->form->parts[i].name);
		if (used < sizeof list)
			used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > from ? ", " : "",
						 s->form->parts[i].name);
	}
	if (best.word)
		return error_set(s->e, ERROR_USAGE, -EINVAL, "--%s: \"%s\" is not known; did you mean %s?",
				 s->spec->name, name, best.word);
	return error_set(s->e, ERROR_USAGE, -EINVAL,
			 "--%s: \"%s\" is not known; there are %s; a comma within a value is written twice",
			 s->spec->name, name, list);
}

static int store_named(struct splitter *s, size_t from, char *piece)
{
	char *value = strchr(piece, '=');

	if (value)
		*value++ = '\0';
	for (size_t i = from; i < s->form->count; i++)
		if (strcmp(s->form->parts[i].name, piece) == 0)
			return store(s, i, value);
	return unknown_part(s, from, piece);
}

static int split_commas(struct splitter *s, char *text)
{
	char *next = cut(text, ','), *value = s->form->headed ? strchr(text, '=') : NULL;
	size_t from = s->form->headed ? 2 : 1;
	int r;

	if (value)
		*value++ = '\0';
	r = store(s, 0, text);
	if (r == 0 && value)
		r = store(s, 1, value);
	while (r == 0 && next) {
		char *piece = next;

		next = cut(piece, ',');
		r = store_named(s, from, piece);
	}
	return r;
}

/* Whether a part takes this piece, when `spare` pieces are there beyond those that required parts need. */
static bool takes(const struct option_spec *row, const char *piece, size_t spare)
{
	if (row->required)
		return true;
	if (spare == 0)
		return false;
	if (row->type == OPTION_FLAG)
		return strcmp(piece, row->name) == 0;
	for (size_t i = 0; row->type == OPTION_ENUM; i++) {
		if (!option_word(row, i))
			return false;
		if (strcmp(option_word(row, i), piece) == 0)
			return true;
	}
	return true;
}

/* "[::1]" without its brackets; a path may really have them. */
static char *unwrap(const struct option_spec *row, char *piece)
{
	size_t length = strlen(piece);

	if (row->type != OPTION_STRING || *piece != '[' || piece[length - 1] != ']')
		return piece;
	piece[length - 1] = '\0';
	return piece + 1;
}

static int split_colons(struct splitter *s, char *text)
{
	const struct option_form *form = s->form;
	const struct option_spec *last = &form->parts[form->count - 1];
	char *pieces[FORM_PARTS_MAX];
	size_t count = 0, spare, at = 0;
	int r = 0;

	for (; text && count < form->count; count++) {
		pieces[count] = text;
		text = cut(text, ':');
	}
	if (count > 1 && last->type == OPTION_FLAG && strcmp(pieces[count - 1], last->name) == 0 && !text) {
		r = store(s, form->count - 1, NULL);
		count--;
	}
	spare = count;
	for (size_t i = 0; i < form->count; i++)
		spare -= form->parts[i].required && spare > 0;
	for (size_t i = 0; r == 0 && i < form->count && at < count; i++) {
		if (s->out->values[i].given || !takes(&form->parts[i], pieces[at], spare))
			continue;
		spare -= !form->parts[i].required;
		r = store(s, i, unwrap(&form->parts[i], pieces[at++]));
	}
	return r == 0 && (at < count || text) ? misread(s) : r;
}

static int split_equals(struct splitter *s, char *text)
{
	char *value = strchr(text, '=');
	int r;

	if (!value)
		return misread(s);
	*value++ = '\0';
	r = store(s, 0, text);
	return r < 0 ? r : store(s, 1, value);
}

static int check_whole(const struct splitter *s)
{
	const struct option_form *form = s->form;
	int r;

	for (size_t i = 0; i < form->count; i++)
		if (form->parts[i].required && !s->out->values[i].given)
			return error_set(s->e, ERROR_USAGE, -EINVAL, "--%s: the %s is missing; give %s", s->spec->name,
					 form->parts[i].name, s->spec->placeholder);
	r = form->check ? form->check(s->out->values, s->e) : 0;
	return r < 0 ? error_prefix(s->e, r, "--%s", s->spec->name) : 0;
}

int form_split(const struct option_spec *spec, const char *text, struct form_values *out, struct error *e)
{
	static int (*const splits[])(struct splitter *s, char *text) = {
		[FORM_COMMAS] = split_commas, [FORM_COLONS] = split_colons, [FORM_EQUALS] = split_equals};
	struct form_values values = {.text = strdup(text)};
	struct splitter s = {.spec = spec, .form = spec->form, .text = text, .out = &values, .e = e};
	int r;

	assert(spec->form->count <= FORM_PARTS_MAX);
	if (!values.text)
		return error_errno(e, -ENOMEM, "--%s", spec->name);
	r = splits[spec->form->syntax](&s, values.text);
	if (r == 0)
		r = check_whole(&s);
	if (r < 0)
		form_finish(&values);
	else
		*out = values;
	return r;
}

void form_finish(struct form_values *values)
{
	free(values->text);
	*values = (struct form_values){.text = NULL};
}

static void put_doubled(FILE *out, const char *text, char separator)
{
	for (; *text; text++) {
		fputc(*text, out);
		if (*text == separator)
			fputc(*text, out);
	}
}

static void join_commas(const struct option_form *form, const struct option_value *values, FILE *out)
{
	for (size_t i = 0; i < form->count; i++) {
		const struct option_spec *row = &form->parts[i];

		if (!values[i].given)
			continue;
		if (i > 0 && form->headed && i == 1)
			fputc('=', out);
		else if (i > 0)
			fprintf(out, ",%s%s", row->name, row->type != OPTION_FLAG && values[i].text ? "=" : "");
		if (row->type != OPTION_FLAG && values[i].text)
			put_doubled(out, values[i].text, ',');
	}
}

static void join_colons(const struct option_form *form, const struct option_value *values, FILE *out)
{
	const char *separator = "";

	for (size_t i = 0; i < form->count; i++) {
		const char *text = form->parts[i].type == OPTION_FLAG ? form->parts[i].name : values[i].text;

		if (!values[i].given)
			continue;
		fputs(separator, out);
		if (form->parts[i].type == OPTION_STRING && strchr(text, ':'))
			fprintf(out, "[%s]", text);
		else
			put_doubled(out, text, ':');
		separator = ":";
	}
}

static void join_equals(const struct option_form *form, const struct option_value *values, FILE *out)
{
	(void)form;
	fprintf(out, "%s=%s", values[0].text ? values[0].text : "", values[1].text ? values[1].text : "");
}

static bool same(const struct option_form *form, const struct option_value *a, const struct option_value *b)
{
	for (size_t i = 0; i < form->count; i++) {
		if (a[i].given != b[i].given)
			return false;
		if (!a[i].given || form->parts[i].type == OPTION_FLAG || (!a[i].text && !b[i].text))
			continue;
		if (!a[i].text || !b[i].text || strcmp(a[i].text, b[i].text) != 0)
			return false;
	}
	return true;
}

/* Reads back what was written: whether it means the same. */
static int verify(const struct option_spec *spec, const struct option_value *values, const char *text, struct error *e)
{
	struct form_values back;
	bool kept;
	int r = form_split(spec, text, &back, e);

	if (r < 0)
		return r;
	kept = same(spec->form, values, back.values);
	form_finish(&back);
	if (kept)
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL, "--%s: \"%s\" would be read as something else; give other names",
			 spec->name, text);
}

int form_join(const struct option_spec *spec, const struct option_value *values, char **text, struct error *e)
{
	static void (*const joins[])(const struct option_form *form, const struct option_value *values, FILE *out) = {
		[FORM_COMMAS] = join_commas, [FORM_COLONS] = join_colons, [FORM_EQUALS] = join_equals};
	char *made = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&made, &size);
	int r;

	if (!out)
		return error_errno(e, -errno, "--%s", spec->name);
	joins[spec->form->syntax](spec->form, values, out);
	if (fclose(out) != 0) {
		free(made);
		return error_errno(e, -ENOMEM, "--%s", spec->name);
	}
	r = verify(spec, values, made, e);
	if (r < 0)
		free(made);
	else
		*text = made;
	return r;
}
