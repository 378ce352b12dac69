/* What function.c and host.c know of each other. */
#ifndef DOPPEL_DEVICE_PCI_PRIVATE_H
#define DOPPEL_DEVICE_PCI_PRIVATE_H

#include "device/pci/pci.h"

struct pci_host {
	struct device device;
	struct pci_host_options options;
	const struct bus_doorbells *doorbells;
	struct pci_function bridge; /* slot 0; read-only */
	pthread_mutex_t bridge_lock;
	struct pci_function *functions[PCI_SLOTS];
	/* Of all functions, in the order of their slots: where a guest lets them overlap, the first answers. */
	struct pci_bar *bars[PCI_SLOTS * PCI_BARS];
	unsigned bar_count;
	pthread_mutex_t wires_lock;
	uint32_t levels[PCI_WIRES]; /* a bit a slot */
};

/* Accesses to configuration space, naturally aligned, 1, 2 or 4 bytes; take the function's lock. */
uint32_t pci_config_read(struct pci_function *function, unsigned offset, unsigned size);
void pci_config_write(struct pci_function *function, unsigned offset, uint32_t value, unsigned size);
/* Whether all of it lies in one window for memory. */
bool pci_in_window(const struct pci_host *host, uint64_t base, uint64_t size);
/* What the command register says of the wire. */
void pci_disable_wire(struct pci_function *function, bool disabled);
bool pci_wire_level(struct pci_function *function);

#endif
