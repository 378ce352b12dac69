/* Configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2): an address register, and a window onto what it names. */
#include <errno.h>
#include <stdlib.h>

#include "device/pci/private.h"

#define DATA 4 /* the window's offset; the address register is before it */

#define ADDRESS_ENABLE   (UINT32_C(1) << 31)
#define ADDRESS_WRITABLE (ADDRESS_ENABLE | UINT32_C(0xfffffc))

struct pci_ports {
	struct device device;
	const struct pci_host *host;
	uint32_t address; /* enable, bus, slot, function, register */
};

/* The function that the address names, or NULL. */
static struct pci_function *addressed(const struct pci_ports *ports)
{
	uint32_t address = ports->address, bus = address >> 16 & 0xff, function = address >> 8 & 7;

	return address & ADDRESS_ENABLE && bus == 0 && function == 0 ? ports->host->functions[address >> 11 & 31]
								    : NULL;
}

static unsigned register_at(const struct pci_ports *ports, uint64_t offset)
{
	return (ports->address & 0xfc) + (unsigned)(offset - DATA);
}

static uint64_t ports_read(void *device, uint64_t offset, unsigned size)
{
	const struct pci_ports *ports = device;
	struct pci_function *function = addressed(ports);

	if (offset == 0 && size == 4)
		return ports->address;
	if (offset < DATA || !function)
		return UINT64_MAX >> (64 - 8 * size);
	return pci_config_read(function, register_at(ports, offset), size);
}

/* Narrow writes to the address are other devices' on a PC: 0xcf9 is a reset register of some. */
static void ports_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct pci_ports *ports = device;
	struct pci_function *function = addressed(ports);

	if (offset == 0 && size == 4)
		ports->address = (uint32_t)value & ADDRESS_WRITABLE;
	else if (offset >= DATA && function)
		pci_config_write(function, register_at(ports, offset), (uint32_t)value, size);
}

static void ports_reset(struct device *device)
{
	((struct pci_ports *)device)->address = 0;
}

static int ports_validate(const void *shadow, struct error *e)
{
	const struct pci_ports *ports = shadow;

	if (!(ports->address & ~ADDRESS_WRITABLE))
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL, "PCI state: no guest can have written the address 0x%x", ports->address);
}

static const struct state_field ports_fields[] = {STATE_FIELD(struct pci_ports, address, STATE_U32)};

static const struct state_descriptor ports_state = {
	.kind = "pci-ports",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct pci_ports),
	.fields = ports_fields,
	.field_count = ARRAY_SIZE(ports_fields),
	.validate = ports_validate,
};

static const struct bus_ops ports_ops = {.read = ports_read, .write = ports_write, .sizes = 1 | 2 | 4};

const struct device_type pci_ports_type = {
	.name = "pci-ports",
	.help = "I/O ports 0xcf8 and 0xcfc: PCI's configuration space for systems that look for it there",
	.state = &ports_state,
	.ops = &ports_ops,
	.reset = ports_reset,
	.destroy = device_destroy_plain,
};

int pci_ports_new(struct device **out, const char *name, gpa_t base, struct device *host, struct error *e)
{
	struct pci_ports *ports = calloc(1, sizeof *ports);

	if (!ports)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&ports->device, &pci_ports_type, name, base, PCI_PORTS);
	ports->host = (const struct pci_host *)host;
	*out = &ports->device;
	return 0;
}
