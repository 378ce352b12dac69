/*
 * The common part of virtio devices: status, features, and the life of service on the worker.
 *
 *   STOPPED --wanted--> LIVE --not wanted--> STOPPING --virtio_quiet--> STOPPED
 *
 * Only the worker moves between phases, with the device's lock held for the step itself and without it in the kind's
 * callbacks. Who wants a change sets `wanted`, rings the bell, and waits on `changed`, which gives up the lock.
 */
#include "device/virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define COMMON_FEATURES                                                                                    \
	(VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED |         \
	 VIRTIO_F_RING_RESET)
#define DRIVER_BITS                                                                                        \
	(VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK | VIRTIO_FAILED)

enum phase { STOPPED, LIVE, STOPPING };

struct virtio_core {
	struct bell bell;
	_Atomic uint32_t kicked; /* a bit a queue */
	atomic_bool wanted;      /* changed under the lock */
	/* Under the lock. */
	enum phase phase;
	bool reset_wanted; /* the kind's reset is to be called when it is stopped */
	bool changing;     /* an access waits for the worker: others wait for it */
	bool paused;
	bool kept_out; /* of guest memory, by the transport */
	pthread_cond_t changed;
	/* Held by whoever serves: the worker, or a vCPU that does so at once. Taken before the device's lock. */
	pthread_mutex_t service;
	unsigned taken; /* buffers in this turn */
};

uint64_t virtio_offered(const struct virtio *virtio)
{
	uint64_t own = virtio->kind->features ? virtio->kind->features(virtio) : 0;

	return (COMMON_FEATURES | own) & ~virtio->withheld;
}

bool virtio_live(const struct virtio *virtio)
{
	return virtio->core->phase == LIVE && atomic_load(&virtio->core->wanted);
}

static void lock(struct virtio *virtio)
{
	pthread_mutex_lock(&virtio->device.lock);
}

static void unlock(struct virtio *virtio)
{
	pthread_mutex_unlock(&virtio->device.lock);
}

/* On the worker, with the lock held and nothing in flight; gives the lock up meanwhile. */
static void finish_stop(struct virtio *virtio)
{
	struct virtio_core *core = virtio->core;

	if (core->reset_wanted && virtio->kind->reset) {
		unlock(virtio);
		virtio->kind->reset(virtio);
		lock(virtio);
	}
	core->reset_wanted = false;
	core->phase = STOPPED;
	pthread_cond_broadcast(&core->changed);
}

void virtio_quiet(struct virtio *virtio)
{
	lock(virtio);
	assert(virtio->core->phase == STOPPING);
	finish_stop(virtio);
	unlock(virtio);
}

static void begin(struct virtio *virtio)
{
	uint32_t ready = 0;

	if (virtio->kind->start)
		virtio->kind->start(virtio);
	for (unsigned i = 0; i < virtio->queue_count; i++)
		if (virtio->queues[i].ready)
			ready |= UINT32_C(1) << i;
	atomic_fetch_or(&virtio->core->kicked, ready);
}

static void end(struct virtio *virtio)
{
	if (virtio->kind->quiesce)
		virtio->kind->quiesce(virtio);
	else
		virtio_quiet(virtio);
}

/* One step of the life, if there is one to take. */
static void step(struct virtio *virtio)
{
	struct virtio_core *core = virtio->core;
	bool begins, ends;

	lock(virtio);
	if (core->phase == STOPPED && core->reset_wanted) {
		core->phase = STOPPING;
		finish_stop(virtio);
	}
	begins = core->phase == STOPPED && atomic_load(&core->wanted);
	ends = core->phase == LIVE && !atomic_load(&core->wanted);
	core->phase = begins ? LIVE : ends ? STOPPING : core->phase;
	unlock(virtio);
	if (begins)
		begin(virtio);
	if (ends)
		end(virtio);
}

static void attend_now(struct virtio *virtio)
{
	struct virtio_core *core = virtio->core;
	uint32_t kicked;

	/* While it is live and to stay so there is no step to take; a vCPU that kicks may hold the lock. */
	if (!virtio_live(virtio))
		step(virtio);
	if (!virtio_live(virtio))
		return;
	kicked = atomic_exchange(&core->kicked, 0);
	for (; kicked && virtio_live(virtio); kicked &= kicked - 1) {
		unsigned queue = (unsigned)__builtin_ctz(kicked);

		core->taken = 0;
		if (virtio->queues[queue].ready)
			virtio->kind->kicked(virtio, queue);
	}
}

static void attend(void *arg)
{
	virtio_serve_begin(arg);
	attend_now(arg);
	virtio_serve_end(arg);
}

void virtio_serve_begin(struct virtio *virtio)
{
	pthread_mutex_lock(&virtio->core->service);
}

void virtio_serve_end(struct virtio *virtio)
{
	pthread_mutex_unlock(&virtio->core->service);
}

/* On the thread that kicks; false: it is the worker's to do. */
static bool serve_at_once(struct virtio *virtio, unsigned queue)
{
	struct virtio_core *core = virtio->core;
	bool served;

	if (!(virtio->kind->at_once >> queue & 1) || pthread_mutex_trylock(&core->service))
		return false;
	/* The phase changes under this lock alone, and queues only while it is not LIVE. */
	served = virtio_live(virtio);
	if (served && virtio->queues[queue].ready) {
		core->taken = 0;
		virtio->kind->kicked(virtio, queue);
	}
	pthread_mutex_unlock(&core->service);
	return served;
}

/* With the lock held, which is given up. A worker that has not started yet is whoever makes the machine. */
static void have_attended(struct virtio *virtio)
{
	if (!worker_is_current(virtio->worker)) {
		bell_ring(&virtio->core->bell);
		return;
	}
	unlock(virtio);
	attend(virtio);
	lock(virtio);
}

/* With the lock held, which is given up: returns when the worker does nothing for the device any more. */
static void stop(struct virtio *virtio, bool reset)
{
	struct virtio_core *core = virtio->core;

	atomic_store(&core->wanted, false);
	core->reset_wanted = reset;
	if (core->phase != STOPPED || reset)
		have_attended(virtio);
	while (core->phase != STOPPED || core->reset_wanted)
		pthread_cond_wait(&core->changed, &virtio->device.lock);
}

/* With the lock held: service begins soon, if the driver is ready for it. */
static void go_live(struct virtio *virtio)
{
	struct virtio_core *core = virtio->core;

	if (core->paused || core->kept_out || !(virtio->status & VIRTIO_DRIVER_OK) || (virtio->status & VIRTIO_NEEDS_RESET))
		return;
	atomic_store(&core->wanted, true);
	bell_ring(&core->bell);
}

void virtio_enter(struct virtio *virtio)
{
	while (virtio->core->changing)
		pthread_cond_wait(&virtio->core->changed, &virtio->device.lock);
}

/* Around what the worker must not meet half done. */
static void begin_change(struct virtio *virtio, bool reset)
{
	virtio->core->changing = true;
	stop(virtio, reset);
}

static void end_change(struct virtio *virtio)
{
	virtio->core->changing = false;
	pthread_cond_broadcast(&virtio->core->changed);
	go_live(virtio);
}

static void reset_transport(struct virtio *virtio, unsigned queue)
{
	if (virtio->transport->reset)
		virtio->transport->reset(virtio, queue);
}

static void reset_registers(struct virtio *virtio)
{
	virtio->driver_features = 0;
	virtio->device_features_select = virtio->driver_features_select = virtio->queue_select = 0;
	virtio->interrupt_status = 0;
	virtio->status = 0;
	for (unsigned i = 0; i < virtio->queue_count; i++)
		virtqueue_reset(&virtio->queues[i]);
	atomic_store(&virtio->core->kicked, 0);
	irq_set(&virtio->irq, false);
	reset_transport(virtio, VIRTIO_ALL);
}

/* 3.1.1: after FEATURES_OK was refused the driver finds the bit clear. */
static bool features_acceptable(const struct virtio *virtio)
{
	return (virtio->driver_features & ~virtio_offered(virtio)) == 0 && virtio_has(virtio, VIRTIO_F_VERSION_1);
}

/* Of the bits that the driver adds, those that may follow what is set: each needs the one before it in 3.1.1. */
static uint8_t legal(const struct virtio *virtio, uint8_t added)
{
	static const struct {
		uint8_t bit, needs;
	} order[] = {
		{VIRTIO_DRIVER, VIRTIO_ACKNOWLEDGE},
		{VIRTIO_FEATURES_OK, VIRTIO_DRIVER},
		{VIRTIO_DRIVER_OK, VIRTIO_FEATURES_OK},
	};

	if (!features_acceptable(virtio))
		added &= (uint8_t)~VIRTIO_FEATURES_OK;
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (!((virtio->status | added) & order[i].needs))
			added &= (uint8_t)~order[i].bit;
	return added;
}

void virtio_set_status(struct virtio *virtio, uint8_t value)
{
	uint8_t added;

	if (value == 0) {
		atomic_fetch_add(&virtio->statistics.resets, 1);
		begin_change(virtio, true);
		reset_registers(virtio);
		end_change(virtio);
		return;
	}
	/* 2.1.1: a driver never clears a bit but by a reset. */
	if (virtio->status & DRIVER_BITS & ~value) {
		log_guest(LOG_DEBUG, "virtio", "%s: status 0x%x after 0x%x is ignored", virtio->device.name, value,
			  virtio->status);
		return;
	}
	added = legal(virtio, (uint8_t)(value & DRIVER_BITS & ~virtio->status));
	virtio->status |= added;
	if (added & VIRTIO_DRIVER_OK)
		go_live(virtio);
}

void virtio_set_driver_features(struct virtio *virtio, uint32_t word, uint32_t value)
{
	unsigned shift = 32 * word;

	if (word > 1 || (virtio->status & VIRTIO_FEATURES_OK))
		return;
	virtio->driver_features &= ~(UINT64_C(0xffffffff) << shift);
	virtio->driver_features |= (uint64_t)value << shift;
}

void virtio_enable_queue(struct virtio *virtio, unsigned queue, bool enabled)
{
	struct virtqueue *q = queue < virtio->queue_count ? &virtio->queues[queue] : NULL;
	struct error e;

	if (!q || q->ready == enabled || !(virtio->status & VIRTIO_FEATURES_OK))
		return;
	begin_change(virtio, false);
	if (!enabled)
		q->ready = false;
	else if (virtqueue_start(q, virtio->memory, virtio->driver_features, &e) < 0)
		log_guest(LOG_WARNING, "virtio", "%s: queue %u: %s", virtio->device.name, queue, e.message);
	end_change(virtio);
}

void virtio_reset_queue(struct virtio *virtio, unsigned queue)
{
	if (queue >= virtio->queue_count || !virtio_has(virtio, VIRTIO_F_RING_RESET))
		return;
	begin_change(virtio, false);
	virtqueue_reset(&virtio->queues[queue]);
	reset_transport(virtio, queue);
	end_change(virtio);
}

void virtio_allow_memory(struct virtio *virtio, bool allowed)
{
	virtio_enter(virtio);
	if (virtio->core->kept_out == !allowed)
		return;
	begin_change(virtio, false);
	virtio->core->kept_out = !allowed;
	end_change(virtio);
}

void virtio_look_again(struct virtio *virtio, unsigned queue)
{
	atomic_fetch_or(&virtio->core->kicked, UINT32_C(1) << queue);
	bell_ring(&virtio->core->bell);
}

/* Before service begins a kick says nothing: every queue is looked at then. */
void virtio_kick(struct virtio *virtio, unsigned queue)
{
	if (queue >= virtio->queue_count || !atomic_load(&virtio->core->wanted))
		return;
	atomic_fetch_add_explicit(&virtio->statistics.kicks, 1, memory_order_relaxed);
	if (!serve_at_once(virtio, queue))
		virtio_look_again(virtio, queue);
}

bool virtio_next(struct virtio *virtio, unsigned queue, struct virtqueue_chain *chain)
{
	struct virtqueue *q = &virtio->queues[queue];
	struct virtio_core *core = virtio->core;
	struct error e;

	for (; virtio_live(virtio); core->taken++) {
		int r;

		if (core->taken >= VIRTIO_BATCH) {
			core->taken = 0;
			virtio_look_again(virtio, queue);
			return false;
		}
		r = virtqueue_pop(q, chain, &e);
		if (r < 0) {
			virtio_broken(virtio, &e);
			return false;
		}
		if (r > 0) {
			if (core->taken++ == 0)
				virtqueue_disable_kicks(q);
			atomic_fetch_add_explicit(&virtio->statistics.buffers, 1, memory_order_relaxed);
			return true;
		}
		if (!virtqueue_enable_kicks(q)) {
			core->taken = 0;
			return false;
		}
	}
	return false;
}

void virtio_notify(struct virtio *virtio, unsigned queue)
{
	if (!virtqueue_wants_interrupt(&virtio->queues[queue]))
		return;
	atomic_fetch_add_explicit(&virtio->statistics.interrupts, 1, memory_order_relaxed);
	virtio->transport->queue_interrupt(virtio, queue);
}

void virtio_broken(struct virtio *virtio, const struct error *why)
{
	bool first;

	lock(virtio);
	first = !(virtio->status & VIRTIO_NEEDS_RESET);
	virtio->status |= VIRTIO_NEEDS_RESET;
	atomic_store(&virtio->core->wanted, false);
	unlock(virtio);
	if (!first)
		return;
	atomic_fetch_add_explicit(&virtio->statistics.errors, 1, memory_order_relaxed);
	log_guest(LOG_WARNING, "virtio", "%s: the driver broke a rule and must reset it: %s", virtio->device.name,
		  why->message);
	bell_ring(&virtio->core->bell);
	virtio->transport->config_interrupt(virtio);
}

void virtio_config_change(struct virtio *virtio, uint32_t offset, const void *bytes, uint32_t size)
{
	bool tell;

	assert(offset <= virtio->config_size && size <= virtio->config_size - offset);
	lock(virtio);
	memcpy(virtio->config + offset, bytes, size);
	virtio->config_generation++;
	tell = virtio->status & VIRTIO_DRIVER_OK;
	unlock(virtio);
	if (tell)
		virtio->transport->config_interrupt(virtio);
}

void virtio_device_reset(struct device *device)
{
	struct virtio *virtio = (struct virtio *)device;

	begin_change(virtio, true);
	reset_registers(virtio);
	end_change(virtio);
}

void virtio_device_pause(struct device *device)
{
	struct virtio *virtio = (struct virtio *)device;

	lock(virtio);
	virtio->core->paused = true;
	stop(virtio, false);
	unlock(virtio);
}

void virtio_device_resume(struct device *device)
{
	struct virtio *virtio = (struct virtio *)device;

	lock(virtio);
	virtio->core->paused = false;
	go_live(virtio);
	unlock(virtio);
}

void virtio_device_describe(struct device *device, struct fdt_writer *fdt)
{
	const struct virtio *virtio = (const struct virtio *)device;

	if (virtio->transport->describe)
		virtio->transport->describe(virtio, fdt);
}

void virtio_device_loaded(struct device *device)
{
	struct virtio *virtio = (struct virtio *)device;

	for (unsigned i = 0; i < virtio->queue_count; i++)
		virtqueue_loaded(&virtio->queues[i], virtio->memory, virtio->driver_features);
	irq_set(&virtio->irq, virtio->interrupt_status != 0);
	go_live(virtio);
}

static int refuse(const struct virtio *virtio, const char *what, struct error *e)
{
	return error_set(e, ERROR_FAILED, -EINVAL, "the saved state of %s has %s", virtio->device.name, what);
}

static int validate_queues(const struct virtio *virtio, struct error *e)
{
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		const struct virtqueue *queue = &virtio->queues[i];
		int r;

		if (i >= virtio->queue_count && (queue->ready || queue->size))
			return refuse(virtio, "more queues than the device", e);
		if (queue->ready && !(virtio->status & VIRTIO_FEATURES_OK))
			return refuse(virtio, "a queue in use before features were agreed on", e);
		r = virtqueue_check_saved(queue, virtio->memory, virtio->driver_features,
					  virtio->kind->kept ? virtio->kind->kept(virtio, i) : 0, e);
		if (r < 0)
			return error_prefix(e, r, "the saved state of %s: queue %u", virtio->device.name, i);
	}
	return 0;
}

int virtio_validate(const void *shadow, struct error *e)
{
	const struct virtio *virtio = shadow;
	uint8_t status = virtio->status;

	if (status & ~(DRIVER_BITS | VIRTIO_NEEDS_RESET))
		return refuse(virtio, "an unknown status", e);
	if ((status & VIRTIO_DRIVER_OK) && !(status & VIRTIO_FEATURES_OK))
		return refuse(virtio, "a driver that never agreed on features", e);
	if ((status & VIRTIO_FEATURES_OK) && !features_acceptable(virtio))
		return refuse(virtio, "features that this device does not offer", e);
	if (virtio->interrupt_status > 3)
		return refuse(virtio, "unknown interrupts", e);
	return validate_queues(virtio, e);
}

int virtio_init(struct virtio *virtio, const struct device_type *type, const struct virtio_kind *kind,
		const char *name, struct worker *worker, const uint16_t *sizes, unsigned queue_count,
		uint32_t config_size, struct error *e)
{
	struct virtio_core *core = calloc(1, sizeof *core);

	assert(queue_count <= VIRTIO_QUEUES_MAX && config_size <= VIRTIO_CONFIG_MAX);
	if (!core)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&virtio->device, type, name, gpa(0), VIRTIO_MMIO_SIZE);
	pthread_cond_init(&core->changed, NULL);
	pthread_mutex_init(&core->service, NULL);
	core->bell = (struct bell){.loop = worker_loop(worker), .fn = attend, .arg = virtio};
	virtio->core = core;
	virtio->kind = kind;
	virtio->worker = worker;
	virtio->config_size = config_size;
	virtio->queue_count = queue_count;
	for (unsigned i = 0; i < queue_count; i++)
		virtio->queues[i].size_max = sizes[i];
	return 0;
}

static void nothing(void *arg)
{
	(void)arg;
}

void virtio_finish(struct virtio *virtio)
{
	if (virtio->transport && virtio->transport->finish)
		virtio->transport->finish(virtio);
	lock(virtio);
	stop(virtio, false);
	unlock(virtio);
	/* A bell that was rung before is answered by then. */
	worker_call(virtio->worker, nothing, NULL);
	pthread_cond_destroy(&virtio->core->changed);
	pthread_mutex_destroy(&virtio->core->service);
	free(virtio->core);
	device_finish(&virtio->device);
}

void virtio_device_destroy(struct device *device)
{
	virtio_finish((struct virtio *)device);
	free(device);
}
