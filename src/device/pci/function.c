/* One function: configuration space, and what follows from it. */
#include <assert.h>
#include <string.h>

#include "device/pci/private.h"

#define BAR_64_BIT 4 /* type of a memory BAR */

static void put(uint8_t *bytes, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *bytes, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

static unsigned bar_register(unsigned bar)
{
	return PCI_BAR_0 + 8 * bar;
}

void pci_function_init(struct pci_function *function, const struct pci_function_ops *ops,
		       const struct pci_identity *identity, pthread_mutex_t *lock)
{
	uint8_t *initial = function->initial;

	*function = (struct pci_function){.ops = ops, .lock = lock, .config_used = PCI_FIRST_FREE};
	put(initial + PCI_VENDOR, 2, identity->vendor);
	put(initial + PCI_DEVICE, 2, identity->device);
	put(initial + PCI_SUBSYSTEM_VENDOR, 2, identity->subsystem_vendor);
	put(initial + PCI_SUBSYSTEM, 2, identity->subsystem);
	put(initial + PCI_CLASS, 3, identity->class_code);
	initial[PCI_REVISION] = identity->revision;
	initial[PCI_INTERRUPT_PIN] = identity->wire;
	put(function->writable + PCI_COMMAND, 2,
	    PCI_COMMAND_MASTER | (identity->wire ? PCI_COMMAND_NO_WIRE : 0));
	function->writable[PCI_CACHE_LINE] = 0xff;
	function->writable[PCI_INTERRUPT_LINE] = identity->wire ? 0xff : 0;
	for (unsigned i = 0; i < PCI_BARS; i++)
		function->bars[i] = (struct pci_bar){.base = PCI_NOWHERE, .function = function, .number = i};
	memcpy(function->config, initial, sizeof function->config);
}

void pci_set_bar(struct pci_function *function, unsigned bar, uint64_t size)
{
	assert(bar < PCI_BARS && size >= 16 && (size & (size - 1)) == 0);
	function->bars[bar].size = size;
	function->initial[bar_register(bar)] = BAR_64_BIT;
	put(function->writable + bar_register(bar), 8, ~(size - 1));
	function->writable[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
	memcpy(function->config, function->initial, sizeof function->config);
}

/* The byte that points to the capability to come: the last one's, or the header's. */
static uint8_t *chain_end(struct pci_function *function)
{
	uint8_t *at = &function->initial[PCI_CAPABILITIES];

	while (*at)
		at = &function->initial[*at + 1];
	return at;
}

unsigned pci_add_capability(struct pci_function *function, uint8_t id, const void *bytes, const void *writable,
			    unsigned length)
{
	unsigned offset = function->config_used;

	assert(length >= 2 && length <= PCI_CONFIG_SIZE - offset);
	*chain_end(function) = (uint8_t)offset;
	memcpy(function->initial + offset, bytes, length);
	function->initial[offset] = id;
	function->initial[offset + 1] = 0;
	if (writable)
		memcpy(function->writable + offset, writable, length);
	function->initial[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
	function->config_used = (offset + length + 3) & ~3u;
	memcpy(function->config, function->initial, sizeof function->config);
	return offset;
}

static uint64_t bar_wanted(const struct pci_function *function, const struct pci_bar *bar)
{
	uint64_t base = get(function->config + bar_register(bar->number), 8) & ~(bar->size - 1);

	return (pci_command(function) & PCI_COMMAND_MEMORY) &&
			       pci_in_window((const struct pci_host *)function->host, base, bar->size)
		       ? base
		       : PCI_NOWHERE;
}

static void place_bars(struct pci_function *function)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &function->bars[i];
		uint64_t from = atomic_load(&bar->base), to = bar->size ? bar_wanted(function, bar) : PCI_NOWHERE;

		if (from == to)
			continue;
		atomic_store(&bar->base, to);
		if (function->ops->moved)
			function->ops->moved(function, i, from, to);
	}
}

static void follow_config(struct pci_function *function, unsigned offset, unsigned size)
{
	place_bars(function);
	pci_disable_wire(function, pci_command(function) & PCI_COMMAND_NO_WIRE);
	if (function->ops->changed)
		function->ops->changed(function, offset, size);
}

/* The status bit follows the wire's wish, whether it may be driven or not (6.2.3). It is no state. */
static void fill_status(struct pci_function *function)
{
	uint8_t *status = &function->config[PCI_STATUS];

	*status = function->initial[PCI_STATUS];
	if (pci_wire_level(function))
		*status |= PCI_STATUS_WIRE;
}

uint32_t pci_config_read(struct pci_function *function, unsigned offset, unsigned size)
{
	uint32_t value;

	pthread_mutex_lock(function->lock);
	fill_status(function);
	if (function->ops->asked)
		function->ops->asked(function, offset, size);
	value = (uint32_t)get(function->config + offset, size);
	function->config[PCI_STATUS] = function->initial[PCI_STATUS];
	pthread_mutex_unlock(function->lock);
	return value;
}

void pci_config_write(struct pci_function *function, unsigned offset, uint32_t value, unsigned size)
{
	pthread_mutex_lock(function->lock);
	for (unsigned i = offset; i < offset + size; i++, value >>= 8) {
		uint8_t mask = function->writable[i];

		function->config[i] = (uint8_t)((function->config[i] & ~mask) | ((uint8_t)value & mask));
	}
	follow_config(function, offset, size);
	pthread_mutex_unlock(function->lock);
}

void pci_function_reset(struct pci_function *function)
{
	memcpy(function->config, function->initial, sizeof function->config);
	follow_config(function, 0, PCI_CONFIG_SIZE);
}

void pci_function_loaded(struct pci_function *function)
{
	follow_config(function, 0, PCI_CONFIG_SIZE);
}

bool pci_function_possible(const struct pci_function *function)
{
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		if ((function->config[i] ^ function->initial[i]) & ~function->writable[i])
			return false;
	return true;
}

const struct msi_controller *pci_msi(const struct pci_function *function)
{
	return ((const struct pci_host *)function->host)->options.msi;
}

const struct bus_doorbells *pci_doorbells(const struct pci_function *function)
{
	return ((const struct pci_host *)function->host)->doorbells;
}
