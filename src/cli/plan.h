/*
 * From the options of `doppel run`, or of a machine's document, to a machine's configuration.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_PLAN_H
#define DOPPEL_CLI_PLAN_H

#include "cli/arguments.h"
#include "cli/run_devices.h"
#include "cli/run_image.h"
#include "machine/machine.h"

/* All strings but `append` belong to the arguments, the image or the parts below. */
struct plan {
	const struct arguments *arguments;
	struct image image;
	bool has_image;
	enum engine_arch arch;
	char *append;
	struct run_devices devices;
	struct run_image disks;
	struct machine_config config;
};

/* For plan_finish where plan_make may not have been called. */
#define PLAN_NONE                                                                                                 \
	(struct plan)                                                                                             \
	{                                                                                                         \
		.disks = RUN_IMAGE_NONE                                                                           \
	}

/* Checks what can be found wrong without obtaining or making anything. `arguments` are of the verb run. */
MUST_USE int plan_check(const struct arguments *arguments, struct error *e);
/* Checks everything that can be found wrong without starting anything, pulls an image that is not there yet, and makes
 * the disks that it needs. `folder` is that of a machine with a name, which has its image there (machine_image.h); NULL: what
 * the guest writes to an image's disk is dropped. Both must outlive the plan. plan_finish is due in any case. */
MUST_USE int plan_make(struct plan *plan, const struct arguments *arguments, const char *folder, struct error *e);
void plan_finish(struct plan *plan);

#endif
