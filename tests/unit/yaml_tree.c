#include "yaml_tree.h"

#include <regex.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

static bool matches(const char *text, const char *expression)
{
	regex_t compiled;
	bool found;

	if (regcomp(&compiled, expression, REG_EXTENDED | REG_NOSUB | REG_ICASE) != 0)
		abort();
	found = regexec(&compiled, text, 0, NULL, 0) == 0;
	regfree(&compiled);
	return found;
}

/* What plain text means; YAML 1.1's types, and 1.2's core schema. */
static json_t *plain(const char *text)
{
	if (matches(text, "^(~|null|)$"))
		return json_null();
	if (matches(text, "^(y|yes|true|on)$"))
		return json_true();
	if (matches(text, "^(n|no|false|off)$"))
		return json_false();
	if (matches(text, "^[-+]?(0|[1-9][0-9]*)$"))
		return json_integer(strtoll(text, NULL, 10));
	if (matches(text, "^[-+]?[0-9]+\\.[0-9]*(e[-+][0-9]+)?$"))
		return json_real(strtod(text, NULL));
	/* Other numbers, times and special values of either version: nothing that we write plainly. */
	if (matches(text, "^([-+]?[0-9.]|<<$|=$)"))
		return NULL;
	return json_string(text);
}

static json_t *node_tree(yaml_document_t *document, int index);

static json_t *mapping(yaml_document_t *document, const yaml_node_t *node)
{
	json_t *object = json_object();

	for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
		const yaml_node_t *key = yaml_document_get_node(document, p->key);
		json_t *name = node_tree(document, p->key);

		if (!json_is_string(name) ||
		    json_object_getn(object, json_string_value(name), key->data.scalar.length) ||
		    json_object_setn_new(object, json_string_value(name), key->data.scalar.length,
					 node_tree(document, p->value)) < 0) {
			json_decref(name);
			json_decref(object);
			return NULL;
		}
		json_decref(name);
	}
	return object;
}

static json_t *sequence(yaml_document_t *document, const yaml_node_t *node)
{
	json_t *array = json_array();

	for (const yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
		if (json_array_append_new(array, node_tree(document, *i)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *node_tree(yaml_document_t *document, int index)
{
	const yaml_node_t *node = yaml_document_get_node(document, index);

	if (node->type == YAML_MAPPING_NODE)
		return mapping(document, node);
	if (node->type == YAML_SEQUENCE_NODE)
		return sequence(document, node);
	if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return plain((const char *)node->data.scalar.value);
	return json_stringn((const char *)node->data.scalar.value, node->data.scalar.length);
}

json_t *yaml_tree(const char *text, size_t length)
{
	yaml_document_t document, rest;
	yaml_parser_t parser;
	json_t *tree = NULL;

	yaml_parser_initialize(&parser);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
	if (yaml_parser_load(&parser, &document)) {
		if (yaml_document_get_root_node(&document))
			tree = node_tree(&document, 1);
		yaml_document_delete(&document);
		if (!yaml_parser_load(&parser, &rest) || yaml_document_get_root_node(&rest)) {
			json_decref(tree);
			tree = NULL;
		}
		yaml_document_delete(&rest);
	}
	yaml_parser_delete(&parser);
	return tree;
}
