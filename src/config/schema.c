#include "config/schema.h"

#include <string.h>

#include "config/form.h"

/* How option.c reads types that have units, in any case of letters, and what a bare number counts of the least unit. */
static const struct measure {
	const char *pattern;
	uint64_t unit;
} measures[OPTION_TYPES] = {
	[OPTION_SIZE] = {"^[0-9]+([KkMmGgTt]([Ii][Bb])?|[Bb])?$", 1},
	[OPTION_PERCENT] = {"^[0-9]+%?$", 1},
	[OPTION_DURATION] = {"^[0-9]+([Mm][Ss]|[HhMmSs])?$", 1000},
};

static json_t *type_of(const char *type)
{
	return json_pack("{s:s}", "type", type);
}

static json_t *string_of(const char *pattern)
{
	return pattern ? json_pack("{s:s, s:s}", "type", "string", "pattern", pattern) : type_of("string");
}

/* Numbers that JSON has room for; larger limits are none. */
static void set_limit(json_t *schema, const char *key, uint64_t limit)
{
	if (limit <= INT64_MAX)
		json_object_set_new(schema, key, json_integer((json_int_t)limit));
}

static json_t *number_of(const struct option_spec *row, uint64_t unit)
{
	json_t *schema = type_of("integer");

	set_limit(schema, "minimum", (row->minimum + unit - 1) / unit);
	set_limit(schema, "maximum", row->maximum / unit);
	if (row->multiple)
		set_limit(schema, "multipleOf", row->multiple);
	return schema;
}

static json_t *measure_of(const struct option_spec *row)
{
	const struct measure *measure = &measures[row->type];

	return json_pack("{s:[o, o]}", "anyOf", number_of(row, measure->unit), string_of(measure->pattern));
}

static json_t *choice_of(const struct option_spec *row)
{
	json_t *words = json_array();
	const char *word;

	for (size_t i = 0; (word = option_word(row, i)); i++) {
		json_array_append_new(words, json_string(word));
		if (strcmp(word, "on") == 0 || strcmp(word, "off") == 0)
			json_array_append_new(words, json_boolean(word[1] == 'n'));
	}
	return json_pack("{s:o}", "enum", words);
}

static json_t *describe(json_t *schema, const struct option_spec *row)
{
	json_object_set_new(schema, "description", json_string(row->help));
	if (row->fallback)
		json_object_set_new(schema, "default", json_string(row->fallback));
	return schema;
}

static json_t *value_of(const struct option_spec *row);

static json_t *mapping_of(const struct option_form *form)
{
	json_t *properties = json_object(), *required = json_array();

	for (size_t i = 0; i < form->count; i++) {
		const struct option_spec *row = &form->parts[i];
		json_t *schema = value_of(row);

		if (row->bare)
			schema = json_pack("{s:[o, o]}", "anyOf", schema, type_of("boolean"));
		json_object_set_new(properties, row->name, describe(schema, row));
		if (row->required)
			json_array_append_new(required, json_string(row->name));
	}
	return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required", required,
			 "additionalProperties", false);
}

static json_t *form_of(const struct option_spec *row)
{
	return json_pack("{s:[o, o]}", "anyOf", mapping_of(row->form),
			 json_pack("{s:s, s:i, s:s}", "type", "string", "minLength", 1, "description", row->placeholder));
}

/* One value of a property. */
static json_t *value_of(const struct option_spec *row)
{
	switch (row->type) {
	case OPTION_FLAG:
		return type_of("boolean");
	case OPTION_PATH:
		return json_pack("{s:s, s:i}", "type", "string", "minLength", 1);
	case OPTION_SIZE:
	case OPTION_PERCENT:
	case OPTION_DURATION:
		return measure_of(row);
	case OPTION_INTEGER:
		return number_of(row, 1);
	case OPTION_ENUM:
		return choice_of(row);
	case OPTION_FORM:
		return form_of(row);
	default:
		return string_of(row->pattern);
	}
}

static json_t *property_of(const struct option_spec *row)
{
	json_t *value = value_of(row);

	if (row->repeatable)
		value = json_pack("{s:[O, {s:s, s:o}]}", "anyOf", value, "type", "array", "items", value);
	return describe(value, row);
}

/* "at least one of these keys" */
static json_t *one_of(const char *const *keys)
{
	json_t *any = json_array();

	for (; *keys; keys++)
		json_array_append_new(any, json_pack("{s:[s]}", "required", *keys));
	return any;
}

json_t *schema_make(const struct config_kind *kind)
{
	json_t *properties = json_object();

	for (size_t n = kind->operand ? 0 : 1; n <= kind->option_count; n++) {
		size_t option = n == 0 ? CONFIG_OPERAND : n - 1;
		const struct option_spec *row = config_row(kind, option);

		if (config_is_written(kind, option))
			json_object_set_new(properties, option_key(row), property_of(row));
	}
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:b}", "$schema",
			 "https://json-schema.org/draft/2020-12/schema", "title", kind->title, "description",
			 kind->description, "type", "object", "properties", properties, "anyOf", one_of(kind->one_of),
			 "additionalProperties", false);
}
