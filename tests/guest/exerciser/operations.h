/* What operations have in common, and those of names.c. */
#ifndef EXERCISER_OPERATIONS_H
#define EXERCISER_OPERATIONS_H

#include "model.h"

/* A place that an operation picks: a name in a folder, which may or may not be there. */
struct place {
	int folder, name, node; /* -1: nothing is there */
	char text[64];
	const char *path;
};

/* Tells of a difference and of errno, and ends the program. */
void fail(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether it was to succeed and did; it must fail with the error `wanted` otherwise. */
bool answered(long result, int wanted, const char *path);
struct place pick(void);
/* One where such a node is; false: none was met. */
bool pick_kind(struct place *place, enum kind kind);
/* What was found at an offset must be what the model has there. */
void compare(const uint8_t *found, size_t at, size_t length, int node, const char *path);
/* Bytes in the model. */
void node_put(int node, size_t at, const uint8_t *bytes, size_t length);

void op_mkdir(void);
void op_rmdir(void);
void op_unlink(void);
void op_link(void);
void op_symlink(void);
void op_readlink(void);
void op_rename(void);

#endif
