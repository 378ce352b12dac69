/*
 * What every emulated device is.
 *
 * A device is one `const struct device_type`; the table in device/types.c lists them all. An instance starts
 * with a `struct device`. The board creates devices, wires their interrupts, puts them on the bus and asks them
 * to describe themselves to the guest.
 *
 * Thread: create, destroy, reset, pause and resume come from the machine's owner thread while no vCPU runs.
 * Register access comes from any vCPU thread, under `lock` (the bus takes it); a back end's thread takes `lock`
 * before it touches the device. Driving a wire takes the interrupt controller's lock under the device's own, so
 * a controller never calls back into a device.
 */
#ifndef DOPPEL_DEVICE_DEVICE_H
#define DOPPEL_DEVICE_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "base/types.h"
#include "bus/bus.h"
#include "bus/irq.h"
#include "state/state.h"

struct device_type;
struct fdt_writer; /* device/describe.h: how a device writes its node into a device tree */

struct device {
	const struct device_type *type;
	char name[32]; /* unique in the machine: "uart0"; the instance name of its state */
	gpa_t base;    /* first register, 0 when it has none */
	uint64_t size; /* of the register window */
	const struct bus_ops *ops; /* of that window: its type's, unless it was placed otherwise; NULL: not on the bus */
	pthread_mutex_t lock;
	_Atomic uint64_t reads, writes; /* accesses that came another way than by a region of the bus, for display */
};

/* A clock's interrupts, which need a timer of the machine's. Any thread. */
struct device_alarm {
	/* Host CLOCK_REALTIME nanoseconds at which poll is due, or UINT64_MAX while nothing is awaited. */
	uint64_t (*next)(struct device *device);
	/* Raises what is due; early, late or needless calls do no harm. */
	void (*poll)(struct device *device);
	/* `changed` is called, with the device's lock held, when `next` may have changed: on a vCPU thread, or the owner's at
	 * reset and load. It must not call the device; let it wake the event loop, which asks. */
	void (*on_change)(struct device *device, void (*changed)(void *opaque), void *opaque);
};

struct device_type {
	const char *name; /* "uart16550" */
	const char *help; /* one line for the manual */
	const struct state_descriptor *state; /* NULL: it has none to save */
	const struct bus_ops *ops;            /* NULL: not on the bus, or its transport's */
	const struct device_alarm *alarm;     /* NULL: it is no clock */
	bool is_virtio;                       /* it starts with a struct virtio (virtio/virtio.h: virtio_of) */

	/* All below but destroy are optional (NULL). Reset and loaded are called with the device's lock held. */
	void (*reset)(struct device *device);  /* to its state after power-on; wires lowered */
	void (*pause)(struct device *device);  /* returns when no back end touches guest memory any more */
	void (*resume)(struct device *device);
	void (*loaded)(struct device *device); /* state was loaded: drive wires, arm timers, from it */
	void (*describe)(struct device *device, struct fdt_writer *fdt);
	void (*destroy)(struct device *device); /* frees all, device_finish included; the last call */
};

/* Every type there is, ascending by name. */
extern const struct device_type *const device_types[];
extern const size_t device_type_count;

/* Fills the common part; the type's own constructor calls it first. Name is cut to 31 bytes. */
void device_init(struct device *device, const struct device_type *type, const char *name, gpa_t base,
		 uint64_t size);
/* Releases the common part; the type's destroy calls it. */
void device_finish(struct device *device);
/* The destroy of a type that owns nothing but the memory it lives in. */
void device_destroy_plain(struct device *device);

/* Puts the device's register window on the bus, under its lock; 0 without an effect for one that has none. */
MUST_USE int device_attach(struct device *device, struct bus *bus, struct error *e);
void device_reset(struct device *device);
void device_pause(struct device *device);
void device_resume(struct device *device);
/* Writes the device's node, when it has one, into the tree's current node ("/soc"). */
void device_describe(struct device *device, struct fdt_writer *fdt);
/* Calls the type's destroy; accepts NULL. */
void device_free(struct device *device);
/* Appends the device's section; nothing for a type without state. */
void device_save(struct device *device, struct state_writer *w);
/* As state_load, then the type's `loaded`. -EBADMSG also for a section of another device. */
MUST_USE int device_load(struct device *device, const struct state_section *section, struct error *e);

#endif
