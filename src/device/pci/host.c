/* The host bridge: ECAM, windows, wires, and its node in a device tree. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "device/describe.h"
#include "device/pci/private.h"

#define SLOT_SHIFT     15 /* of an ECAM address: slot, function (3 bits), register (12 bits) */
#define FUNCTION_SHIFT 12
/* A generic host bridge, which has no driver and needs none. */
#define BRIDGE_VENDOR 0x1b36
#define BRIDGE_DEVICE 0x0008

static struct pci_host *host_of(struct device *device)
{
	return (struct pci_host *)device;
}

static uint64_t all_ones(unsigned size)
{
	return UINT64_MAX >> (64 - 8 * size);
}

/* The function at an offset of ECAM, or NULL: only function 0 of a slot is ever there. */
static struct pci_function *addressed(struct pci_host *host, uint64_t offset)
{
	return offset >> FUNCTION_SHIFT & 7 ? NULL : host->functions[offset >> SLOT_SHIFT];
}

/* Extended configuration space is there and empty: it reads 0, for there are no PCI Express capabilities. */
static uint64_t ecam_read(void *device, uint64_t offset, unsigned size)
{
	struct pci_function *function = addressed(device, offset);
	unsigned at = (unsigned)offset & 0xfff;

	if (!function)
		return all_ones(size);
	return at < PCI_CONFIG_SIZE ? pci_config_read(function, at, size) : 0;
}

static void ecam_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct pci_function *function = addressed(device, offset);
	unsigned at = (unsigned)offset & 0xfff;

	if (function && at < PCI_CONFIG_SIZE)
		pci_config_write(function, at, (uint32_t)value, size);
}

static const struct bus_ops ecam_ops = {.read = ecam_read, .write = ecam_write, .sizes = 1 | 2 | 4};

/* Which BAR answers, and where in it. */
static struct pci_bar *find_bar(const struct pci_host *host, uint64_t address, uint64_t *offset)
{
	for (unsigned i = 0; i < host->bar_count; i++) {
		struct pci_bar *bar = host->bars[i];
		uint64_t base = atomic_load_explicit(&bar->base, memory_order_acquire);

		*offset = address - base;
		if (base != PCI_NOWHERE && *offset < bar->size)
			return bar;
	}
	return NULL;
}

static uint64_t read_at(struct pci_host *host, uint64_t address, unsigned size)
{
	uint64_t offset;
	struct pci_bar *bar = find_bar(host, address, &offset);

	return bar ? bar->function->ops->read(bar->function, bar->number, offset, size) : all_ones(size);
}

static void write_at(struct pci_host *host, uint64_t address, uint64_t value, unsigned size)
{
	uint64_t offset;
	struct pci_bar *bar = find_bar(host, address, &offset);

	if (bar)
		bar->function->ops->write(bar->function, bar->number, offset, value, size);
}

static uint64_t low_read(void *host, uint64_t offset, unsigned size)
{
	return read_at(host, host_of(host)->options.low.base.value + offset, size);
}

static void low_write(void *host, uint64_t offset, uint64_t value, unsigned size)
{
	write_at(host, host_of(host)->options.low.base.value + offset, value, size);
}

static uint64_t high_read(void *host, uint64_t offset, unsigned size)
{
	return read_at(host, host_of(host)->options.high.base.value + offset, size);
}

static void high_write(void *host, uint64_t offset, uint64_t value, unsigned size)
{
	write_at(host, host_of(host)->options.high.base.value + offset, value, size);
}

static uint64_t io_read(void *host, uint64_t offset, unsigned size)
{
	(void)host;
	(void)offset;
	return all_ones(size);
}

static void io_write(void *host, uint64_t offset, uint64_t value, unsigned size)
{
	(void)host;
	(void)offset;
	(void)value;
	(void)size;
}

#define ALL_SIZES (1 | 2 | 4 | 8)
static const struct bus_ops io_ops = {.read = io_read, .write = io_write, .sizes = 1 | 2 | 4};
static const struct bus_ops low_ops = {.read = low_read, .write = low_write, .sizes = ALL_SIZES};
static const struct bus_ops high_ops = {.read = high_read, .write = high_write, .sizes = ALL_SIZES};

int pci_host_open(struct device *device, struct bus *bus, struct error *e)
{
	struct pci_host *host = host_of(device);
	const struct pci_window ecam = {host->options.ecam, PCI_ECAM_SIZE};
	const struct {
		const struct pci_window *window;
		const struct bus_ops *ops;
		const char *name;
	} windows[] = {
		{&ecam, &ecam_ops, "pci-ecam"},
		{&host->options.io, &io_ops, "pci-io"},
		{&host->options.low, &low_ops, "pci-low"},
		{&host->options.high, &high_ops, "pci-high"},
	};
	int r = 0;

	host->doorbells = bus->doorbells;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(windows); i++) {
		const struct bus_region region = {
			.base = windows[i].window->base,
			.size = windows[i].window->size,
			.ops = windows[i].ops,
			.device = host,
			.name = windows[i].name,
		};

		if (region.size)
			r = bus_add(bus, &region, e);
	}
	return r;
}

int pci_add(struct device *device, struct pci_function *function, const char *name, struct error *e)
{
	struct pci_host *host = host_of(device);
	unsigned slot = 0;

	while (slot < PCI_SLOTS && host->functions[slot])
		slot++;
	if (slot == PCI_SLOTS)
		return error_set(e, ERROR_USAGE, -ENOSPC,
				 "no room for %s: the machine takes %d devices on PCI, and has them", name,
				 PCI_SLOTS - 1);
	function->host = device;
	function->slot = slot;
	host->functions[slot] = function;
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (function->bars[i].size)
			host->bars[host->bar_count++] = &function->bars[i];
	return 0;
}

bool pci_in_window(const struct pci_host *host, uint64_t base, uint64_t size)
{
	const struct pci_window *windows[] = {&host->options.low, &host->options.high};

	for (size_t i = 0; i < ARRAY_SIZE(windows); i++)
		if (base >= windows[i]->base.value &&
		    checked_span(base - windows[i]->base.value, size, windows[i]->size))
			return true;
	return false;
}

/* With the lock of the wires; the controller is told whatever it was told before: it may have been loaded since. */
static void drive_wire(struct pci_function *function)
{
	struct pci_host *host = host_of(function->host);
	uint32_t *level = &host->levels[pci_wire(function->slot, 0)], bit = UINT32_C(1) << function->slot;
	bool high = function->wire_level && !function->wire_disabled && !function->wire_unused;

	*level = high ? *level | bit : *level & ~bit;
	irq_set(&host->options.wires[pci_wire(function->slot, 0)], *level != 0);
}

static void change_wire(struct pci_function *function, bool *what, bool value)
{
	struct pci_host *host = host_of(function->host);

	pthread_mutex_lock(&host->wires_lock);
	*what = value;
	drive_wire(function);
	pthread_mutex_unlock(&host->wires_lock);
}

void pci_set_wire(struct pci_function *function, bool level)
{
	change_wire(function, &function->wire_level, level);
}

void pci_use_wire(struct pci_function *function, bool used)
{
	change_wire(function, &function->wire_unused, !used);
}

void pci_disable_wire(struct pci_function *function, bool disabled)
{
	change_wire(function, &function->wire_disabled, disabled);
}

bool pci_wire_level(struct pci_function *function)
{
	struct pci_host *host = host_of(function->host);
	bool level;

	pthread_mutex_lock(&host->wires_lock);
	level = function->wire_level;
	pthread_mutex_unlock(&host->wires_lock);
	return level;
}

/* An entry of `ranges`: kind of space, address on PCI, address for CPUs, size; two cells each but the first. */
struct range {
	uint32_t space;
	uint64_t on_pci;
	const struct pci_window *window;
};
#define CELL_SLOT_SHIFT 11 /* of the first of a function's three address cells */
enum { SPACE_IO = 0x01000000, SPACE_32 = 0x02000000, SPACE_64 = 0x03000000 };

static void describe_windows(const struct pci_host *host, struct fdt_writer *fdt)
{
	const struct range ranges[] = {
		{SPACE_IO, 0, &host->options.io},
		{SPACE_32, host->options.low.base.value, &host->options.low},
		{SPACE_64, host->options.high.base.value, &host->options.high},
	};
	uint32_t cells[ARRAY_SIZE(ranges) * 7];
	unsigned count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		const uint64_t numbers[] = {ranges[i].on_pci, ranges[i].window->base.value, ranges[i].window->size};

		if (!ranges[i].window->size)
			continue;
		cells[count++] = ranges[i].space;
		for (size_t j = 0; j < ARRAY_SIZE(numbers); j++) {
			cells[count++] = (uint32_t)(numbers[j] >> 32);
			cells[count++] = (uint32_t)numbers[j];
		}
	}
	fdt_cells(fdt, "ranges", cells, count);
}

/* Slots repeat every four, pins are 1 to 4: an entry is slot, pin, and the wire's source. */
static void describe_wires(const struct pci_host *host, struct fdt_writer *fdt)
{
	static const uint32_t mask[] = {(PCI_WIRES - 1) << CELL_SLOT_SHIFT, 0, 0, 7};
	uint32_t cells[PCI_WIRES * PCI_WIRES * 6], *cell = cells;

	for (uint32_t slot = 0; slot < PCI_WIRES; slot++)
		for (uint32_t pin = 0; pin < PCI_WIRES; pin++) {
			const uint32_t entry[] = {slot << CELL_SLOT_SHIFT, 0, 0, pin + 1, fdt->plic_phandle,
						  host->options.wires[pci_wire(slot, pin)].number};

			memcpy(cell, entry, sizeof entry);
			cell += ARRAY_SIZE(entry);
		}
	fdt_cells(fdt, "interrupt-map-mask", mask, ARRAY_SIZE(mask));
	fdt_cells(fdt, "interrupt-map", cells, ARRAY_SIZE(cells));
}

/* The binding of generic host controllers with PCI Bus Binding to IEEE 1275. */
static void describe(struct device *device, struct fdt_writer *fdt)
{
	static const uint32_t buses[] = {0, 0};
	const struct pci_host *host = host_of(device);

	fdt_node(fdt, "pci@%llx", (unsigned long long)device->base.value);
	fdt_text(fdt, "compatible", "pci-host-ecam-generic");
	fdt_text(fdt, "device_type", "pci");
	fdt_reg(fdt, device->base, device->size);
	fdt_u32(fdt, "#address-cells", 3);
	fdt_u32(fdt, "#size-cells", 2);
	fdt_u32(fdt, "#interrupt-cells", 1);
	fdt_u32(fdt, "linux,pci-domain", 0);
	fdt_cells(fdt, "bus-range", buses, ARRAY_SIZE(buses));
	fdt_empty(fdt, "dma-coherent");
	describe_windows(host, fdt);
	describe_wires(host, fdt);
	fdt_end(fdt);
}

static void destroy(struct device *device)
{
	struct pci_host *host = host_of(device);

	pthread_mutex_destroy(&host->bridge_lock);
	pthread_mutex_destroy(&host->wires_lock);
	device_destroy_plain(device);
}

/* What follows from configuration space is the functions' own state. */
const struct device_type pci_host_type = {
	.name = "pci-host",
	.help = "PCI host bridge: configuration space, windows and interrupt wires of one bus",
	.describe = describe,
	.destroy = destroy,
};

int pci_host_new(struct device **out, const char *name, const struct pci_host_options *options, struct error *e)
{
	static const struct pci_function_ops bridge_ops = {.read = NULL};
	static const struct pci_identity bridge = {
		.vendor = BRIDGE_VENDOR,
		.device = BRIDGE_DEVICE,
		.subsystem_vendor = BRIDGE_VENDOR,
		.subsystem = BRIDGE_DEVICE,
		.class_code = 0x060000,
	};
	struct pci_host *host = calloc(1, sizeof *host);

	if (!host)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&host->device, &pci_host_type, name, options->ecam, PCI_ECAM_SIZE);
	pthread_mutex_init(&host->bridge_lock, NULL);
	pthread_mutex_init(&host->wires_lock, NULL);
	host->options = *options;
	pci_function_init(&host->bridge, &bridge_ops, &bridge, &host->bridge_lock);
	memset(host->bridge.writable, 0, sizeof host->bridge.writable);
	host->bridge.host = &host->device;
	host->functions[0] = &host->bridge;
	*out = &host->device;
	return 0;
}
