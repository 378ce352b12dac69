/*
 * From a chain of snapshot files into a machine.
 *
 * Lazily: the memory of a plain file is mapped, private, and read when the guest touches it; only pages of newer files of the
 * chain are read at once. Eagerly, and always from a packed file: all of it is read and compared with its hashes first.
 *
 * Of a file that is being written all but its memory is there, which comes by a filling (snapshot/filling.h).
 *
 * Thread: the machine's owner, and no vCPU runs.
 */
#ifndef DOPPEL_SNAPSHOT_LOAD_H
#define DOPPEL_SNAPSHOT_LOAD_H

#include "machine/machine.h"
#include "snapshot/filling.h"

struct snapshot_load_options {
	bool eager;
	snapshot_progress_fn *progress; /* of what is read at once; or NULL */
	void *context;
	/* Of one that is being written (snapshot_open_early): where its memory comes from, and what fills it, which is to be ended before
	 * the machine is freed. */
	const struct filling_source *source;
	struct filling **filling;
};

/* Whether all of it is mapped and nothing read, unless that is asked for. */
bool snapshot_is_mapped(const struct snapshot_chain *chain);
/* Into a created machine of the same configuration, which is then paused; on failure it can only be freed. Files that are mapped may
 * be closed and unlinked afterwards, but not cut or written to. */
MUST_USE int snapshot_load(const struct snapshot_chain *chain, struct machine *machine,
			   const struct snapshot_load_options *options, struct error *e);

#endif
