#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"
#include "config/document.h"
#include "config/form.h"
#include "config/suggest.h"
#include "config/tree.h"

struct reader {
	const struct config_kind *kind;
	const char *folder;
	struct settings settings;
	struct complaints *complaints;
	int failed; /* -ENOMEM */
};

static const struct {
	const char *wanted;
	bool kinds[TREE_MAP + 1];
} types[OPTION_TYPES] = {
	[OPTION_FLAG] = {"true or false", {[TREE_TRUE] = true, [TREE_FALSE] = true}},
	[OPTION_STRING] = {"text", {[TREE_TEXT] = true}},
	[OPTION_PATH] = {"a path", {[TREE_TEXT] = true}},
	[OPTION_SIZE] = {"a size such as 512M", {[TREE_TEXT] = true, [TREE_NUMBER] = true}},
	[OPTION_INTEGER] = {"a whole number", {[TREE_NUMBER] = true}},
	[OPTION_PERCENT] = {"a percentage such as 40%", {[TREE_TEXT] = true, [TREE_NUMBER] = true}},
	[OPTION_DURATION] = {"a duration such as 30s", {[TREE_TEXT] = true, [TREE_NUMBER] = true}},
	[OPTION_ENUM] = {"a word", {[TREE_TEXT] = true}},
	[OPTION_FORM] = {"a mapping or text", {[TREE_TEXT] = true, [TREE_MAP] = true}},
};

/* The row of a property that is called by its key, so that messages do so. */
static struct option_spec named_by_key(const struct config_kind *kind, size_t option)
{
	struct option_spec row = *config_row(kind, option);

	row.name = option_key(&row);
	return row;
}

static void complain_at(struct reader *r, const struct tree_node *at, const struct error *e)
{
	complain_of(r->complaints, at->line, at->column, e);
}

/* Of choices with the words on and off true and false mean these. */
static const char *truth_word(const struct option_spec *row, const struct tree_node *node)
{
	const char *word = node->kind == TREE_TRUE ? "on" : node->kind == TREE_FALSE ? "off" : NULL;

	for (size_t i = 0; word && row->type == OPTION_ENUM && option_word(row, i); i++)
		if (strcmp(option_word(row, i), word) == 0)
			return word;
	return NULL;
}

/* What the type of a row takes, for messages. */
static const char *wanted(const struct option_spec *row, char words[160])
{
	const char *word;
	size_t used = 0;

	if (row->type != OPTION_ENUM)
		return types[row->type].wanted;
	used = (size_t)snprintf(words, 160, "one of ");
	for (size_t i = 0; (word = option_word(row, i)) && used < 160; i++)
		used += (size_t)snprintf(words + used, 160 - used, "%s%s", i ? ", " : "", word);
	return words;
}

static void wrong_kind(struct reader *r, const struct option_spec *row, const char *label, const struct tree_node *node)
{
	bool text = row->type == OPTION_STRING || row->type == OPTION_PATH;
	bool plain = node->kind != TREE_MAP && node->kind != TREE_LIST;
	char words[160];

	if (node->kind == TREE_NULL)
		complain(r->complaints, node->line, node->column, "%s: the value is missing; give %s, or leave the key out",
			 label, wanted(row, words));
	else if (row->type == OPTION_INTEGER && node->kind == TREE_TEXT)
		complain(r->complaints, node->line, node->column,
			 "%s: \"%.60s\" is not a whole number; write digits, without quotes", label, node->text);
	else
		complain(r->complaints, node->line, node->column, "%s: %s where %s is wanted%s", label,
			 tree_kind_name(node->kind), wanted(row, words), text && plain ? "; put it in quotes" : "");
}

/* The value's text, checked; NULL after a complaint. */
static const char *read_scalar(struct reader *r, const struct option_spec *row, const char *label,
			       const struct tree_node *node, struct option_value *value)
{
	const char *text = truth_word(row, node);
	struct error e;

	if (!text && (!types[row->type].kinds[node->kind] || node->kind == TREE_MAP)) {
		wrong_kind(r, row, label, node);
		return NULL;
	}
	if (!text)
		text = node->text;
	if (option_parse_as(row, label, text, value, &e) < 0) {
		complain_at(r, node, &e);
		return NULL;
	}
	return text;
}

static void add(struct reader *r, size_t option, const char *text, const struct tree_node *at)
{
	struct error e;
	int code = settings_add(&r->settings, r->kind, option, text, r->folder, &e);

	if (code == -ENOMEM)
		r->failed = code;
	else if (code < 0)
		complain_at(r, at, &e);
}

static void unknown_key(struct reader *r, const char *of, const struct tree_node *key, const char *nearest)
{
	if (nearest)
		complain(r->complaints, key->line, key->column, "%s\"%.60s\" is not known; did you mean %s?", of, key->text,
			 nearest);
	else
		complain(r->complaints, key->line, key->column, "%s\"%.60s\" is not known; doppel schema tells what is", of,
			 key->text);
}

/* Keeps in `lines` where each key was first. */
static bool is_doubled(struct reader *r, const char *of, const struct tree_node *key, unsigned *line)
{
	if (*line)
		complain(r->complaints, key->line, key->column, "%s%s is given twice; it is on line %u already", of,
			 key->text, *line);
	else
		*line = key->line;
	return *line != key->line;
}

static void read_part(struct reader *r, const struct option_spec *form_row, size_t part, const struct tree_node *node,
		      struct option_value *value)
{
	const struct option_spec *row = &form_row->form->parts[part];
	bool flag = row->type == OPTION_FLAG || row->bare;
	char label[80];

	snprintf(label, sizeof label, "%s %s", form_row->name, row->name);
	if (flag && (node->kind == TREE_TRUE || node->kind == TREE_FALSE))
		value->given = node->kind == TREE_TRUE;
	else
		value->given = read_scalar(r, row, label, node, value) != NULL;
}

static void read_key_of_form(struct reader *r, const struct option_spec *row, const struct tree_node *key,
			     struct option_value *values, unsigned *lines)
{
	struct suggestion best = suggestion_for(key->text);
	char of[72];

	snprintf(of, sizeof of, "%s: ", row->name);
	for (size_t i = 0; i < row->form->count; i++) {
		const char *name = row->form->parts[i].name;

		if (strcmp(name, key->text) == 0) {
			if (!is_doubled(r, of, key, &lines[i]))
				read_part(r, row, i, key->value, &values[i]);
			return;
		}
		suggestion_consider(&best, name);
	}
	unknown_key(r, of, key, best.word);
}

/* The command line's text of a mapping's values, which each are as they should be. */
static void add_form(struct reader *r, size_t option, const struct option_spec *row, const struct tree_node *map,
		     const struct option_value *values)
{
	struct error e;
	char *text;
	int code = form_join(row, values, &text, &e);

	if (code == -ENOMEM) {
		r->failed = code;
	} else if (code < 0) {
		complain_at(r, map, &e);
	} else {
		add(r, option, text, map);
		free(text);
	}
}

static void read_form(struct reader *r, size_t option, const struct tree_node *map)
{
	struct option_spec named = named_by_key(r->kind, option), *row = &named;
	struct option_value values[FORM_PARTS_MAX] = {{.given = false}};
	unsigned lines[FORM_PARTS_MAX] = {0};
	size_t before = r->complaints->count + r->complaints->beyond;

	for (const struct tree_node *key = map->first; key; key = key->next)
		read_key_of_form(r, row, key, values, lines);
	for (size_t i = 0; i < row->form->count; i++)
		if (row->form->parts[i].required && !lines[i])
			complain(r->complaints, map->line, map->column, "%s: %s is missing", row->name,
				 row->form->parts[i].name);
	if (r->complaints->count + r->complaints->beyond == before)
		add_form(r, option, row, map, values);
}

static void read_value(struct reader *r, size_t option, const struct tree_node *node)
{
	struct option_spec row = named_by_key(r->kind, option);
	struct option_value value;
	const char *text;

	if (row.type == OPTION_FORM && node->kind == TREE_MAP) {
		read_form(r, option, node);
	} else if (row.type == OPTION_FLAG) {
		if (node->kind == TREE_TRUE)
			add(r, option, NULL, node);
		else if (node->kind != TREE_FALSE)
			wrong_kind(r, &row, row.name, node);
	} else {
		text = read_scalar(r, &row, row.name, node, &value);
		if (text)
			add(r, option, text, node);
	}
}

static void read_property(struct reader *r, size_t option, const struct tree_node *node)
{
	if (!config_row(r->kind, option)->repeatable || node->kind != TREE_LIST) {
		read_value(r, option, node);
		return;
	}
	for (const struct tree_node *item = node->first; item && !r->failed; item = item->next)
		read_value(r, option, item);
}

/* Index of the property with this key, or of the nearest; what is of the command line alone is told apart. */
static bool find_property(const struct reader *r, const char *key, size_t *option, const char **nearest, bool *foreign)
{
	const struct config_kind *kind = r->kind;
	struct suggestion best = suggestion_for(key);

	for (size_t n = kind->operand ? 0 : 1; n <= kind->option_count; n++) {
		size_t i = n == 0 ? CONFIG_OPERAND : n - 1;
		const struct option_spec *row = config_row(kind, i);

		if (!config_is_written(kind, i)) {
			*foreign |= strcmp(row->name, key) == 0;
			continue;
		}
		if (strcmp(option_key(row), key) == 0) {
			*option = i;
			return true;
		}
		suggestion_consider(&best, option_key(row));
	}
	*nearest = best.word;
	return false;
}

static void read_key(struct reader *r, const struct tree_node *key, unsigned lines[CONFIG_OPTIONS_MAX + 1])
{
	const char *nearest = NULL;
	bool foreign = false;
	size_t option;

	if (find_property(r, key->text, &option, &nearest, &foreign)) {
		if (!is_doubled(r, "", key, &lines[option == CONFIG_OPERAND ? r->kind->option_count : option]))
			read_property(r, option, key->value);
	} else if (foreign) {
		complain(r->complaints, key->line, key->column, "%s belongs on the command line; leave it out here",
			 key->text);
	} else {
		unknown_key(r, "", key, nearest);
	}
}

/* "image, kernel or firmware" */
static void list_one_of(const struct config_kind *kind, char *list, size_t size)
{
	size_t used = 0;

	*list = '\0';
	for (size_t i = 0; kind->one_of[i] && used < size; i++)
		used += (size_t)snprintf(list + used, size - used, "%s%s",
					 i == 0 ? "" : kind->one_of[i + 1] ? ", " : " or ", kind->one_of[i]);
}

static void check_whole(struct reader *r, const struct tree_node *map)
{
	char list[128];

	for (const struct tree_node *key = map->first; key; key = key->next)
		for (const char *const *word = r->kind->one_of; *word; word++)
			if (strcmp(*word, key->text) == 0)
				return;
	list_one_of(r->kind, list, sizeof list);
	complain(r->complaints, 0, 0, "%s is missing", list);
}

static void read_root(struct reader *r, const struct tree_node *root, bool whole)
{
	unsigned lines[CONFIG_OPTIONS_MAX + 1] = {0};

	if (root->kind != TREE_MAP) {
		complain(r->complaints, root->line, root->column, "%s where a mapping of properties is wanted, such as memory: 2G",
			 tree_kind_name(root->kind));
		return;
	}
	for (const struct tree_node *key = root->first; key && !r->failed; key = key->next)
		read_key(r, key, lines);
	if (whole)
		check_whole(r, root);
}

/* Moves what was read behind what is in `out`. */
static int append(struct settings *out, struct settings *more)
{
	struct setting *list;

	if (more->count == 0)
		return 0;
	list = reallocarray(out->list, out->count + more->count, sizeof *list);
	if (!list)
		return -ENOMEM;
	memcpy(list + out->count, more->list, more->count * sizeof *list);
	out->list = list;
	out->count += more->count;
	out->room = out->count;
	more->count = 0;
	return 0;
}

int document_read(const struct config_kind *kind, const void *bytes, size_t length, const char *folder, bool whole,
		  struct settings *out, struct complaints *complaints)
{
	struct reader r = {.kind = kind, .folder = folder, .complaints = complaints};
	struct tree *tree = NULL;
	int code = tree_parse(&tree, bytes, length, complaints);

	assert(kind->option_count <= CONFIG_OPTIONS_MAX);
	if (code < 0)
		return code;
	read_root(&r, tree_root(tree), whole);
	code = r.failed ? r.failed : complaints->count ? -EINVAL : append(out, &r.settings);
	settings_finish(&r.settings);
	tree_free(tree);
	return code;
}
