/*
 * What an image and a seed add to a machine: the root disk, first of all disks, and the seed's disk, last.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_RUN_IMAGE_H
#define DOPPEL_CLI_RUN_IMAGE_H

#include "cli/arguments.h"
#include "image/image.h"
#include "machine/machine.h"

/* What the configuration points to. RUN_IMAGE_NONE at first. */
struct run_image {
	struct block_options disks[MACHINE_DISKS_MAX];
	struct machine_nic nic;
	int seed; /* memory that holds the seed's disk; -1: none */
	char seed_path[32];
};
#define RUN_IMAGE_NONE                                                                                            \
	(struct run_image)                                                                                        \
	{                                                                                                         \
		.seed = -1                                                                                        \
	}

/* Puts the disk of `image` (NULL: none) before the configuration's disks and a seed, if the options ask for one, behind them.
 * What the guest writes to that disk is dropped in the end, unless it is the machine's `own`, or --keep asks for a copy, which
 * is made now if need be. A machine with such a disk has a user network unless the options tell one. */
MUST_USE int run_image_disks(struct run_image *run_image, const struct image *image, bool own,
			     const struct arguments *arguments, struct machine_config *config, struct error *e);
/* What the seed adds to the kernel's command line; "" for nothing. */
const char *run_image_append(const struct arguments *arguments);
void run_image_finish(struct run_image *run_image);

#endif
