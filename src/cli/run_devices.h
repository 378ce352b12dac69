/*
 * The devices that the options of `doppel run` ask for, as parts of a machine's configuration.
 */
#ifndef DOPPEL_CLI_RUN_DEVICES_H
#define DOPPEL_CLI_RUN_DEVICES_H

#include "cli/arguments.h"
#include "machine/machine.h"

#define RUN_TEXTS_MAX 32

/* What the configuration points to. Zeroed at first. */
struct run_devices {
	struct machine_nic nics[MACHINE_NICS_MAX];
	struct block_options disks[MACHINE_DISKS_MAX];
	struct machine_share shares[MACHINE_SHARES_MAX];
	struct virtio_channel_options channels[VIRTIO_CHANNELS_MAX];
	char *texts[RUN_TEXTS_MAX]; /* options, split into their parts */
	unsigned text_count;
};

/* Fills the devices' part of `config`, which points into `devices` and the arguments afterwards. -EINVAL (ERROR_USAGE) names the
 * option and what to give instead. */
MUST_USE int run_devices_parse(struct run_devices *devices, const struct arguments *arguments,
			       struct machine_config *config, struct error *e);
/* Also after a parse that failed, or of a zeroed struct. */
void run_devices_finish(struct run_devices *devices);

#endif
