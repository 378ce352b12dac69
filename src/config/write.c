#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"
#include "config/document.h"
#include "config/form.h"

/* Digits alone, few enough for a number. */
static bool is_number(const char *text)
{
	size_t length = strlen(text);

	return length > 0 && length <= 18 && strspn(text, "0123456789") == length;
}

/* NULL for text that is no UTF-8, or without memory. */
static json_t *scalar(const struct option_spec *row, const char *text)
{
	static const bool numeric[OPTION_TYPES] = {[OPTION_INTEGER] = true, [OPTION_SIZE] = true,
						   [OPTION_PERCENT] = true, [OPTION_DURATION] = true};

	if (row->type == OPTION_FLAG || !text)
		return json_true();
	if (numeric[row->type] && is_number(text))
		return json_integer(strtoll(text, NULL, 10));
	return json_string(text);
}

static json_t *mapping(const struct option_spec *row, const char *text)
{
	struct form_values parts;
	json_t *map;

	if (form_split(row, text, &parts, NULL) < 0)
		return NULL;
	map = json_object();
	for (size_t i = 0; i < row->form->count; i++) {
		const struct option_spec *part = &row->form->parts[i];

		if (parts.values[i].given &&
		    json_object_set_new(map, part->name, scalar(part, parts.values[i].text)) < 0) {
			json_decref(map);
			map = NULL;
			break;
		}
	}
	form_finish(&parts);
	return map;
}

static int add_setting(json_t *tree, const struct option_spec *row, const char *text, struct error *e)
{
	json_t *value = row->type == OPTION_FORM ? mapping(row, text) : scalar(row, text);
	json_t *list = json_object_get(tree, option_key(row));
	int r;

	if (!value)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "--%s: \"%s\" can not be written into a document: it is no UTF-8; give another name",
				 row->name, text);
	if (!row->repeatable)
		return json_object_set_new(tree, option_key(row), value) < 0 ? error_errno(e, -ENOMEM, "--%s", row->name)
									      : 0;
	if (!list) {
		list = json_array();
		if (json_object_set_new(tree, option_key(row), list) < 0)
			list = NULL;
	}
	r = json_array_append_new(list, value);
	return r < 0 ? error_errno(e, -ENOMEM, "--%s", row->name) : 0;
}

int document_tree(const struct config_kind *kind, const struct settings *settings, json_t **out, struct error *e)
{
	json_t *tree = json_object();
	int r = tree ? 0 : error_errno(e, -ENOMEM, "a document");

	for (size_t n = kind->operand ? 0 : 1; n <= kind->option_count; n++) {
		size_t option = n == 0 ? CONFIG_OPERAND : n - 1;

		for (size_t i = 0; r == 0 && i < settings->count; i++)
			if (settings->list[i].option == option && config_is_written(kind, option))
				r = add_setting(tree, config_row(kind, option), settings->list[i].text, e);
	}
	if (r < 0)
		json_decref(tree);
	else
		*out = tree;
	return r;
}

int document_write(const struct config_kind *kind, const struct settings *settings, char **text, struct error *e)
{
	char *made = NULL;
	json_t *tree = NULL;
	size_t size = 0;
	FILE *out;
	int r = document_tree(kind, settings, &tree, e), closed;

	if (r < 0)
		return r;
	out = open_memstream(&made, &size);
	r = out ? yaml_print(out, tree) : -errno;
	closed = out ? fclose(out) : 0;
	json_decref(tree);
	if (r < 0 || closed != 0) {
		free(made);
		return error_errno(e, r < 0 ? r : -ENOMEM, "a document");
	}
	*text = made;
	return 0;
}
