/* What stop and restart share. */
#ifndef DOPPEL_CLI_STOP_H
#define DOPPEL_CLI_STOP_H

#include "cli/named.h"

enum { STOP_FORCE, STOP_TIMEOUT, STOP_ALL, STOP_OPTIONS };
extern const struct option_spec stop_options[STOP_OPTIONS];

/* Returns when all of the machine is gone; `arguments` begin with the options above. */
MUST_USE int stop_and_wait(struct named *named, const struct arguments *arguments, struct error *e);

#endif
