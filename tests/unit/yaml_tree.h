/* A YAML document read by libyaml into a jansson tree, by the rules of the YAML 1.2 core schema and those of 1.1 that say
 * more: plain text that either takes for another type is that type. For tests of what writes YAML. */
#ifndef DOPPEL_TEST_YAML_TREE_H
#define DOPPEL_TEST_YAML_TREE_H

#include <jansson.h>

/* A new reference; NULL when it is no YAML, or more or less than one document. */
json_t *yaml_tree(const char *text, size_t length);

#endif
