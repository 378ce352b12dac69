/*
 * What `doppel run --profile` writes: what the engine did, and the places where the guest spent most instructions.
 */
#ifndef DOPPEL_CLI_RUN_PROFILE_H
#define DOPPEL_CLI_RUN_PROFILE_H

#include "machine/machine.h"

/* To the file `path`, or standard error for "-". `symbols`: a file for cli/symbols.h; NULL: none. The
 * machine does not run, and was made with `profile`. */
MUST_USE int run_profile_write(struct machine *machine, const char *path, const char *symbols, double seconds,
			       struct error *e);

#endif
