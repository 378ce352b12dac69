/*
 * A board: a machine's memory map, its devices and their wires, how it boots.
 *
 * The board owns RAM, bus, cpus, platform devices and the boot payload; the machine (machine/) adds threads,
 * consoles and lifecycle. A board is built once, may be reset any number of times, and is saved and loaded as a
 * whole. What all boards share is here; each kind has a header of its own (virt.h, pc.h), its struct starts with a
 * `struct board`, and one table says what it does its own way.
 *
 * Thread: the owner, while no vCPU runs, unless said otherwise.
 */
#ifndef DOPPEL_BOARD_BOARD_H
#define DOPPEL_BOARD_BOARD_H

#include "base/clock.h"
#include "bus/bus.h"
#include "bus/cpu.h"
#include "device/device.h"
#include "device/devices.h"
#include "device/virtio/virtio.h"
#include "engine/engine.h"
#include "memory/memory.h"
#include "riscv/hart.h"

#define BOARD_DEVICES_MAX 80 /* 31 virtio devices on PCI are 62 */
#define BOARD_MEMORY_MIN  (16 * MIB)

/* What carries virtio devices. */
enum board_transport {
	BOARD_OWN_TRANSPORT, /* what the kind of board prefers */
	BOARD_MMIO,
	BOARD_PCI,
};

struct board_config {
	const struct engine *engine; /* that will run it; a board of riscv64 takes NULL */
	uint64_t memory_bytes; /* a multiple of 4096, at least BOARD_MEMORY_MIN */
	bool huge_pages;       /* the host's reserved ones (memory/huge.c); then a multiple of HUGE_PAGE */
	unsigned cpus;         /* 1 to the board's cpus_max */
	const char *cpu_model; /* as x86_model_parse takes; NULL: host. A board of riscv64 has none */
	const char *kernel;    /* path, or NULL (then firmware is needed) */
	const char *initrd;    /* path, or NULL */
	const char *append;    /* kernel command line, or NULL for none */
	const char *firmware;  /* path, or NULL: the monitor answers SBI itself */
	enum board_transport transport;
	bool loads; /* its memory and state are loaded before it runs: where it can, it reads its boot files at a reset only */
	struct serial_sink serial;
	struct power_sink power;
};

struct board;

struct board_type {
	const char *name; /* "virt" */
	enum engine_arch arch;
	unsigned cpus_max;
	/* RAM is zero: lays out what the guest boots from. */
	int (*lay_out)(struct board *board, struct error *e);
	/* Every cpu as after power-on, to begin with what was laid out. The engine's host may refuse it. */
	int (*start_cpus)(struct board *board, struct error *e);
	/* A place for one more virtio device, by virtio_mmio_place or virtio_pci_place: -ENOSPC (ERROR_USAGE) when there is
	 * none. */
	int (*place_virtio)(struct board *board, struct virtio *virtio, struct error *e);
	/* These two for boards with `chips`: brings them up to date; takes what was loaded into them. Else NULL. */
	int (*store_chips)(struct board *board, struct error *e);
	int (*chips_loaded)(struct board *board, struct error *e);
	/* Any thread, while it runs: the power button. NULL: the board has none of its own. */
	void (*press_power)(struct board *board);
	/* The owner, while nothing runs: the guest is told that its machine was copied or taken back. */
	void (*renew)(struct board *board, const uint8_t id[VMGENID_BYTES]);
	/* Releases what the kind's struct owns, cpus included, when all devices are gone. */
	void (*finish)(struct board *board);
};

struct board {
	const struct board_type *type;
	struct memory memory;
	struct bus bus;
	struct clock clock;
	struct cpu *cpus[CPUS_MAX];
	unsigned cpu_count;
	struct hart_cluster *harts;  /* the cpus, on a board of riscv64; else NULL */
	struct serial_sink serial;   /* the UART's, which a firmware's console shares */
	struct device *devices[BOARD_DEVICES_MAX];
	unsigned device_count;
	struct device *uart;         /* among devices: the console */
	/* What all cpus share and the engine keeps: a section of the board's. NULL: nothing. */
	const struct state_descriptor *chips_state;
	void *chips;
	bool firmware;               /* the guest's own runs first */
	bool bare;                   /* the next reset leaves RAM empty, for what is loaded then */
};

/* Builds a machine for the engine's architecture: allocates RAM, creates devices and cpus, reads and checks the boot
 * files. Nothing is left behind on failure. The board is ready for board_reset. */
MUST_USE int board_new(struct board **out, const struct board_config *config, struct error *e);
/* Puts a virtio device into the board's next place for one. Before the first reset. The device is the board's from now
 * on, also on failure: -ENOSPC when there is no place left. */
MUST_USE int board_add_virtio(struct board *board, struct virtio *virtio, struct error *e);
/* Accepts NULL. */
void board_free(struct board *board);

/* Puts RAM payload, tables, devices and cpus as after power-on; the clock is set to 0 and stopped. RAM outside
 * the payload is zeroed. The first one of a board that `loads` may leave RAM empty. */
MUST_USE int board_reset(struct board *board, struct error *e);

/* Before board_save: what an engine keeps elsewhere, cpus aside, is brought up to date. */
MUST_USE int board_store(struct board *board, struct error *e);
/* Appends sections for clock, cpus, devices and RAM (zero pages left out): docs/internals/board.md. The cpus are up to
 * date (engine.h: store_state). */
void board_save(struct board *board, struct state_writer *w);
/* Loads what board_save wrote into a board of the same configuration; on failure the board must be reset or freed. The
 * clock is left stopped. */
MUST_USE int board_load(struct board *board, struct state_reader *r, struct error *e);
/* The same without RAM, for those who carry that by themselves. load: RAM is in place before, as far as devices look at
 * it: their rings. */
void board_save_state(struct board *board, struct state_writer *w);
MUST_USE int board_load_state(struct board *board, struct state_reader *r, struct error *e);

/* For kinds of boards: */
/* RAM, bus, clock and console of a board of `size` bytes, zeroed beyond that; NULL without memory. */
struct board *board_begin(const struct board_type *type, size_t size, const struct board_config *config);
/* 0, or ERROR_USAGE that names the option and what it takes. */
MUST_USE int board_check_config(const struct board_type *type, const struct board_config *config, struct error *e);
/* Puts a device that was made among the board's, which frees it from now on, and on the bus. */
MUST_USE int board_adopt(struct board *board, struct device *device, struct error *e);

#endif
