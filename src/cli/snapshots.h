/*
 * The snapshots of a machine with a name: FOLDER/snapshots/TAG.snap, and the layers of its disk that belong to them.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_SNAPSHOTS_H
#define DOPPEL_CLI_SNAPSHOTS_H

#include <limits.h>

#include "cli/named.h"
#include "config/settings.h"
#include "snapshot/folder.h"

/* In the machine's folder. */
#define SNAPSHOTS_FOLDER "snapshots"

/* The path of that folder, which may not be there yet. */
void snapshots_folder(const struct registry *registry, const char *name, char out[PATH_MAX]);
/* The file of TAG; ERROR_USAGE: no tag can be called so. Whether there is one is not looked at. */
MUST_USE int snapshots_path(const struct registry *registry, const char *name, const char *tag, char out[PATH_MAX],
			    struct error *e);
/* Opens TAG and all that it needs: -ENOENT (ERROR_NOT_FOUND) tells what there is instead. */
MUST_USE int snapshots_open(const struct registry *registry, const char *name, const char *tag,
			    struct snapshot_chain *chain, struct error *e);

struct snapshots_request {
	const char *tag;
	const char *parent; /* the tag of the one that it builds on; NULL: it has all */
	bool force;         /* takes the place of one of this name */
	bool compress;      /* packed (snapshot/pack.h); without a parent */
	/* Not NULL: it is hidden, bare, not flushed to disk, and the caller removes it soon. Here comes its descriptor, the caller's:
	 * as long as that is open nobody sweeps the file away. */
	int *passing;
	/* With `passing`, or NULL: the machine is saved next, after this; `facts` have its disks. At most once. */
	void (*asking)(void *context, const char *path, const json_t *facts);
	/* With `passing`, or NULL: the machine runs on, and its memory is being written; the file is whole when snapshots_take returns
	 * 0. At most once; a monitor of an older version does not tell. */
	void (*saving)(void *context, bool early);
	/* With `saving`: the reading end of a pipe for whoever uses the file before it is whole (snapshot/marks.h), which `early` tells
	 * that he can; the caller's, and not needed here any more once `asking` is called. NULL: nobody does. */
	const int *wants;
	void *context;
};

/* The machine, which runs or is paused, is saved while it runs on. `path`: of the file; *result (may be NULL): what the
 * monitor answered, a new reference. */
MUST_USE int snapshots_take(struct named *named, const struct snapshots_request *request, char path[PATH_MAX],
			    json_t **result, struct error *e);

/* Texts of a snapshot's facts, "" where there is none. */
const char *snapshots_fact(const struct snapshot *snapshot, const char *key);
/* What the document among a snapshot's facts says; `name` is the file's. settings_finish is the caller's. The file may come from
 * elsewhere, so it is refused for what any document is. */
MUST_USE int snapshots_settings(const json_t *facts, const char *name, struct settings *out, struct error *e);
/* The layer of the machine's own disk, or NULL. */
const char *snapshots_layer(const json_t *facts);
/* Removes layers of disks that no snapshot and not the disk itself needs any more. */
void snapshots_sweep(const struct registry *registry, const char *name);

#endif
