#include "machine/profile.h"

#include <errno.h>
#include <stdlib.h>

#define SPOTS 16384 /* of a hart */
#define TRIES 16    /* places where a spot may lie */

struct hart_profile {
	uint64_t elsewhere;
	struct profile_spot spots[SPOTS];
};

struct profile {
	struct hart_cluster *cluster;
	struct hart_profile *harts; /* one for each of the cluster */
};

static void sample(void *opaque, const struct hart *hart, uint64_t instructions)
{
	struct hart_profile *own = &((struct profile *)opaque)->harts[hart->cpu.id];
	uint64_t pc = hart->pc & ~(uint64_t)(PROFILE_SPOT_BYTES - 1);
	uint64_t hash = (pc ^ hart->priv) * UINT64_C(0x9e3779b97f4a7c15) >> 40;

	for (unsigned i = 0; i < TRIES; i++) {
		struct profile_spot *spot = &own->spots[(hash + i) % SPOTS];

		if (spot->instructions && (spot->pc != pc || spot->priv != hart->priv))
			continue;
		spot->pc = pc;
		spot->priv = hart->priv;
		spot->instructions += instructions;
		return;
	}
	own->elsewhere += instructions;
}

int profile_new(struct profile **out, struct hart_cluster *cluster, struct error *e)
{
	struct profile *profile = calloc(1, sizeof *profile);

	if (profile)
		profile->harts = calloc(cluster->count, sizeof *profile->harts);
	if (!profile || !profile->harts) {
		free(profile);
		return error_errno(e, -ENOMEM, "a profile");
	}
	profile->cluster = cluster;
	cluster->sample_opaque = profile;
	cluster->sample = sample;
	*out = profile;
	return 0;
}

void profile_free(struct profile *profile)
{
	if (!profile)
		return;
	profile->cluster->sample = NULL;
	free(profile->harts);
	free(profile);
}

static int by_place(const void *a, const void *b)
{
	const struct profile_spot *x = a, *y = b;

	if (x->priv != y->priv)
		return x->priv < y->priv ? -1 : 1;
	return x->pc < y->pc ? -1 : x->pc > y->pc;
}

/* Of sorted spots those of one place become one. */
static size_t merge(struct profile_spot *spots, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (kept && by_place(&spots[kept - 1], &spots[i]) == 0)
			spots[kept - 1].instructions += spots[i].instructions;
		else
			spots[kept++] = spots[i];
	}
	return kept;
}

struct profile_spot *profile_spots(const struct profile *profile, size_t *count, uint64_t *elsewhere)
{
	struct profile_spot *all = calloc((size_t)profile->cluster->count * SPOTS, sizeof *all);
	size_t found = 0;

	if (!all)
		return NULL;
	*elsewhere = 0;
	for (unsigned i = 0; i < profile->cluster->count; i++) {
		const struct hart_profile *own = &profile->harts[i];

		*elsewhere += own->elsewhere;
		for (unsigned j = 0; j < SPOTS; j++)
			if (own->spots[j].instructions)
				all[found++] = own->spots[j];
	}
	qsort(all, found, sizeof *all, by_place);
	*count = merge(all, found);
	return all;
}
