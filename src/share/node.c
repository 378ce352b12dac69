#include "share/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_ROOM  64
#define NUMBERS_MAX (UINT32_C(1) << 24)

static uint32_t chain_of(const struct nodes *nodes, dev_t device, ino_t inode)
{
	uint64_t key = (inode ^ (device << 40)) * UINT64_C(0x9e3779b97f4a7c15);

	return (uint32_t)(key >> 32) & (nodes->hash_size - 1);
}

static void link_node(struct nodes *nodes, uint32_t number)
{
	struct node *node = &nodes->table[number];
	uint32_t chain = chain_of(nodes, node->device, node->inode);

	node->next = nodes->hash[chain];
	nodes->hash[chain] = number;
}

static void unlink_node(struct nodes *nodes, uint32_t number)
{
	struct node *node = &nodes->table[number];
	uint32_t *link = &nodes->hash[chain_of(nodes, node->device, node->inode)];

	while (*link != number)
		link = &nodes->table[*link].next;
	*link = node->next;
}

static void give_back(struct nodes *nodes, uint32_t number)
{
	struct node *node = &nodes->table[number];

	close(node->fd);
	node->fd = -1;
	node->next = nodes->free;
	nodes->free = number;
	nodes->count--;
}

/* Doubles the table and its hash, which has a chain for each entry. */
static int grow(struct nodes *nodes)
{
	uint32_t room = nodes->room ? nodes->room * 2 : FIRST_ROOM;
	struct node *table;
	uint32_t *hash;

	if (room > NUMBERS_MAX)
		return -ENFILE;
	hash = calloc(room, sizeof *hash);
	table = hash ? realloc(nodes->table, room * sizeof *table) : NULL;
	if (!table) {
		free(hash);
		return -ENOMEM;
	}
	free(nodes->hash);
	nodes->hash = hash;
	nodes->hash_size = room;
	nodes->table = table;
	for (uint32_t i = 1; i < nodes->room; i++)
		if (table[i].fd >= 0)
			link_node(nodes, i);
	for (uint32_t i = room - 1; i >= (nodes->room ? nodes->room : 1); i--) {
		table[i] = (struct node){.fd = -1, .next = nodes->free};
		nodes->free = i;
	}
	nodes->room = room;
	return 0;
}

int nodes_init(struct nodes *nodes, int root)
{
	struct stat stat;
	uint64_t number;
	int r = fstat(root, &stat) < 0 ? -errno : 0;

	*nodes = (struct nodes){.table = NULL};
	if (r < 0)
		close(root);
	else
		r = nodes_add(nodes, root, &stat, &number);
	return r;
}

void nodes_clear(struct nodes *nodes)
{
	for (uint32_t i = NODE_ROOT + 1; i < nodes->room; i++)
		if (nodes->table[i].fd >= 0) {
			unlink_node(nodes, i);
			give_back(nodes, i);
		}
}

void nodes_finish(struct nodes *nodes)
{
	nodes_clear(nodes);
	if (nodes->room)
		close(nodes->table[NODE_ROOT].fd);
	free(nodes->table);
	free(nodes->hash);
	*nodes = (struct nodes){.table = NULL};
}

struct node *nodes_get(const struct nodes *nodes, uint64_t number)
{
	if (number == 0 || number >= nodes->room || nodes->table[number].fd < 0)
		return NULL;
	return &nodes->table[number];
}

static uint32_t find(const struct nodes *nodes, const struct stat *stat)
{
	uint32_t i = nodes->hash_size ? nodes->hash[chain_of(nodes, stat->st_dev, stat->st_ino)] : 0;

	while (i && (nodes->table[i].device != stat->st_dev || nodes->table[i].inode != stat->st_ino))
		i = nodes->table[i].next;
	return i;
}

int nodes_add(struct nodes *nodes, int fd, const struct stat *stat, uint64_t *number)
{
	uint32_t i = find(nodes, stat);
	uint64_t generation;
	int r;

	if (i) {
		close(fd);
		nodes->table[i].lookups++;
		*number = i;
		return 0;
	}
	r = nodes->free ? 0 : grow(nodes);
	if (r < 0) {
		close(fd);
		return r;
	}
	i = nodes->free;
	nodes->free = nodes->table[i].next;
	generation = nodes->table[i].generation + 1;
	nodes->table[i] = (struct node){
		.fd = fd,
		.device = stat->st_dev,
		.inode = stat->st_ino,
		.type = stat->st_mode & S_IFMT,
		.lookups = 1,
		.generation = generation,
	};
	link_node(nodes, i);
	nodes->count++;
	*number = i;
	return 0;
}

void nodes_forget(struct nodes *nodes, uint64_t number, uint64_t count)
{
	struct node *node = nodes_get(nodes, number);

	if (!node || number == NODE_ROOT)
		return;
	node->lookups -= count < node->lookups ? count : node->lookups;
	if (node->lookups)
		return;
	unlink_node(nodes, (uint32_t)number);
	give_back(nodes, (uint32_t)number);
}

static int free_handle(struct handles *handles, uint32_t *index)
{
	uint32_t room = handles->room ? handles->room * 2 : FIRST_ROOM;
	int *fds;

	for (uint32_t i = 0; i < handles->room; i++)
		if (handles->fds[i] < 0) {
			*index = i;
			return 0;
		}
	if (room > NUMBERS_MAX)
		return -ENFILE;
	fds = realloc(handles->fds, room * sizeof *fds);
	if (!fds)
		return -ENOMEM;
	for (uint32_t i = handles->room; i < room; i++)
		fds[i] = -1;
	*index = handles->room;
	handles->fds = fds;
	handles->room = room;
	return 0;
}

int handles_add(struct handles *handles, int fd, uint64_t *number)
{
	uint32_t index;
	int r = free_handle(handles, &index);

	if (r < 0) {
		close(fd);
		return r;
	}
	handles->fds[index] = fd;
	*number = index;
	return 0;
}

int handles_get(const struct handles *handles, uint64_t number)
{
	return number < handles->room ? handles->fds[number] : -1;
}

void handles_remove(struct handles *handles, uint64_t number)
{
	int fd = handles_get(handles, number);

	if (fd < 0)
		return;
	close(fd);
	handles->fds[number] = -1;
}

void handles_clear(struct handles *handles)
{
	for (uint32_t i = 0; i < handles->room; i++)
		handles_remove(handles, i);
	free(handles->fds);
	*handles = (struct handles){.fds = NULL};
}
