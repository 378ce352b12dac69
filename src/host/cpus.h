/*
 * The host's processors: how many, and sets of them as Linux writes them: "0-3,8".
 *
 * Thread: any.
 */
#ifndef DOPPEL_HOST_CPUS_H
#define DOPPEL_HOST_CPUS_H

#include <sched.h>

#include "base/error.h"
#include "base/types.h"

/* Those that are online; at least 1. */
unsigned cpus_online(void);
/* Those that the calling thread may use. */
unsigned cpus_usable(void);
/* -EINVAL (ERROR_USAGE): no such list, or a number beyond CPU_SETSIZE. */
MUST_USE int cpus_parse(const char *text, cpu_set_t *out, struct error *e);
/* The processor in place `index` of the set; it has more than that. */
unsigned cpus_nth(const cpu_set_t *set, unsigned index);
/* The process runs on these only, threads that it starts later too. -EINVAL when some of them are not there, or not for
 * this process. No privilege is needed. */
MUST_USE int cpus_stay_on(const cpu_set_t *set, struct error *e);

#endif
