/*
 * Network cards in the options of `doppel run`.
 *
 *   --net KIND[,mac=ADDRESS][,rate=BYTES][,isolated]    KIND: user, tap=INTERFACE, switch=NAME, none
 *   --publish [tcp:|udp:][ADDRESS:]HOST_PORT:GUEST_PORT
 */
#ifndef DOPPEL_CLI_RUN_NET_H
#define DOPPEL_CLI_RUN_NET_H

#include "machine/machine.h"

/* `text` is cut into pieces, which *out points to. -EINVAL (ERROR_USAGE). */
MUST_USE int run_net_parse(char *text, struct machine_nic *out, struct error *e);
/* Adds a port to the first user network of `nics`, which is made when there is none. -EINVAL, -E2BIG
 * (ERROR_USAGE). */
MUST_USE int run_net_publish(const char *text, struct machine_nic nics[MACHINE_NICS_MAX], unsigned *count,
			     struct error *e);
/* Prints which ports of the host lead to the guest. */
void run_net_tell(const struct machine *machine);

#endif
