/*
 * A YAML or JSON document (JSON is YAML to this parser) as a tree of values that know where they stand.
 *
 * What comes from outside is bounded: TREE_BYTES_MAX, TREE_DEPTH_MAX, TREE_NODES_MAX. Aliases, tags and directives are refused,
 * so a tree is no larger than its text; so are a second document and a text with a NUL. Values without quotes are told apart
 * as YAML 1.2's core schema does: null, true and false, numbers, and all else is text ("on", "yes" and "8080:80" are).
 *
 * Thread: any.
 */
#ifndef DOPPEL_CONFIG_TREE_H
#define DOPPEL_CONFIG_TREE_H

#include <stddef.h>

#include "config/complaint.h"

#define TREE_BYTES_MAX ((size_t)1 << 20)
#define TREE_DEPTH_MAX 16
#define TREE_NODES_MAX 65536

enum tree_kind { TREE_TEXT, TREE_NUMBER, TREE_TRUE, TREE_FALSE, TREE_NULL, TREE_LIST, TREE_MAP };

struct tree_node {
	enum tree_kind kind;
	unsigned line, column;         /* from 1 */
	const char *text;              /* of all but LIST and MAP: as written, without quotes */
	const struct tree_node *first; /* of LIST: its items; of MAP: its keys (TREE_TEXT), each with its value */
	const struct tree_node *value; /* of a key */
	const struct tree_node *next;
};

struct tree;

/* -EINVAL with a complaint (and an empty *out) when the text is no such document; -ENOMEM without one. An empty document is
 * an empty map. */
MUST_USE int tree_parse(struct tree **out, const void *bytes, size_t length, struct complaints *complaints);
void tree_free(struct tree *tree); /* accepts NULL */
const struct tree_node *tree_root(const struct tree *tree);

/* "a list", "a number", ... for messages. */
const char *tree_kind_name(enum tree_kind kind);

#endif
