#include "config/option.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/types.h"
#include "config/form.h"
#include "config/suggest.h"

struct unit {
	const char *suffix;
	uint64_t factor;
};

/* The first suffix of a factor is the one that is printed; largest factor first. */
static const struct unit size_units[] = {
	{"T", UINT64_C(1) << 40},
	{"TiB", UINT64_C(1) << 40},
	{"G", GIB},
	{"GiB", GIB},
	{"M", MIB},
	{"MiB", MIB},
	{"K", KIB},
	{"KiB", KIB},
	{"", 1},
	{"B", 1},
	{NULL, 0},
};
static const struct unit duration_units[] = {
	{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"", 1000}, {"ms", 1}, {NULL, 0},
};
static const struct unit percent_units[] = {{"%", 1}, {"", 1}, {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

/* What a numeric type is called, how it may be written, and an example. */
static const struct numeric {
	const char *noun;
	const char *advice;
	const struct unit *units;
} numerics[OPTION_TYPES] = {
	[OPTION_SIZE] = {"a size", "write a number and K, M, G or T, such as 512M", size_units},
	[OPTION_INTEGER] = {"a whole number", "write digits, such as 4", no_units},
	[OPTION_PERCENT] = {"a percentage", "write whole percent, such as 40%", percent_units},
	[OPTION_DURATION] = {"a duration", "write a number and ms, s, m or h, such as 30s", duration_units},
};

const char *option_word(const struct option_spec *spec, size_t index)
{
	if (spec->word)
		return spec->word(index);
	return spec->words ? spec->words[index] : NULL;
}

const char *option_key(const struct option_spec *spec)
{
	return spec->key ? spec->key : spec->name;
}

static void format_units(const struct unit *units, uint64_t number, char out[OPTION_NUMBER_SIZE])
{
	while (units->factor > 1 && (number == 0 || number % units->factor != 0))
		units++;
	snprintf(out, OPTION_NUMBER_SIZE, "%" PRIu64 "%s", number / units->factor, units->suffix);
}

void option_format_size(uint64_t bytes, char out[OPTION_NUMBER_SIZE])
{
	format_units(size_units, bytes, out);
}

void option_format_duration(uint64_t ms, char out[OPTION_NUMBER_SIZE])
{
	format_units(duration_units, ms, out);
}

void option_range(const struct option_spec *spec, char out[OPTION_RANGE_SIZE])
{
	char low[OPTION_NUMBER_SIZE], high[OPTION_NUMBER_SIZE];

	out[0] = '\0';
	if (!numerics[spec->type].noun)
		return;
	format_units(numerics[spec->type].units, spec->minimum, low);
	format_units(numerics[spec->type].units, spec->maximum, high);
	snprintf(out, OPTION_RANGE_SIZE, "%s to %s", low, high);
}

/* Digits and a unit, nothing else. A number too large for 64 bits becomes UINT64_MAX: out of every range. */
static bool read_number(const char *text, const struct unit *units, uint64_t *number)
{
	uint64_t value = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(value, 10U, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			value = UINT64_MAX;
	if (at == text)
		return false;
	for (; units->suffix; units++) {
		if (strcasecmp(units->suffix, at) != 0)
			continue;
		if (__builtin_mul_overflow(value, units->factor, number))
			*number = UINT64_MAX;
		return true;
	}
	return false;
}

/* "512" for a size of at least 16M: the unit was forgotten. */
static bool unit_forgotten(const struct option_spec *spec, const char *text, uint64_t number)
{
	uint64_t megabytes;

	return spec->type == OPTION_SIZE && number < spec->minimum && text[strspn(text, "0123456789")] == '\0' &&
	       !__builtin_mul_overflow(number, MIB, &megabytes) && megabytes >= spec->minimum &&
	       megabytes <= spec->maximum;
}

static int out_of_range(const struct option_spec *spec, const char *label, const char *text, uint64_t number, struct error *e)
{
	char range[OPTION_RANGE_SIZE];

	option_range(spec, range);
	if (unit_forgotten(spec, text, number))
		return error_set(e, ERROR_USAGE, -EINVAL, "--%s: %s bytes is out of range; give %s, perhaps %sM",
				 label, text, range, text);
	return error_set(e, ERROR_USAGE, -EINVAL, "--%s: %s is out of range; give %s", label, text, range);
}

static int parse_number(const struct option_spec *spec, const char *label, const char *text, uint64_t *number, struct error *e)
{
	const struct numeric *numeric = &numerics[spec->type];
	char step[OPTION_NUMBER_SIZE];

	if (!read_number(text, numeric->units, number))
		return error_set(e, ERROR_USAGE, -EINVAL, "--%s: \"%s\" is not %s; %s", label, text,
				 numeric->noun, numeric->advice);
	if (*number < spec->minimum || *number > spec->maximum)
		return out_of_range(spec, label, text, *number, e);
	if (spec->multiple && *number % spec->multiple) {
		format_units(numeric->units, spec->multiple, step);
		return error_set(e, ERROR_USAGE, -EINVAL, "--%s: %s is not a multiple of %s; round it", label,
				 text, step);
	}
	return 0;
}

static int find_word(const struct option_spec *spec, const char *text, uint64_t *number)
{
	const char *word;

	for (size_t i = 0; (word = option_word(spec, i)); i++) {
		if (strcmp(word, text) == 0) {
			*number = i;
			return 0;
		}
	}
	*number = OPTION_NO_WORD;
	return -ENOENT;
}

/* All words of an option, as far as they fit. */
static void list_words(const struct option_spec *spec, char *list, size_t size)
{
	const char *word;
	size_t used = 0;

	*list = '\0';
	for (size_t i = 0; (word = option_word(spec, i)) && used < size; i++)
		used += (size_t)snprintf(list + used, size - used, "%s%s", i ? ", " : "", word);
}

static int parse_enum(const struct option_spec *spec, const char *label, const char *text, uint64_t *number,
		      struct error *e)
{
	struct suggestion best = suggestion_for(text);
	char list[200];
	const char *word;

	if (find_word(spec, text, number) == 0)
		return 0;
	for (size_t i = 0; (word = option_word(spec, i)); i++)
		suggestion_consider(&best, word);
	if (best.word)
		return error_set(e, ERROR_USAGE, -EINVAL, "--%s: unknown %s \"%s\"; did you mean %s?", label, spec->name,
				 text, best.word);
	list_words(spec, list, sizeof list);
	return error_set(e, ERROR_USAGE, -EINVAL, "--%s: unknown %s \"%s\"; choose from: %s", label, spec->name, text,
			 list);
}

static int parse_text(const struct option_spec *spec, const char *label, const char *text, uint64_t *number,
		      struct error *e)
{
	int r;

	if (spec->type == OPTION_PATH && *text == '\0')
		return error_set(e, ERROR_USAGE, -EINVAL, "--%s: the value is empty; give %s", label, spec->placeholder);
	if (spec->type == OPTION_PATH)
		(void)find_word(spec, text, number);
	r = spec->check ? spec->check(text, e) : 0;
	return r < 0 ? error_prefix(e, r, "--%s", label) : 0;
}

static int parse_form(const struct option_spec *spec, const char *text, struct error *e)
{
	struct form_values values;
	int r = form_split(spec, text, &values, e);

	if (r == 0)
		form_finish(&values);
	return r;
}

int option_parse_as(const struct option_spec *spec, const char *label, const char *text, struct option_value *value,
		    struct error *e)
{
	uint64_t number = 0;
	int r = 0;

	if (numerics[spec->type].noun)
		r = parse_number(spec, label, text, &number, e);
	else if (spec->type == OPTION_ENUM)
		r = parse_enum(spec, label, text, &number, e);
	else if (spec->type == OPTION_FORM)
		r = parse_form(spec, text, e);
	else
		r = parse_text(spec, label, text, &number, e);
	if (r < 0)
		return r;
	value->text = text;
	value->number = number;
	return 0;
}

int option_parse(const struct option_spec *spec, const char *text, struct option_value *value, struct error *e)
{
	return option_parse_as(spec, spec->name, text, value, e);
}
