/*
 * What every virtio device is (Virtio 1.2, section 2), whichever transport carries it.
 *
 * A `struct virtio` is a `struct device`: its registers are those of virtio over MMIO (mmio.h) when the board puts it on
 * the bus; another transport may carry it instead. A kind of device is one `const struct virtio_kind`; its struct starts
 * with a `struct virtio`, and its device_type names the kind's own state besides VIRTIO_STATE_FIELDS.
 *
 * Threads. Register accesses arrive on vCPU threads under the device's lock and only note what is wanted. Queues are served on
 * the device's worker, a thread with an event loop that several devices may share: kicks, back ends and completions
 * all run there, one callback at a time, so a kind needs no lock of its own for its queues. `struct virtio`'s
 * register state (status, features, configuration) is changed under the device's lock only.
 *
 * Reset and pause wait for the worker to finish what is in flight; between pause and resume nothing of the device
 * touches guest memory, and all that the guest handed over is either done and pushed, or not popped.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_VIRTIO_H
#define DOPPEL_DEVICE_VIRTIO_VIRTIO_H

#include "device/device.h"
#include "device/virtio/queue.h"
#include "device/worker.h"

#define VIRTIO_QUEUES_MAX 18 /* net: 8 pairs and control */
#define VIRTIO_CONFIG_MAX 256

/* Device status (2.1). */
enum {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

/* Feature bits that are not of one kind (section 6). */
#define VIRTIO_F_INDIRECT_DESC  (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX      (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1      (UINT64_C(1) << 32)
#define VIRTIO_F_RING_PACKED    (UINT64_C(1) << 34)
#define VIRTIO_F_IN_ORDER       (UINT64_C(1) << 35)
#define VIRTIO_F_RING_RESET     (UINT64_C(1) << 40)

struct virtio;

struct virtio_kind {
	uint32_t id; /* section 5: 1 net, 2 block, ... */
	/* Offered besides the common ones (VERSION_1, INDIRECT_DESC, EVENT_IDX, RING_PACKED, RING_RESET); VIRTIO_F_IN_ORDER when
	 * the kind keeps the order. */
	uint64_t (*features)(const struct virtio *virtio);
	/* Writes to the configuration space (already bounds-checked; the bytes are in virtio->config and may be
	 * put right). NULL: it is read-only. Under the device's lock, on a vCPU thread. */
	void (*config_written)(struct virtio *virtio, uint32_t offset, uint32_t size);
	/* On the worker. The driver said DRIVER_OK: queues are ready. NULL: nothing to do. */
	void (*start)(struct virtio *virtio);
	/* On the worker. A queue was kicked, or is to be looked at after start and resume. */
	void (*kicked)(struct virtio *virtio, unsigned queue);
	/* On the worker. Calls virtio_quiet(virtio) when nothing is in flight any more (at once, or from a completion
	 * later); nothing new is begun until resume or start. NULL: nothing is ever in flight between callbacks. */
	void (*quiesce)(struct virtio *virtio);
	/* On the worker, after quiesce. Forgets what the driver had set up. NULL: nothing to forget. */
	void (*reset)(struct virtio *virtio);
};

/* What a transport does for a device. Any thread. */
struct virtio_transport {
	void (*queue_interrupt)(struct virtio *virtio, unsigned queue);
	void (*config_interrupt)(struct virtio *virtio);
};

/* Counted by the core; read for display from any thread. */
struct virtio_statistics {
	_Atomic uint64_t kicks, interrupts, buffers, bytes_in, bytes_out, errors, resets;
};

struct virtio {
	struct device device;
	const struct virtio_kind *kind;
	const struct virtio_transport *transport;
	struct irq_line irq; /* of the MMIO transport */
	struct memory *memory;
	struct worker *worker;
	struct virtio_statistics statistics;

	/* Saved, changed under the device's lock. */
	uint64_t driver_features;
	uint32_t device_features_select, driver_features_select, queue_select;
	uint32_t interrupt_status; /* 4.2.2: 1 used buffer, 2 configuration change */
	uint32_t config_generation;
	uint8_t status;
	uint8_t config[VIRTIO_CONFIG_MAX];
	uint32_t config_size;
	unsigned queue_count;
	struct virtqueue queues[VIRTIO_QUEUES_MAX];

	/* The core's own, not saved: virtio.c. */
	struct virtio_core *core;
};

/* Fills the common part; the kind's constructor calls it first. `sizes`: of each queue at most. The device is not yet on a bus:
 * the board sets base, irq and memory (virtio_mmio_place) before the first reset. */
MUST_USE int virtio_init(struct virtio *virtio, const struct device_type *type, const struct virtio_kind *kind,
			 const char *name, struct worker *worker, const uint16_t *sizes, unsigned queue_count,
			 uint32_t config_size, struct error *e);
/* Ends use of the worker and releases the common part; the kind's destroy calls it before it frees its own. */
void virtio_finish(struct virtio *virtio);

/* Whether a feature was negotiated. */
static inline bool virtio_has(const struct virtio *virtio, uint64_t feature)
{
	return (virtio->driver_features & feature) != 0;
}

/* On the worker. */
/* Interrupts the driver if it wants that for what was pushed. */
void virtio_notify(struct virtio *virtio, unsigned queue);
/* The driver broke a rule: logs why, once, and sets DEVICE_NEEDS_RESET; no queue is served until it resets. */
void virtio_broken(struct virtio *virtio, const struct error *why);
/* See quiesce. */
void virtio_quiet(struct virtio *virtio);
/* Whether queues may be served: between start and quiesce. */
bool virtio_live(const struct virtio *virtio);

/* Any thread, without the device's lock: replaces part of the configuration and tells the driver (2.5). */
void virtio_config_change(struct virtio *virtio, uint32_t offset, const void *bytes, uint32_t size);

/* For a kind's device_type: these do what device.h says, on behalf of the kind. */
void virtio_device_reset(struct device *device);
void virtio_device_pause(struct device *device);
void virtio_device_resume(struct device *device);
void virtio_device_loaded(struct device *device);
void virtio_device_describe(struct device *device, struct fdt_writer *fdt);
extern const struct bus_ops virtio_mmio_ops;

/* mmio.c. Where the board puts it: base and wire of an MMIO window, the guest's RAM. Before device_attach. */
void virtio_mmio_place(struct virtio *virtio, gpa_t base, struct irq_line irq, struct memory *memory);

#endif
