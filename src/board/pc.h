/*
 * The `pc` machine: x86-64, with the devices that operating systems expect of a PC without firmware, told by ACPI's
 * hardware-reduced tables (docs/internals/pc.md, pc_map.h).
 *
 * Thread: as board.h.
 */
#ifndef DOPPEL_BOARD_PC_H
#define DOPPEL_BOARD_PC_H

#include "board/board.h"
#include "board/pc_boot.h"
#include "device/pci/pci.h"
#include "x86/platform.h"

struct pc {
	struct board board;
	struct bus ports;
	const struct x86_engine *engine;
	struct x86_platform *platform;
	struct device *power;  /* among the devices: sleep, reset, the power button */
	unsigned virtio_count; /* slots for virtio-mmio in use */
	struct device *pci;    /* among the devices: the host bridge; NULL when virtio devices are on MMIO */
	struct pci_window pci_high;
	struct pc_boot *boot; /* the files, to be laid out again at each reset */
};

/* As board_new, for this kind. At reset CPU 0 starts, the others wait for its messages. */
MUST_USE int board_pc_new(struct board **out, const struct board_config *config, struct error *e);

/* Of a board of this kind. */
static inline struct pc *pc_of(struct board *board)
{
	return (struct pc *)board;
}

/* Writes the ACPI tables for the board as it is into RAM. pc_acpi.c */
MUST_USE int pc_write_acpi(struct pc *pc, struct error *e);

#endif
