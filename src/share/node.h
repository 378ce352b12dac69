/*
 * The files that a guest knows by number, and those that it has open.
 *
 * A node is a file, named by an O_PATH descriptor; the guest counts its look-ups and gives them back. Numbers come
 * from the guest and may be anything.
 */
#ifndef DOPPEL_SHARE_NODE_H
#define DOPPEL_SHARE_NODE_H

#include <sys/stat.h>

#include "base/error.h"
#include "base/types.h"

#define NODE_ROOT 1 /* FUSE_ROOT_ID */

struct node {
	int fd; /* O_PATH; -1: the entry is free */
	dev_t device;
	ino_t inode;
	mode_t type; /* S_IFMT bits */
	uint64_t lookups, generation;
	uint32_t next; /* in its hash chain, or among the free; 0 ends */
};

struct nodes {
	struct node *table; /* by number; 0 is no node */
	uint32_t count, room, free;
	uint32_t *hash;
	uint32_t hash_size; /* a power of two */
};

/* The root's descriptor becomes the table's. */
MUST_USE int nodes_init(struct nodes *nodes, int root);
/* Closes everything. */
void nodes_finish(struct nodes *nodes);
/* Forgets all nodes but the root. */
void nodes_clear(struct nodes *nodes);

/* NULL for a number that is no node's. Pointers hold until the next nodes_add. */
struct node *nodes_get(const struct nodes *nodes, uint64_t number);
/* The number of the file that `fd` (O_PATH) names and `stat` describes, with one look-up more. Takes `fd`, also on
 * failure. -ENOMEM. */
MUST_USE int nodes_add(struct nodes *nodes, int fd, const struct stat *stat, uint64_t *number);
/* Gives back `count` look-ups; the root stays. */
void nodes_forget(struct nodes *nodes, uint64_t number, uint64_t count);

/* Open files by number. */
struct handles {
	int *fds; /* -1: free */
	uint32_t room;
};
/* Takes `fd`, also on failure. */
MUST_USE int handles_add(struct handles *handles, int fd, uint64_t *number);
/* -1 for a number that is no handle's. */
int handles_get(const struct handles *handles, uint64_t number);
void handles_remove(struct handles *handles, uint64_t number);
/* Closes all; it may be used again. */
void handles_clear(struct handles *handles);

#endif
