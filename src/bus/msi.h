/*
 * Message-signalled interrupts: the way of one vector of a device to an interrupt controller that takes messages.
 *
 * A board whose CPUs' engine has such a controller says so with a `struct msi_controller`; without one, devices use wires
 * (irq.h). A route belongs to one vector: it is made when the driver enables the device's messages, told each time the
 * driver writes the vector, and fired by the device.
 */
#ifndef DOPPEL_BUS_MSI_H
#define DOPPEL_BUS_MSI_H

#include "base/error.h"
#include "base/types.h"

struct msi_message {
	uint64_t address;
	uint32_t data;
};

struct msi_route; /* the controller's own */

struct msi_controller {
	/* Any thread, under the device's lock: a vCPU's, behind the walls. -ENOSPC, -ENOMEM, or the host's errno. */
	int (*route_new)(void *controller, struct msi_route **out, struct error *e);
	void (*route_free)(void *controller, struct msi_route *route);
	/* What to deliver from now on. It is the guest's word: a message that leads nowhere is dropped when fired. */
	void (*route_set)(void *controller, struct msi_route *route, struct msi_message message);
	/* Any thread; with the walls of any (wall/self.h). */
	void (*route_fire)(void *controller, struct msi_route *route);
	void *controller;
};

#endif
