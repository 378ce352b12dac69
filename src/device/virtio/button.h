/*
 * A power button: an input device (Virtio 1.2, 5.8) with one key, KEY_POWER.
 *
 * An unmodified Linux finds a keyboard with nothing but that key, and systemd-logind takes it for what it is.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_BUTTON_H
#define DOPPEL_DEVICE_VIRTIO_BUTTON_H

#include "device/virtio/virtio.h"

MUST_USE int virtio_button_new(struct virtio **out, const char *name, struct worker *worker, struct error *e);
/* Any thread but one with the device locked: pressed and released. As on a real machine a guest that is not listening, or
 * has not taken the last one yet, misses it. */
void virtio_button_press(struct virtio *button);

extern const struct device_type virtio_button_type;

#endif
