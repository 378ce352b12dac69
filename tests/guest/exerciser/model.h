/* What a folder must look like: nodes with their contents, and the names that lead to them. Node 0 is the folder itself. */
#ifndef EXERCISER_MODEL_H
#define EXERCISER_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define NODES      512
#define NAMES      512
#define FOLDERS    10
#define DEPTH      4
#define FILE_MAX   300000
#define ATTRIBUTES 3
#define VALUE_MAX  600

enum kind { NONE, FILE_NODE, FOLDER_NODE, LINK_NODE };

struct node {
	enum kind kind;
	unsigned links, holds; /* names that lead here; descriptors that are open */
	mode_t mode;
	size_t size;
	uint8_t *bytes; /* FILE_MAX of them, zero behind the size; a link's target */
	int64_t mtime;  /* what it was set to; -1: not known */
	size_t value_length[ATTRIBUTES];
	char *values[ATTRIBUTES]; /* NULL: not there */
};

struct name {
	int node, folder; /* node -1: free */
	char text[64];
};

extern struct node nodes[NODES];
extern struct name names[NAMES];
extern uint64_t seed;

uint64_t random_number(void);
unsigned below(unsigned limit);
void random_bytes(uint8_t *bytes, size_t length);

void model_init(void);
int node_new(enum kind kind, mode_t mode);
/* Gone when nothing leads to it any more. */
void node_release(int node);
/* -1: there is none. */
int name_find(int folder, const char *text);
int name_add(int folder, const char *text, int node);
void name_remove(int name);
bool folder_is_empty(int folder);
unsigned folder_depth(int folder);
/* Whether `node` is `folder` or below it. */
bool is_below(int node, int folder);
/* From the tested folder on, which is "."; in one of several buffers. */
const char *path_of(int folder, const char *text);
uint64_t sum_of(const uint8_t *bytes, size_t length);

/* Every name of the model, sorted, a line each: the same as list_folder prints of a real folder. */
void list_model(FILE *out);
int list_folder(const char *path, FILE *out);

#endif
