/*
 * What every virtio device is (Virtio 1.2, section 2), whichever transport carries it.
 *
 * A `struct virtio` is a `struct device`, which the board places: over MMIO (mmio.c) its registers are on the bus, behind a
 * PCI host bridge (pci.c) they are a function's. Nothing else of it knows which. A kind of device is one `const struct virtio_kind`; its struct
 * starts with a `struct virtio`, and its device_type names the kind's own state besides VIRTIO_STATE_FIELDS.
 *
 * Threads. Register accesses arrive on vCPU threads under the device's lock and only note what is wanted. Queues are
 * served on the device's worker, a thread with an event loop that several devices may share: kicks, back ends and
 * completions all run there, one callback at a time, so a kind needs no lock of its own for its queues.
 * `struct virtio`'s register state (status, features, configuration) is changed under the device's lock only.
 *
 * Reset and pause wait for the worker to finish what is in flight; between pause and resume nothing of the device
 * touches guest memory, and all that the guest handed over is either done and pushed, or not popped, or written down in
 * the kind's own state (`kept`). That wait gives up the device's lock, so the worker may take it.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_VIRTIO_H
#define DOPPEL_DEVICE_VIRTIO_VIRTIO_H

#include <stdatomic.h>

#include "device/device.h"
#include "device/virtio/queue.h"
#include "device/worker.h"

#define VIRTIO_QUEUES_MAX 18 /* net: 8 pairs and control */
#define VIRTIO_CONFIG_MAX 256
#define VIRTIO_BATCH      256 /* buffers that one callback takes before others have their turn */

/* Device status (2.1). */
enum {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

/* Interrupt status (4.1.4.5, 4.2.2). */
enum { VIRTIO_USED_BUFFER = 1, VIRTIO_CONFIG_CHANGED = 2 };

/* Feature bits that are not of one kind (section 6). */
#define VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX     (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1     (UINT64_C(1) << 32)
#define VIRTIO_F_RING_PACKED   (UINT64_C(1) << 34)
#define VIRTIO_F_IN_ORDER      (UINT64_C(1) << 35)
#define VIRTIO_F_RING_RESET    (UINT64_C(1) << 40)

struct virtio;

struct virtio_kind {
	uint32_t id; /* section 5: 1 net, 2 block, ... */
	/* Offered besides the common ones (VERSION_1, INDIRECT_DESC, EVENT_IDX, RING_PACKED, RING_RESET);
	 * VIRTIO_F_IN_ORDER when the kind keeps the order. A constant of the device as it was made; NULL: none. */
	uint64_t (*features)(const struct virtio *virtio);
	/* Writes to the configuration space (already bounds-checked; the bytes are in virtio->config and may be put
	 * right). NULL: it is read-only. Under the device's lock, on a vCPU thread. */
	void (*config_written)(struct virtio *virtio, uint32_t offset, uint32_t size);
	/* On the worker. Service begins: after DRIVER_OK, and again after each quiesce that was not for a reset (pause
	 * and resume, a queue that was reset or added). Queues are ready; each is then looked at. NULL: nothing. */
	void (*start)(struct virtio *virtio);
	/* On the worker. A queue that is ready was kicked, or is to be looked at after start. */
	void (*kicked)(struct virtio *virtio, unsigned queue);
	/* A bit for each queue whose `kicked` may run on the thread of the vCPU that kicks instead, because it takes
	 * microseconds and drivers wait for it in a loop. It never runs while the worker is in another function of this
	 * table; what else the kind does with the queue on the worker, it does between virtio_serve_begin and _end. */
	uint32_t at_once;
	/* On the worker. Calls virtio_quiet(virtio) when nothing is in flight any more (at once, or from a completion
	 * later); nothing new is begun until start. NULL: nothing is ever in flight between callbacks. */
	void (*quiesce)(struct virtio *virtio);
	/* On the worker, after quiesce. Forgets what the driver had set up. NULL: nothing to forget. */
	void (*reset)(struct virtio *virtio);
	/* How much of a queue the kind's state keeps between quiesce and start (virtqueue_in_flight); for a state that
	 * is loaded, too. NULL: nothing. */
	unsigned (*kept)(const struct virtio *virtio, unsigned queue);
};

/* What a transport does for a device. */
struct virtio_transport {
	/* Any thread, without the device's lock. */
	void (*queue_interrupt)(struct virtio *virtio, unsigned queue);
	void (*config_interrupt)(struct virtio *virtio);
	/* These may be NULL. Under the device's lock: forgets what the driver told the transport of that queue, or of all
	 * (VIRTIO_ALL) and of the configuration. */
	void (*reset)(struct virtio *virtio, unsigned queue);
	void (*describe)(const struct virtio *virtio, struct fdt_writer *fdt);
	/* The device goes: when this returns, nothing of the transport will reach it. */
	void (*finish)(struct virtio *virtio);
};
#define VIRTIO_ALL UINT32_MAX

/* Counted by the core and, from `bytes_in` on, by the kind; read for display from any thread. In: to the guest. */
struct virtio_statistics {
	_Atomic uint64_t kicks, interrupts, buffers, resets, bytes_in, bytes_out, errors;
	_Atomic uint64_t packets_in, packets_out, dropped_in, dropped_out; /* of a network card */
};

static inline void virtio_count(_Atomic uint64_t *counter, uint64_t number)
{
	atomic_fetch_add_explicit(counter, number, memory_order_relaxed);
}

struct virtio {
	struct device device;
	const struct virtio_kind *kind;
	const struct virtio_transport *transport;
	struct device *carrier; /* the transport's own device, the board's; NULL over MMIO, which needs none */
	struct irq_line irq;
	struct memory *memory;
	struct worker *worker;
	uint64_t withheld; /* features that are not offered, for tests of drivers; set before the first reset */
	struct virtio_statistics statistics;

	/* Saved, changed under the device's lock. The configuration may come from a hostile saved state: what a kind
	 * relies on, it keeps elsewhere. */
	uint64_t driver_features;
	uint32_t device_features_select, driver_features_select, queue_select;
	uint32_t interrupt_status;
	uint32_t config_generation;
	uint8_t status;
	uint8_t config[VIRTIO_CONFIG_MAX];
	struct virtqueue queues[VIRTIO_QUEUES_MAX];

	uint32_t config_size;
	unsigned queue_count;
	struct virtio_core *core; /* virtio.c */
};

/* The virtio device that `device` is, or NULL. */
static inline struct virtio *virtio_of(struct device *device)
{
	return device->type->is_virtio ? (struct virtio *)device : NULL;
}

/* Entries of a kind's state table, before its own; the kind's struct starts with its `struct virtio`. */
#define VIRTIO_STATE_FIELDS                                                                                \
	STATE_FIELD(struct virtio, driver_features, STATE_U64),                                            \
		STATE_FIELD(struct virtio, device_features_select, STATE_U32),                             \
		STATE_FIELD(struct virtio, driver_features_select, STATE_U32),                             \
		STATE_FIELD(struct virtio, queue_select, STATE_U32),                                       \
		STATE_FIELD(struct virtio, interrupt_status, STATE_U32),                                   \
		STATE_FIELD(struct virtio, config_generation, STATE_U32),                                  \
		STATE_FIELD(struct virtio, status, STATE_U8),                                              \
		STATE_FIELD(struct virtio, config, STATE_U8),                                              \
		STATE_FIELD_EACH(struct virtio, queues, descriptors, STATE_U64),                           \
		STATE_FIELD_EACH(struct virtio, queues, driver, STATE_U64),                                \
		STATE_FIELD_EACH(struct virtio, queues, device, STATE_U64),                                \
		STATE_FIELD_EACH(struct virtio, queues, size, STATE_U16),                                  \
		STATE_FIELD_EACH(struct virtio, queues, ready, STATE_BOOL),                                \
		STATE_FIELD_EACH(struct virtio, queues, broken, STATE_BOOL),                               \
		STATE_FIELD_EACH(struct virtio, queues, next_available, STATE_U16),                        \
		STATE_FIELD_EACH(struct virtio, queues, next_used, STATE_U16),                             \
		STATE_FIELD_EACH(struct virtio, queues, available_wrap, STATE_BOOL),                       \
		STATE_FIELD_EACH(struct virtio, queues, used_wrap, STATE_BOOL),                            \
		STATE_FIELD_EACH(struct virtio, queues, signalled_used, STATE_U16),                        \
		STATE_FIELD_EACH(struct virtio, queues, signalled_valid, STATE_BOOL)
/* The validate of a kind's state, or the beginning of its own: -EINVAL for what no driver can bring about. */
MUST_USE int virtio_validate(const void *shadow, struct error *e);

/* Fills the common part; the kind's constructor calls it first, with its struct zeroed. `sizes`: of each queue at
 * most, powers of two. The device is not yet on a bus: the board places it before the first reset. */
MUST_USE int virtio_init(struct virtio *virtio, const struct device_type *type, const struct virtio_kind *kind,
			 const char *name, struct worker *worker, const uint16_t *sizes, unsigned queue_count,
			 uint32_t config_size, struct error *e);
/* Ends use of the worker and releases the common part; the kind's destroy calls it before it frees its own. No vCPU
 * runs any more. */
void virtio_finish(struct virtio *virtio);

/* All that may be negotiated. */
uint64_t virtio_offered(const struct virtio *virtio);
/* Whether a feature was negotiated. */
static inline bool virtio_has(const struct virtio *virtio, uint64_t feature)
{
	return (virtio->driver_features & feature) != 0;
}

/* On the worker. */
/* The way to serve a queue: takes its next buffer, and does around that what all kinds need. No kicks while the worker
 * is at it; false when there is nothing more (kicks are asked for again), after VIRTIO_BATCH buffers (the queue's turn
 * comes again), when service ends, or when the ring is broken (virtio_broken was called). */
MUST_USE bool virtio_next(struct virtio *virtio, unsigned queue, struct virtqueue_chain *chain);
/* The queue's `kicked` is called again, after others had their turn. Any thread. */
void virtio_look_again(struct virtio *virtio, unsigned queue);
/* On the worker, in functions that are not of the kind's table: keeps vCPUs out of the queues of `at_once` meanwhile. */
void virtio_serve_begin(struct virtio *virtio);
void virtio_serve_end(struct virtio *virtio);
/* Interrupts the driver if it wants that for what was pushed. */
void virtio_notify(struct virtio *virtio, unsigned queue);
/* The driver broke a rule: logs why, once, and sets DEVICE_NEEDS_RESET; no queue is served until it resets. */
void virtio_broken(struct virtio *virtio, const struct error *why);
/* See quiesce. */
void virtio_quiet(struct virtio *virtio);
/* Whether queues may be served: between start and quiesce, and nobody waits for that to end. A loop over a queue asks
 * each time, or a guest that keeps it full would never be reset. */
bool virtio_live(const struct virtio *virtio);

/* Any thread, without the device's lock: replaces part of the configuration and tells the driver (2.5). */
void virtio_config_change(struct virtio *virtio, uint32_t offset, const void *bytes, uint32_t size);

/* For a kind's device_type: these do what device.h says, on behalf of the kind. */
void virtio_device_reset(struct device *device);
void virtio_device_pause(struct device *device);
void virtio_device_resume(struct device *device);
void virtio_device_loaded(struct device *device);
void virtio_device_describe(struct device *device, struct fdt_writer *fdt);
/* For devices that own nothing besides their memory, which begins with struct virtio. */
void virtio_device_destroy(struct device *device);
/* All of them at once, in the initializer of a kind's device_type. */
#define VIRTIO_DEVICE_OPS                                                                                  \
	.is_virtio = true, .reset = virtio_device_reset, .pause = virtio_device_pause,                     \
	.resume = virtio_device_resume, .loaded = virtio_device_loaded, .describe = virtio_device_describe

/* mmio.c. Where the board puts it: base and wire of an MMIO window, the guest's RAM. Before device_attach. */
#define VIRTIO_MMIO_SIZE 0x1000
void virtio_mmio_place(struct virtio *virtio, gpa_t base, struct irq_line irq, struct memory *memory);
extern const struct bus_ops virtio_mmio_ops;

/* pci.c. Puts it into the next slot of a host bridge, behind a function of its own, which becomes `carrier`: a device of the
 * board's too, that is saved before this one and freed after it. -ENOSPC (ERROR_USAGE) when all slots are taken; -ENOMEM, or the host's errno. */
MUST_USE int virtio_pci_place(struct virtio *virtio, struct device *host, struct memory *memory, struct error *e);
extern const struct device_type virtio_pci_type;

/* For transports, on a vCPU's thread with the device's lock held; those that say so give it up for a while. */
/* Waits until no other access is amid a change: the first thing an access does that writes. May give up the lock. */
void virtio_enter(struct virtio *virtio);
/* A write to the device status, with all that follows (2.1, 3.1). 0: reset. May give up the lock. */
void virtio_set_status(struct virtio *virtio, uint8_t value);
void virtio_set_driver_features(struct virtio *virtio, uint32_t word, uint32_t value);
/* Enables a queue, or disables it. The driver reads back whether it is. May give up the lock. */
void virtio_enable_queue(struct virtio *virtio, unsigned queue, bool enabled);
/* Queue reset (2.6.1). May give up the lock. */
void virtio_reset_queue(struct virtio *virtio, unsigned queue);
/* Without the device's lock. The queue may be served before it returns. */
void virtio_kick(struct virtio *virtio, unsigned queue);
/* Whether the device may reach guest memory: it may, until a transport says otherwise, and is then served as if it were
 * paused. May give up the lock. */
void virtio_allow_memory(struct virtio *virtio, bool allowed);

/* transport.c: registers that all transports have. Read: of the 64 bits that `word` counts in 32s. */
uint32_t virtio_read_features(const struct virtio *virtio, uint32_t word);
/* The queue that the driver selected, or NULL when there is no such. */
struct virtqueue *virtio_selected(struct virtio *virtio);
/* What it is to be before it is ready; while it is, nothing changes. A size of more than the queue may have becomes none. */
void virtio_set_queue_size(struct virtio *virtio, uint32_t size);
enum virtio_area { VIRTIO_DESCRIPTORS, VIRTIO_DRIVER_AREA, VIRTIO_DEVICE_AREA };
void virtio_set_queue_area(struct virtio *virtio, enum virtio_area area, bool high, uint32_t half);
/* Configuration space, in parts of 1, 2, 4 or 8 bytes; beyond it, and where it may not be written, there is nothing. */
uint64_t virtio_read_config(const struct virtio *virtio, uint64_t offset, unsigned size);
void virtio_write_config(struct virtio *virtio, uint64_t offset, uint64_t value, unsigned size);

#endif
