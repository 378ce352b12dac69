/*
 * Where things are on the pc board, in memory and at I/O ports: the only place that knows an address (x86/platform.h has
 * those of the interrupt controllers).
 *
 *   0          640 KiB   RAM; the board's own tables for the start, below PC_RESERVED
 *   PC_RESERVED  1 MiB   reserved: ACPI tables
 *   1 MiB      3 GiB     RAM
 *   3 GiB      4 GiB     the hole: devices
 *   4 GiB                the rest of RAM, then a window of PCI's
 */
#ifndef DOPPEL_BOARD_PC_MAP_H
#define DOPPEL_BOARD_PC_MAP_H

#include "base/types.h"

/* In low RAM, for what runs first; the guest may use it afterwards. */
#define PC_GDT          UINT64_C(0x1000)
#define PC_START_INFO   UINT64_C(0x2000) /* hvm_start_info or multiboot information, and what they point to */
#define PC_ZERO_PAGE    UINT64_C(0x7000)
#define PC_PAGE_TABLES  UINT64_C(0x8000) /* six pages, which map the first 4 GiB to themselves */
#define PC_COMMAND_LINE UINT64_C(0x20000)
#define PC_RESERVED     UINT64_C(0x9fc00)
#define PC_GENERATION   UINT64_C(0xdf000) /* 16 bytes: the machine's generation */
#define PC_ACPI         UINT64_C(0xe0000) /* guests without a pointer look for one from here on */
#define PC_ACPI_SIZE    UINT64_C(0x1fff0)
#define PC_BIOS_ENTRY   UINT64_C(0xffff0) /* f000:fff0, where a PC's firmware begins: restarts the machine */
#define PC_HIGH_MEMORY  MIB

#define PC_HOLE     (3 * GIB)
#define PC_HOLE_END (4 * GIB)

/* In the hole. */
#define PC_PCI_LOW       UINT64_C(0xc0000000) /* where PCI functions have their registers */
#define PC_PCI_LOW_SIZE  UINT64_C(0x20000000)
#define PC_ECAM          UINT64_C(0xe0000000)
#define PC_VIRTIO        UINT64_C(0xf0000000) /* a page for each virtio-mmio device */
#define PC_VIRTIO_STRIDE UINT64_C(0x1000)

/* Above RAM, where the CPUs have so many bits of address. */
#define PC_PCI_HIGH_ALIGN GIB
#define PC_PCI_HIGH_SIZE  (16 * GIB)

enum pc_port {
	PC_PORT_I8042 = 0x60,
	PC_PORT_RTC = 0x70,
	PC_PORT_DEBUG_EXIT = 0xf4,
	PC_PORT_COM1 = 0x3f8,
	PC_PORT_PVPANIC = 0x505,
	PC_PORT_ACPI = 0x600,
	PC_PORT_PCI = 0xcf8,
};

/* Inputs of the IOAPIC. */
enum pc_line {
	PC_LINE_COM1 = 4,
	PC_LINE_RTC = 8,
	PC_LINE_ACPI = 9,
	PC_LINE_PCI = 16, /* four, INTA to INTD */
};

#define PC_VIRTIO_SLOTS 13
/* The input of a virtio-mmio slot: what is left of 24. */
static inline unsigned pc_virtio_line(unsigned slot)
{
	static const unsigned char lines[PC_VIRTIO_SLOTS] = {5, 6, 7, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23};

	return lines[slot];
}

#endif
