/*
 * The carrier of a virtio device on PCI: what pci*.c know of it (Virtio 1.2, 4.1).
 *
 * Locks, outermost first: the carrier's own (configuration space), the virtio device's (registers, vectors), those of
 * MSI-X and of the wires.
 */
#ifndef DOPPEL_DEVICE_VIRTIO_PCI_H
#define DOPPEL_DEVICE_VIRTIO_PCI_H

#include "device/pci/msix.h"
#include "device/pci/pci.h"
#include "device/virtio/virtio.h"

#define VIRTIO_PCI_NO_VECTOR UINT16_C(0xffff)

/* BAR 0: each part on pages of its own. */
#define VIRTIO_PCI_BAR_SIZE UINT64_C(0x8000)
enum {
	VIRTIO_PCI_COMMON = 0x0000,
	VIRTIO_PCI_ISR = 0x1000,
	VIRTIO_PCI_DEVICE = 0x2000,
	VIRTIO_PCI_TABLE = 0x3000,
	VIRTIO_PCI_PENDING = 0x3800,
	VIRTIO_PCI_NOTIFY = 0x4000, /* a word a queue */
};
#define VIRTIO_PCI_COMMON_SIZE  60
#define VIRTIO_PCI_NOTIFY_WIDTH 4
#define VIRTIO_PCI_PART_SIZE    UINT64_C(0x1000)

/* The way of kicks that an engine brings without a vCPU (bus.h). */
struct virtio_doorbell {
	struct virtio *virtio;
	unsigned queue;
	int eventfd;
	struct loop_watch *watch; /* on the worker */
	bool rings;               /* the engine knows it */
};

struct virtio_pci {
	struct device device;
	struct pci_function function;
	struct virtio *virtio;
	unsigned access; /* offset of the capability for access by configuration space (4.1.4.9) */
	unsigned message_control; /* offset of MSI-X's; 0: not offered */
	struct msix msix;
	const struct bus_doorbells *bells; /* NULL: kicks come by the bus */
	struct virtio_doorbell doorbells[VIRTIO_QUEUES_MAX];
	/* Under the virtio device's lock; saved. */
	uint16_t config_vector, queue_vectors[VIRTIO_QUEUES_MAX];
};

/* pci_registers.c: BAR 0. */
uint64_t virtio_pci_read(struct pci_function *function, unsigned bar, uint64_t offset, unsigned size);
void virtio_pci_write(struct pci_function *function, unsigned bar, uint64_t offset, uint64_t value, unsigned size);

/* pci_doorbell.c. */
/* One for each queue, if the bus has doorbells. Thread: the owner. */
MUST_USE int virtio_pci_make_doorbells(struct virtio_pci *pci, struct error *e);
/* Registers are at another address now (PCI_NOWHERE: at none). Under the carrier's lock. */
void virtio_pci_move_doorbells(struct virtio_pci *pci, uint64_t from, uint64_t to);
/* No kick comes from them any more. Accepts half of them; any number of times. Thread: the owner. */
void virtio_pci_end_doorbells(struct virtio_pci *pci);

static inline struct virtio_pci *virtio_pci_of(struct pci_function *function)
{
	return (struct virtio_pci *)(void *)((char *)function - offsetof(struct virtio_pci, function));
}

#endif
