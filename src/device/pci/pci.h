/*
 * PCI: a host bridge with one bus of 32 single-function devices, reached through ECAM (PCI Firmware 3.3, 4.1), and what its
 * functions have in common (PCI Local Bus 3.0, chapter 6).
 *
 * The host bridge is a device of the board's. ECAM and the windows, through which the guest reaches the functions' memory,
 * are regions of the bus: they never change, and the bridge finds the function inside them, wherever the guest put it last.
 *
 * A function belongs to a device that holds it. Configuration space is 256 bytes with a mask of what the guest may write;
 * what is derived from it (where the registers are, whether the wire may be driven) is told by `changed`. Only 64-bit memory
 * BARs exist, and no BIST, ROM, I/O or expansion. A BAR answers while memory is enabled and it lies in one window, whole.
 *
 * Threads. Configuration space is changed under the function's lock. Access to its registers takes no lock of this module:
 * a look-up in the windows reads only atomics, so an access may still reach registers that another vCPU moves at the time.
 * Wires may be driven from any thread, under any lock but those of interrupt controllers.
 */
#ifndef DOPPEL_DEVICE_PCI_PCI_H
#define DOPPEL_DEVICE_PCI_PCI_H

#include <pthread.h>
#include <stdatomic.h>

#include "bus/bus.h"
#include "bus/irq.h"
#include "bus/msi.h"
#include "device/device.h"

#define PCI_SLOTS       32 /* slot 0 is the bridge's own */
#define PCI_WIRES       4
#define PCI_CONFIG_SIZE 256
#define PCI_BARS        3 /* of 64 bits: registers 0, 2 and 4 */
#define PCI_ECAM_SIZE   UINT64_C(0x100000) /* of bus 0, the only one: buses 0 to 0 in MCFG and device tree */

/* Registers of a header of type 0, and bits in them. */
enum {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x09, /* three bytes */
	PCI_CACHE_LINE = 0x0c,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR_0 = 0x10,
	PCI_SUBSYSTEM_VENDOR = 0x2c,
	PCI_SUBSYSTEM = 0x2e,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
	PCI_FIRST_FREE = 0x40,

	PCI_COMMAND_MEMORY = 1 << 1,
	PCI_COMMAND_MASTER = 1 << 2,
	PCI_COMMAND_NO_WIRE = 1 << 10,
	PCI_STATUS_WIRE = 1 << 3,
	PCI_STATUS_CAPABILITIES = 1 << 4,
};

struct pci_window {
	gpa_t base; /* the same address for CPUs and on PCI */
	uint64_t size; /* bytes; 0: there is none */
};

struct pci_host_options {
	gpa_t ecam;             /* PCI_ECAM_SIZE bytes */
	struct pci_window io;   /* I/O ports from 0 on, in memory; nothing ever answers there */
	struct pci_window low;  /* below 4 GiB */
	struct pci_window high; /* above RAM */
	/* INTA to INTD of slot 0, level-triggered, active high; pin p (0 to 3) of slot s is wire (s + p) % 4 (pci_wire). */
	struct irq_line wires[PCI_WIRES];
	const struct msi_controller *msi; /* NULL: no function offers MSI-X */
};

/* For _PRT and interrupt-map. All functions here use pin 0 (INTA). */
static inline unsigned pci_wire(unsigned slot, unsigned pin)
{
	return (slot + pin) % PCI_WIRES;
}

/* The host bridge; the options are copied. Its node in a device tree takes the numbers of the wires for sources of the
 * PLIC. */
MUST_USE int pci_host_new(struct device **out, const char *name, const struct pci_host_options *options,
			  struct error *e);
/* Puts ECAM and windows on the bus: -EINVAL, -ENOSPC as bus_add. Functions use this bus's doorbells. */
MUST_USE int pci_host_open(struct device *host, struct bus *bus, struct error *e);
/* The other way to the configuration space of a host's functions: at I/O ports, on a bus of ports. */
#define PCI_PORTS 8
MUST_USE int pci_ports_new(struct device **out, const char *name, gpa_t base, struct device *host, struct error *e);
extern const struct device_type pci_host_type, pci_ports_type;

struct pci_function;

/* All but read and write may be NULL. */
struct pci_function_ops {
	/* Any thread, no lock held. Naturally aligned, 1, 2, 4 or 8 bytes, inside the BAR; hostile. */
	uint64_t (*read)(struct pci_function *function, unsigned bar, uint64_t offset, unsigned size);
	void (*write)(struct pci_function *function, unsigned bar, uint64_t offset, uint64_t value, unsigned size);
	/* Under the function's lock, before the guest reads these bytes of its configuration space: they may be filled in. */
	void (*asked)(struct pci_function *function, unsigned offset, unsigned size);
	/* Under the function's lock, after it wrote them, and with all of them after reset and load. */
	void (*changed)(struct pci_function *function, unsigned offset, unsigned size);
	/* Under the function's lock: a BAR answers at another address than before, or not any more (PCI_NOWHERE). */
	void (*moved)(struct pci_function *function, unsigned bar, uint64_t from, uint64_t to);
};

#define PCI_NOWHERE UINT64_MAX

struct pci_bar {
	_Atomic uint64_t base; /* PCI_NOWHERE: does not answer */
	uint64_t size;         /* a power of two, at least 16; 0: there is none */
	struct pci_function *function;
	unsigned number;
};

struct pci_function {
	const struct pci_function_ops *ops;
	pthread_mutex_t *lock; /* the holder's */
	struct device *host;   /* NULL before pci_add */
	unsigned slot;
	/* Saved: `config` alone. `initial`: as after power-on; `writable`: the bits that a guest may change. */
	uint8_t config[PCI_CONFIG_SIZE], initial[PCI_CONFIG_SIZE], writable[PCI_CONFIG_SIZE];
	unsigned config_used; /* bytes, with capabilities */
	struct pci_bar bars[PCI_BARS];
	/* Of the wire, under the bridge's lock: what the function wants, and who does not let it. */
	bool wire_level, wire_disabled, wire_unused;
};

struct pci_identity {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code; /* class << 16 | subclass << 8 | interface */
	uint8_t revision;
	bool wire; /* it uses INTA */
};

void pci_function_init(struct pci_function *function, const struct pci_function_ops *ops,
		       const struct pci_identity *identity, pthread_mutex_t *lock);
void pci_set_bar(struct pci_function *function, unsigned bar, uint64_t size);
/* Appends a capability (6.7): `length` bytes with the header's two, which are filled in; `writable` as long, or NULL. Returns
 * its offset. */
unsigned pci_add_capability(struct pci_function *function, uint8_t id, const void *bytes, const void *writable,
			    unsigned length);
/* Into the next free slot. -ENOSPC (ERROR_USAGE) when there is none. Before a vCPU runs; for good. */
MUST_USE int pci_add(struct device *host, struct pci_function *function, const char *name, struct error *e);
/* What the functions' host offers. */
const struct msi_controller *pci_msi(const struct pci_function *function);
const struct bus_doorbells *pci_doorbells(const struct pci_function *function);

/* These four under the function's lock. Reset: as after power-on. Loaded: `config` was loaded; all that follows from it is
 * put right. Validate: whether a guest could have brought `config` about. */
void pci_function_reset(struct pci_function *function);
void pci_function_loaded(struct pci_function *function);
MUST_USE bool pci_function_possible(const struct pci_function *function);
static inline unsigned pci_command(const struct pci_function *function)
{
	return function->config[PCI_COMMAND] | (unsigned)function->config[PCI_COMMAND + 1] << 8;
}

/* The wire of pin INTA, whose level is the function's; it reaches the interrupt controller unless the guest forbids it in
 * the command register, or it is not used (MSI-X in its stead). */
void pci_set_wire(struct pci_function *function, bool level);
void pci_use_wire(struct pci_function *function, bool used);

#endif
