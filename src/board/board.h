/*
 * A board: a machine's memory map, its devices and their wires, how it boots.
 *
 * The board owns RAM, bus, harts, platform devices and the boot payload; the machine (machine/) adds threads,
 * consoles and lifecycle. A board is built once, may be reset any number of times, and is saved and loaded as a
 * whole.
 *
 * Thread: the owner, while no vCPU runs, unless said otherwise.
 */
#ifndef DOPPEL_BOARD_BOARD_H
#define DOPPEL_BOARD_BOARD_H

#include "base/clock.h"
#include "bus/bus.h"
#include "device/device.h"
#include "device/devices.h"
#include "device/virtio/virtio.h"
#include "memory/memory.h"
#include "riscv/hart.h"
#include "riscv/sbi.h"

#define BOARD_DEVICES_MAX 48
#define BOARD_MEMORY_MIN  (16 * MIB)

struct board_config {
	uint64_t memory_bytes; /* a multiple of 4096, at least BOARD_MEMORY_MIN */
	unsigned cpus;         /* 1 to RISCV_HARTS_MAX */
	const char *kernel;    /* path, or NULL (then firmware is needed) */
	const char *initrd;    /* path, or NULL */
	const char *append;    /* kernel command line, or NULL for none */
	const char *firmware;  /* path, or NULL: the monitor answers SBI itself */
	struct serial_sink serial;
	struct power_sink power;
};

struct board {
	struct memory memory;
	struct bus bus;
	struct clock clock;
	struct hart_cluster cluster; /* cluster.harts are the board's */
	struct sbi *sbi;             /* NULL with firmware */
	struct boot_rom *rom;        /* with firmware: what it is told; NULL without */
	struct serial_sink serial;   /* the UART's, which the SBI console shares */
	struct device *devices[BOARD_DEVICES_MAX];
	unsigned device_count;
	struct device *uart, *plic; /* among devices: the console, and where wires end */
	unsigned virtio_count;      /* slots of the memory map in use */
	struct boot_payload *boot; /* the files, to be laid out again at each reset */
};

/* Builds the `virt` machine: allocates RAM, creates devices and harts, reads and checks the boot files. Nothing is
 * left behind on failure. The board is ready for board_reset. */
MUST_USE int board_virt_new(struct board **out, const struct board_config *config, struct error *e);
/* Puts a virtio device into the next slot of the memory map: RAM, wire, bus. Before the first reset. The device is the
 * board's from now on, also on failure: -ENOSPC when all VIRT_VIRTIO_SLOTS are in use. */
MUST_USE int board_add_virtio(struct board *board, struct virtio *virtio, struct error *e);
/* Accepts NULL. */
void board_free(struct board *board);

/* Puts RAM payload, device tree, devices and harts as after power-on; the clock is set to 0 and stopped. RAM outside
 * the payload is zeroed. Hart 0 starts, the others wait (SBI HSM), or all start in M-mode with firmware. */
MUST_USE int board_reset(struct board *board, struct error *e);

/* Appends sections for clock, harts, devices and RAM (zero pages left out): docs/internals/board.md. */
void board_save(struct board *board, struct state_writer *w);
/* Loads what board_save wrote into a board of the same configuration; on failure the board must be reset or freed. The
 * clock is left stopped. */
MUST_USE int board_load(struct board *board, struct state_reader *r, struct error *e);

#endif
