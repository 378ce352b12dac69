/*
 * The snapshots of a machine: files TAG.snap in one folder, shown once they are whole.
 *
 * Thread: any; several processes may use one folder.
 */
#ifndef DOPPEL_SNAPSHOT_FOLDER_H
#define DOPPEL_SNAPSHOT_FOLDER_H

#include "snapshot/open.h"

#define SNAPSHOT_SUFFIX ".snap"

/* Opens a file and adds it as snapshot_chain_add does; a parent that it needs is not looked for. */
MUST_USE int snapshot_chain_add_file(struct snapshot_chain *chain, const char *path, struct error *e);
/* Opens a file and, while one needs a parent, the file in the same folder that has its id. -ENOENT: there is none. */
MUST_USE int snapshot_chain_load(struct snapshot_chain *chain, const char *path, struct error *e);
/* Calls fn(context, file name, header) for each snapshot of the folder, in no order; `header` is NULL where it is damaged or of a
 * newer version. No folder is as an empty one. */
MUST_USE int snapshot_each(const char *folder,
			   void (*fn)(void *context, const char *file, const struct snapshot_header *header),
			   void *context, struct error *e);

#endif
