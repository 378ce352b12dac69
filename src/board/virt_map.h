/*
 * The memory map and the interrupt numbers of the `virt` machine, one table: the addresses that payloads built for
 * the well-known machine of that name expect.
 */
#ifndef DOPPEL_BOARD_VIRT_MAP_H
#define DOPPEL_BOARD_VIRT_MAP_H

#include "base/types.h"

enum virt_place {
	VIRT_ROM,      /* what a firmware is told, read-only: board/rom.h */
	VIRT_FINISHER,
	VIRT_RTC,
	VIRT_GENERATION,
	VIRT_CLINT,
	VIRT_SSWI,
	VIRT_PCI_IO,   /* this and the others of PCI are there when virtio devices are on it */
	VIRT_PLIC,
	VIRT_UART,
	VIRT_VIRTIO,   /* VIRT_VIRTIO_SLOTS windows of VIRT_VIRTIO_STRIDE bytes, an interrupt each: virt_virtio_irq */
	VIRT_PCI,      /* ECAM, and the first of PCI_WIRES interrupts */
	VIRT_PCI_LOW,  /* memory below 4 GiB */
	VIRT_RAM,      /* to its end */
	VIRT_PLACES,
};

/* PCI's window of 64-bit addresses, above RAM. Linux wonders about one of 4 GiB or more. */
#define VIRT_PCI_HIGH_ALIGN (16 * GIB)
#define VIRT_PCI_HIGH_SIZE  GIB

#define VIRT_VIRTIO_SLOTS  32
#define VIRT_VIRTIO_STRIDE UINT64_C(0x1000)

struct virt_window {
	const char *name; /* of the device, "uart0" */
	uint64_t base;
	uint64_t size;    /* bytes reserved, at least what the device uses; 0: open-ended */
	unsigned irq;     /* source of the PLIC; 0: none */
};

/* The PLIC source of a virtio slot: the first eight as on the well-known machine, 1 to 8; the others, 40 to 63. */
static inline unsigned virt_virtio_irq(unsigned slot)
{
	return slot < 8 ? 1 + slot : 32 + slot;
}

extern const struct virt_window virt_map[VIRT_PLACES];

#endif
