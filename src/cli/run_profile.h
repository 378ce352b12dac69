/*
 * What `doppel run --profile` writes: what the engine did, and the places where the guest spent most instructions. Files
 * are opened before the machine starts, as a monitor behind its walls opens none.
 */
#ifndef DOPPEL_CLI_RUN_PROFILE_H
#define DOPPEL_CLI_RUN_PROFILE_H

#include "cli/arguments.h"
#include "cli/symbols.h"
#include "machine/machine.h"

struct run_profile {
	int fd;                  /* -1: none */
	struct symbols *symbols; /* or NULL */
};
#define RUN_PROFILE_NONE ((struct run_profile){.fd = -1})

/* By --profile and --symbols of the verb run: nothing when there is no --profile. *profile is RUN_PROFILE_NONE, and
 * run_profile_finish is due in any case. */
MUST_USE int run_profile_open(struct run_profile *profile, const struct arguments *arguments, struct error *e);
/* Stops the machine, and writes what was opened, if anything. */
MUST_USE int run_profile_write(const struct run_profile *profile, struct machine *machine, uint64_t started_ns,
			       struct error *e);
void run_profile_finish(struct run_profile *profile);

#endif
