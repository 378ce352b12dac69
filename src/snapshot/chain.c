/* A snapshot, its parent, and so on. */
#include <errno.h>
#include <string.h>

#include "snapshot/open.h"

static int check_parent(const struct snapshot *child, const struct snapshot *parent, struct error *e)
{
	const struct snapshot_header *a = &child->header, *b = &parent->header;

	if (memcmp(a->parent, b->id, sizeof a->parent) != 0)
		return error_set(e, ERROR_FAILED, -EBADMSG, "%s is not the parent of %s", parent->name, child->name);
	if (a->region_count == b->region_count &&
	    memcmp(a->regions, b->regions, a->region_count * sizeof a->regions[0]) == 0)
		return 0;
	return error_set(e, ERROR_FAILED, -EBADMSG, "%s and its parent %s are of machines with different memory", child->name,
			 parent->name);
}

int snapshot_chain_add(struct snapshot_chain *chain, struct snapshot *snapshot, struct error *e)
{
	int r = 0;

	if (chain->count == SNAPSHOT_CHAIN_MAX)
		r = error_set(e, ERROR_STATE, -ELOOP, "%s: the chain of snapshots has more than %d; doppel snapshot collapse",
			      snapshot->name, SNAPSHOT_CHAIN_MAX);
	else if (chain->count > 0)
		r = check_parent(chain->files[chain->count - 1], snapshot, e);
	if (r < 0)
		snapshot_close(snapshot);
	else
		chain->files[chain->count++] = snapshot;
	return r;
}

bool snapshot_chain_open_ended(const struct snapshot_chain *chain)
{
	return chain->count > 0 && snapshot_has_parent(&chain->files[chain->count - 1]->header);
}

void snapshot_chain_finish(struct snapshot_chain *chain)
{
	for (unsigned i = 0; i < chain->count; i++)
		snapshot_close(chain->files[i]);
	*chain = (struct snapshot_chain){.count = 0};
}

int snapshot_chain_keep_rows(const struct snapshot_chain *chain, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < chain->count; i++)
		r = snapshot_keep_rows(chain->files[i], e);
	return r;
}

int snapshot_chain_verify(const struct snapshot_chain *chain, snapshot_progress_fn *progress, void *context, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < chain->count; i++)
		r = snapshot_verify(chain->files[i], progress, context, e);
	return r;
}

struct snapshot *snapshot_chain_owner(const struct snapshot_chain *chain, uint64_t row)
{
	unsigned i = 0;

	while (i + 1 < chain->count && snapshot_kind(chain->files[i], row) == SNAPSHOT_PAGE_PARENT)
		i++;
	return chain->files[i];
}
