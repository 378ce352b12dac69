/*
 * How a guest ends or restarts itself: the request that a device (finisher, syscon) or a firmware call (SBI SRST)
 * makes of the machine. The first request wins until the machine has acted on it; the vCPUs are kicked and
 * execute no further guest instruction after they noticed. Thread: any vCPU.
 */
#ifndef DOPPEL_BUS_POWER_H
#define DOPPEL_BUS_POWER_H

#include <stdint.h>

enum power_action {
	POWER_NONE,
	POWER_OFF,   /* the guest is done; `code` is its exit status, 0 to 255 */
	POWER_RESET, /* start again from reset */
	POWER_CRASH, /* the guest says that it failed */
};

struct power_sink {
	void (*request)(void *machine, enum power_action action, unsigned code);
	void *machine;
};

static inline void power_request(const struct power_sink *sink, enum power_action action, unsigned code)
{
	if (sink->request)
		sink->request(sink->machine, action, code);
}

#endif
