/*
 * Making a machine that has a name: what the verbs create and run share.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_CREATE_H
#define DOPPEL_CLI_CREATE_H

#include "cli/machine_document.h"
#include "registry/registry.h"

struct creation {
	const struct settings *settings;   /* its document's */
	const struct arguments *arguments; /* of the verb run: the same settings */
	const char *name;                  /* NULL: its image's, with a number that makes it new */
	bool brief;                        /* it is removed in the end: nothing is obtained or made for it now */
	const char *arriving;              /* the token of the move that brings it; NULL: none */
};

/* Makes the machine, its document and its disk; and the first line of its history. *name is what it is called. -EEXIST
 * (ERROR_STATE) when there is one of that name. */
MUST_USE int create_machine(const struct creation *creation, struct registry *registry, char name[REGISTRY_NAME_SIZE],
			    struct error *e);

/* A machine that could not be finished goes again; that it does not is said. */
void create_undo(struct registry *registry, const char *name);

#endif
