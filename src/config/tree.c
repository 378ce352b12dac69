#include "config/tree.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/types.h"
#include "config/surrogate.h"

/* Nodes stay where they are: they come in blocks. */
#define BLOCK_NODES 64

struct block {
	struct block *next;
	size_t used;
	struct tree_node nodes[BLOCK_NODES];
};

struct tree {
	struct block *blocks;
	size_t count;
	struct tree_node *root;
};

struct reader {
	yaml_parser_t yaml;
	struct tree *tree;
	struct complaints *complaints;
	unsigned depth;
};

static int refuse(struct reader *r, const yaml_mark_t *at, const char *what)
{
	complain(r->complaints, (unsigned)at->line + 1, (unsigned)at->column + 1, "%s", what);
	return -EINVAL;
}

static struct tree_node *new_node(struct tree *tree)
{
	struct block *block = tree->blocks;

	if (!block || block->used == BLOCK_NODES) {
		block = calloc(1, sizeof *block);
		if (!block)
			return NULL;
		block->next = tree->blocks;
		tree->blocks = block;
	}
	tree->count++;
	return &block->nodes[block->used++];
}

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

static const char *skip_digits(const char *text)
{
	return text + strspn(text, "0123456789");
}

/* YAML 1.2, 10.3.2: integers in three bases and floating-point numbers. */
static bool is_number(const char *text)
{
	static const char *const words[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", NULL};
	const char *at = text + (*text == '-' || *text == '+'), *digits = at;

	if (text[0] == '0' && text[1] == 'x')
		return text[2] && text[2 + strspn(text + 2, "0123456789abcdefABCDEF")] == '\0';
	if (text[0] == '0' && text[1] == 'o')
		return text[2] && text[2 + strspn(text + 2, "01234567")] == '\0';
	if (is_one_of(at, words))
		return true;
	at = skip_digits(at);
	if (at == digits && !(at[0] == '.' && isdigit((unsigned char)at[1])))
		return false;
	if (*at == '.')
		at = skip_digits(at + 1);
	if (*at == 'e' || *at == 'E') {
		digits = at + 1 + (at[1] == '-' || at[1] == '+');
		at = skip_digits(digits);
		if (at == digits)
			return false;
	}
	return *at == '\0';
}

static enum tree_kind plain_kind(const char *text)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const truths[] = {"true", "True", "TRUE", NULL};
	static const char *const lies[] = {"false", "False", "FALSE", NULL};

	if (is_one_of(text, nulls))
		return TREE_NULL;
	if (is_one_of(text, truths))
		return TREE_TRUE;
	if (is_one_of(text, lies))
		return TREE_FALSE;
	return is_number(text) ? TREE_NUMBER : TREE_TEXT;
}

static int syntax_error(struct reader *r)
{
	const yaml_parser_t *yaml = &r->yaml;
	bool placed = yaml->error == YAML_SCANNER_ERROR || yaml->error == YAML_PARSER_ERROR;

	if (yaml->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	complain(r->complaints, placed ? (unsigned)yaml->problem_mark.line + 1 : 0,
		 placed ? (unsigned)yaml->problem_mark.column + 1 : 0, "this is neither YAML nor JSON: %s%s%s",
		 yaml->problem ? yaml->problem : "it can not be read", yaml->context ? " " : "",
		 yaml->context ? yaml->context : "");
	return -EINVAL;
}

static int next_event(struct reader *r, yaml_event_t *event)
{
	return yaml_parser_parse(&r->yaml, event) ? 0 : syntax_error(r);
}

/* What libyaml lets pass and this does not. */
static int check_event(struct reader *r, const yaml_event_t *event)
{
	const yaml_char_t *tag = NULL;

	if (r->tree->count == TREE_NODES_MAX)
		return refuse(r, &event->start_mark, "the document holds too many values");
	if (event->type == YAML_ALIAS_EVENT)
		return refuse(r, &event->start_mark, "aliases are not taken; write the value itself");
	if (event->type == YAML_SCALAR_EVENT) {
		tag = event->data.scalar.tag;
		if (memchr(event->data.scalar.value, '\0', event->data.scalar.length))
			return refuse(r, &event->start_mark, "a text may not hold the character NUL");
	} else {
		tag = event->type == YAML_SEQUENCE_START_EVENT ? event->data.sequence_start.tag
							       : event->data.mapping_start.tag;
		if (r->depth == TREE_DEPTH_MAX)
			return refuse(r, &event->start_mark, "values are nested too deeply");
	}
	return tag ? refuse(r, &event->start_mark, "tags are not taken; write the value alone") : 0;
}

static int read_node(struct reader *r, const yaml_event_t *event, struct tree_node **out);

/* Items up to the collection's end; of a map each is a key with its value. */
static int read_items(struct reader *r, struct tree_node *node, yaml_event_type_t end)
{
	const struct tree_node **link = &node->first;
	struct tree_node *item = NULL, *value = NULL;
	yaml_event_t event;
	int result;

	while ((result = next_event(r, &event)) == 0) {
		if (event.type == end) {
			yaml_event_delete(&event);
			return 0;
		}
		result = read_node(r, &event, &item);
		if (result == 0 && node->kind == TREE_MAP && !item->text)
			result = refuse(r, &event.start_mark, "a key must be a text");
		yaml_event_delete(&event);
		if (result == 0 && node->kind == TREE_MAP) {
			result = next_event(r, &event);
			if (result == 0) {
				result = read_node(r, &event, &value);
				yaml_event_delete(&event);
			}
			item->value = value;
		}
		if (result < 0)
			return result;
		*link = item;
		link = &item->next;
	}
	return result;
}

static int read_scalar(struct tree_node *node, const yaml_event_t *event)
{
	node->text = strdup((const char *)event->data.scalar.value);
	if (!node->text)
		return -ENOMEM;
	node->kind = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_kind(node->text) : TREE_TEXT;
	return 0;
}

static int read_node(struct reader *r, const yaml_event_t *event, struct tree_node **out)
{
	int result = check_event(r, event);
	struct tree_node *node = result == 0 ? new_node(r->tree) : NULL;

	if (!node)
		return result < 0 ? result : -ENOMEM;
	node->line = (unsigned)event->start_mark.line + 1;
	node->column = (unsigned)event->start_mark.column + 1;
	*out = node;
	if (event->type == YAML_SCALAR_EVENT)
		return read_scalar(node, event);
	r->depth++;
	if (event->type == YAML_MAPPING_START_EVENT) {
		node->kind = TREE_MAP;
		result = read_items(r, node, YAML_MAPPING_END_EVENT);
	} else {
		node->kind = TREE_LIST;
		result = read_items(r, node, YAML_SEQUENCE_END_EVENT);
	}
	r->depth--;
	return result;
}

/* From the stream's start to its end: one document, or none. */
static int read_stream(struct reader *r)
{
	bool done = false;
	int result = 0;

	while (result == 0 && !done) {
		yaml_event_t event;

		result = next_event(r, &event);
		if (result < 0)
			break;
		if (event.type == YAML_DOCUMENT_START_EVENT && r->tree->root)
			result = refuse(r, &event.start_mark, "a second document begins; give one");
		else if (event.type != YAML_STREAM_START_EVENT && event.type != YAML_STREAM_END_EVENT &&
			 event.type != YAML_DOCUMENT_START_EVENT && event.type != YAML_DOCUMENT_END_EVENT)
			result = read_node(r, &event, &r->tree->root);
		done = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	return result;
}

/* A document of nothing, or of comments, is a map of nothing. */
static int ensure_root(struct tree *tree)
{
	if (tree->root && tree->root->kind != TREE_NULL)
		return 0;
	tree->root = new_node(tree);
	if (!tree->root)
		return -ENOMEM;
	tree->root->kind = TREE_MAP;
	tree->root->line = tree->root->column = 1;
	return 0;
}

/* Whether a line begins at `at`, as libyaml counts lines: also after NEL, LS and PS, and after the byte order mark. */
static bool begins_line(const char *text, size_t at)
{
	static const char *const breaks[] = {"\n", "\r", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf"};

	for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
		size_t length = strlen(breaks[i]);

		if (at >= length && memcmp(text + at - length, breaks[i], length) == 0)
			return true;
	}
	return at == 0;
}

/* libyaml's time for the directives of a document is the square of their number, and none has a use here. */
static int refuse_directives(const char *text, size_t length, struct complaints *complaints)
{
	unsigned line = 1;

	for (size_t at = 0; at < length; at++) {
		if (text[at] == '%' && begins_line(text, at)) {
			complain(complaints, line, 1, "directives are not taken; no line may begin with %%");
			return -EINVAL;
		}
		line += text[at] == '\n';
	}
	return 0;
}

static int read_text(struct reader *r, const char *text, size_t length)
{
	int result = refuse_directives(text, length, r->complaints);

	if (result < 0)
		return result;
	yaml_parser_set_encoding(&r->yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r->yaml, (const unsigned char *)text, length);
	result = read_stream(r);
	return result < 0 ? result : ensure_root(r->tree);
}

int tree_parse(struct tree **out, const void *bytes, size_t length, struct complaints *complaints)
{
	struct reader r = {.complaints = complaints};
	char *text;
	int result;

	if (length > TREE_BYTES_MAX) {
		complain(complaints, 0, 0, "the document is longer than %zu KiB", TREE_BYTES_MAX / KIB);
		return -EINVAL;
	}
	text = malloc(length + 1);
	r.tree = calloc(1, sizeof *r.tree);
	if (!text || !r.tree || !yaml_parser_initialize(&r.yaml)) {
		free(text);
		free(r.tree);
		return -ENOMEM;
	}
	if (length > 0)
		memcpy(text, bytes, length);
	result = read_text(&r, text, surrogate_join(text, length));
	yaml_parser_delete(&r.yaml);
	free(text);
	if (result < 0)
		tree_free(r.tree);
	else
		*out = r.tree;
	return result;
}

void tree_free(struct tree *tree)
{
	struct block *next;

	if (!tree)
		return;
	for (struct block *block = tree->blocks; block; block = next) {
		for (size_t i = 0; i < block->used; i++)
			free((char *)(uintptr_t)block->nodes[i].text);
		next = block->next;
		free(block);
	}
	free(tree);
}

const struct tree_node *tree_root(const struct tree *tree)
{
	return tree->root;
}

const char *tree_kind_name(enum tree_kind kind)
{
	static const char *const names[] = {[TREE_TEXT] = "text", [TREE_NUMBER] = "a number", [TREE_TRUE] = "true",
					    [TREE_FALSE] = "false", [TREE_NULL] = "nothing", [TREE_LIST] = "a list",
					    [TREE_MAP] = "a mapping"};

	return names[kind];
}
