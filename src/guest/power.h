/*
 * Switching the guest off.
 *
 * Thread: a process that does nothing else any more.
 */
#ifndef DOPPEL_GUEST_POWER_H
#define DOPPEL_GUEST_POWER_H

#include "base/error.h"
#include "base/types.h"

/* Asks systemd where that runs, and does not return then; elsewhere ends all processes, leaves the file systems clean and
 * switches the machine off. A negative errno when neither is possible. */
MUST_USE int power_off(void);

#ifdef __x86_64__
/* Ends the machine at once with a status, of which the low 16 bits count; returns a negative errno when it may not. */
MUST_USE int power_end(unsigned status);
#endif

#endif
