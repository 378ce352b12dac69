/*
 * virtio-console (Virtio 1.2, 5.3), in two forms:
 *
 *   a terminal   one port, "hvc0" in a Linux guest, with a size that follows the host's terminal
 *   channels     named ports, each a Unix socket on the host: /dev/virtio-ports/NAME in the guest; a host's program
 *                connects, one at a time, and both sides know when the other is there
 *
 * (They are apart because a size per port is told in an order that differs between guests, and the size in the
 * configuration of a device with one port is not.)
 *
 * What a reader does not take waits with its writer: nothing is dropped and nothing is buffered without bound.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_CONSOLE_H
#define DOPPEL_DEVICE_VIRTIO_CONSOLE_H

#include "device/virtio/virtio.h"

#define VIRTIO_CHANNELS_MAX 8
#define VIRTIO_CONSOLE_INPUT 4096 /* bytes of typed input that wait for the guest */

/* Where the terminal's output goes. On the worker, or one byte of the guest's emergency output on a vCPU's thread, at once
 * perhaps; never blocks. True: it is crowded, the rest waits until virtio_terminal_room was called. */
struct virtio_terminal_sink {
	bool (*write)(void *console, const uint8_t *bytes, size_t length);
	void *console;
};

MUST_USE int virtio_terminal_new(struct virtio **out, const char *name, struct worker *worker,
				 struct virtio_terminal_sink sink, struct error *e);
/* Any thread: input for the guest. Returns the bytes taken; the rest is offered again after the function given to
 * virtio_terminal_on_room was called (on the worker; it must not call the device). */
size_t virtio_terminal_receive(struct virtio *terminal, const uint8_t *bytes, size_t length);
void virtio_terminal_on_room(struct virtio *terminal, void (*room)(void *opaque), void *opaque);
/* Any thread: the sink is crowded no longer. */
void virtio_terminal_room(struct virtio *terminal);
/* Any thread but the worker's with the device locked: the host's terminal has this size now. */
void virtio_terminal_resize(struct virtio *terminal, uint16_t columns, uint16_t rows);

struct virtio_channel_options {
	const char *name; /* in the guest: 1 to 63 letters, digits, dots, dashes, underscores */
	const char *path; /* of the socket; one that a dead monitor left is replaced, one in use is not: -EADDRINUSE */
};
MUST_USE int virtio_channels_new(struct virtio **out, const char *name, struct worker *worker,
				 const struct virtio_channel_options *channels, unsigned count, struct error *e);

extern const struct device_type virtio_terminal_type, virtio_channels_type;

#endif
