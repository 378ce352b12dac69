/*
 * Network cards in the options of `doppel run`.
 *
 *   --net KIND[,mac=ADDRESS][,rate=BYTES][,pps=N][,burst=TIME][,isolated]    KIND: user, tap=INTERFACE, switch=NAME, none
 *   --publish [tcp:|udp:][ADDRESS:]HOST_PORT:GUEST_PORT
 */
#ifndef DOPPEL_CLI_RUN_NET_H
#define DOPPEL_CLI_RUN_NET_H

#include "config/form.h"
#include "machine/machine.h"

/* `values` by enum net_part (run_forms.h), all of them checked; *out points to their texts. */
void run_net_options(const struct option_value *values, struct machine_nic *out);
/* Adds a port to the first user network of `nics`, which is made when there is none. -EINVAL, -E2BIG
 * (ERROR_USAGE). */
MUST_USE int run_net_publish(const char *text, struct machine_nic nics[MACHINE_NICS_MAX], unsigned *count,
			     struct error *e);
/* Prints which ports of the host lead to the guest. */
void run_net_tell(const struct machine *machine);

#endif
