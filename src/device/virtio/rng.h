/*
 * Virtio entropy device (Virtio 1.2, 5.4): random bytes from the host, at a limited rate so that a guest does not keep
 * the worker busy with it.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_RNG_H
#define DOPPEL_DEVICE_VIRTIO_RNG_H

#include "device/virtio/virtio.h"

#define VIRTIO_RNG_RATE  (1 * MIB) /* bytes a second */
#define VIRTIO_RNG_BURST (64 * KIB)

/* -ENOMEM. Released with device_free. */
MUST_USE int virtio_rng_new(struct virtio **out, const char *name, struct worker *worker, struct error *e);

/* Another rate, in bytes a second; 0: as fast as it goes. Before the driver is there. */
void virtio_rng_set_rate(struct virtio *rng, uint64_t rate);

extern const struct device_type virtio_rng_type;

#endif
