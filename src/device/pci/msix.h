/*
 * MSI-X of one function (PCI Local Bus 3.0, 6.8.2): table, pending bits, and the routes of its vectors (bus/msi.h).
 *
 * A message goes out when the function has it enabled, masks neither the vector nor all of them, and is a bus master. Until
 * then its pending bit waits. Routes are made while messages are enabled.
 *
 * Thread: any; it has a lock of its own, under which it calls the controller.
 */
#ifndef DOPPEL_DEVICE_PCI_MSIX_H
#define DOPPEL_DEVICE_PCI_MSIX_H

#include <pthread.h>

#include "bus/msi.h"

#define MSIX_VECTORS_MAX 32
#define MSIX_ENTRY       16 /* bytes of the table */
#define MSIX_PENDING_BYTES 8
/* Message control, the capability's bytes 2 and 3. */
#define MSIX_ENABLE (1u << 15)
#define MSIX_MASK   (1u << 14)

struct msix_vector {
	uint32_t words[4]; /* address low, address high, data, control: bit 0 masks it */
	struct msi_route *route;
	bool told; /* the route knows the words */
};

struct msix {
	pthread_mutex_t lock;
	const struct msi_controller *controller; /* NULL: it is not offered, and never enabled */
	const char *name;                        /* of the device, for the log */
	unsigned count;
	bool enabled, masked, master;
	/* Saved. */
	struct msix_vector vectors[MSIX_VECTORS_MAX];
	uint32_t pending; /* a bit a vector */
};

/* Entries of the holder's state table. */
#define MSIX_STATE_FIELDS(type_, member)                                                                           \
	STATE_FIELD_EACH(type_, member.vectors, words, STATE_U32), STATE_FIELD(type_, member.pending, STATE_U32)

/* `count`: 1 to MSIX_VECTORS_MAX. */
void msix_init(struct msix *msix, const struct msi_controller *controller, unsigned count, const char *name);
void msix_finish(struct msix *msix);
/* As after power-on: disabled, all masked, nothing pending. */
void msix_reset(struct msix *msix);
/* What configuration space says from now on; also after its fields were loaded. */
void msix_control(struct msix *msix, unsigned message_control, bool master);
bool msix_enabled(struct msix *msix);
/* The device has something to say; a vector that there is not is nothing. */
void msix_fire(struct msix *msix, unsigned vector);

/* The table: `offset` from its start, naturally aligned; whole words of 4 or 8 bytes, else nothing is read or written. */
uint64_t msix_read(struct msix *msix, uint64_t offset, unsigned size);
void msix_write(struct msix *msix, uint64_t offset, uint64_t value, unsigned size);
/* The pending bits, read-only. */
uint64_t msix_read_pending(struct msix *msix, uint64_t offset, unsigned size);
/* Whether saved fields can be. */
MUST_USE bool msix_possible(const struct msix *msix);

#endif
