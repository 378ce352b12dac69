/*
 * A hostile guest in front of a PCI host bridge with two virtio devices: any accesses to configuration space and windows,
 * registers that move at any time, masters that are none, messages masked and not, doorbells, rings of its making, and
 * damaged saved states. After each step configuration spaces are possible, and wires, routes and doorbells what they imply.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "device/virtio/balloon.h"
#include "device/virtio/pci.h"
#include "device/virtio/rng.h"
#include "input.h"

#define RAM        UINT64_C(0x80000000)
#define RAM_SIZE   (256 * KIB)
#define ECAM       UINT64_C(0x30000000)
#define LOW        UINT64_C(0x40000000)
#define HIGH       UINT64_C(0x400000000)
#define WINDOW     UINT64_C(0x40000)
#define OPERATIONS 2048
#define DEVICES    2
#define ROUTES     64
#define BELLS      64

struct msi_route {
	bool used, told;
};

struct platform {
	const uint8_t *input;
	size_t left;
	struct memory memory;
	struct bus bus, ports_bus;
	struct device *host, *ports;
	struct virtio *devices[DEVICES];
	atomic_bool levels[PCI_WIRES];
	struct msi_route routes[ROUTES];
	atomic_uint route_count;
	struct {
		uint64_t address;
		int eventfd;
	} bells[BELLS];
	unsigned bell_count;
};

/* One for all runs: a thread is slow to make. */
static struct worker *worker;

static uint64_t next(struct platform *p, unsigned size)
{
	return input_take(&p->input, &p->left, size);
}

static void wire(void *platform, unsigned number, bool level)
{
	assert(number < PCI_WIRES);
	atomic_store(&((struct platform *)platform)->levels[number], level);
}

static int route_new(void *opaque, struct msi_route **out, struct error *e)
{
	struct platform *p = opaque;

	for (unsigned i = 0; i < ROUTES; i++)
		if (!p->routes[i].used) {
			p->routes[i] = (struct msi_route){.used = true};
			atomic_fetch_add(&p->route_count, 1);
			*out = &p->routes[i];
			return 0;
		}
	return error_set(e, ERROR_FAILED, -1, "no route is left");
}

static void route_free(void *opaque, struct msi_route *route)
{
	assert(route->used);
	route->used = false;
	atomic_fetch_sub(&((struct platform *)opaque)->route_count, 1);
}

static void route_set(void *opaque, struct msi_route *route, struct msi_message message)
{
	(void)opaque;
	assert(route->used && (message.address & 3) == 0);
	route->told = true;
}

static void route_fire(void *opaque, struct msi_route *route)
{
	(void)opaque;
	assert(route->used && route->told);
}

static int bell_add(void *opaque, gpa_t address, unsigned size, int eventfd)
{
	struct platform *p = opaque;

	assert(size == 2 && eventfd >= 0 && p->bell_count < BELLS);
	p->bells[p->bell_count].address = address.value;
	p->bells[p->bell_count++].eventfd = eventfd;
	return 0;
}

static void bell_remove(void *opaque, gpa_t address, unsigned size, int eventfd)
{
	struct platform *p = opaque;
	unsigned i = 0;

	(void)size;
	while (i < p->bell_count && (p->bells[i].address != address.value || p->bells[i].eventfd != eventfd))
		i++;
	assert(i < p->bell_count);
	p->bells[i] = p->bells[--p->bell_count];
}

static void add(struct platform *p, unsigned index, struct virtio *virtio)
{
	int failed = virtio_pci_place(virtio, p->host, &p->memory, NULL);

	assert(!failed);
	device_reset(virtio->carrier);
	device_reset(&virtio->device);
	p->devices[index] = virtio;
}

static void platform_start(struct platform *p, const struct msi_controller *controller, const struct bus_doorbells *bells)
{
	uint64_t choice = next(p, 1);
	struct pci_host_options options = {
		.ecam = gpa(ECAM),
		.low = {gpa(LOW), WINDOW},
		.high = {gpa(HIGH), WINDOW},
		.msi = choice & 1 ? controller : NULL,
	};
	struct virtio *rng = NULL, *balloon = NULL;
	int failed;

	memory_init(&p->memory);
	bus_init(&p->bus);
	p->bus.doorbells = choice & 2 ? bells : NULL;
	for (unsigned i = 0; i < PCI_WIRES; i++)
		options.wires[i] = (struct irq_line){.set = wire, .controller = p, .number = i};
	failed = memory_add_ram(&p->memory, gpa(RAM), RAM_SIZE, "ram", NULL);
	failed |= pci_host_new(&p->host, "pci0", &options, NULL);
	failed |= pci_host_open(p->host, &p->bus, NULL);
	bus_init(&p->ports_bus);
	failed |= pci_ports_new(&p->ports, "ports", gpa(0), p->host, NULL);
	failed |= device_attach(p->ports, &p->ports_bus, NULL);
	failed |= virtio_rng_new(&rng, "rng0", worker, NULL);
	failed |= virtio_balloon_new(&balloon, "balloon0", worker, NULL);
	assert(!failed);
	add(p, 0, rng);
	add(p, 1, balloon);
}

static void platform_end(struct platform *p)
{
	for (unsigned i = 0; i < DEVICES; i++) {
		struct device *carrier = p->devices[i]->carrier;

		device_free(&p->devices[i]->device);
		device_free(carrier);
	}
	device_free(p->ports);
	device_free(p->host);
	memory_finish(&p->memory);
	assert(p->bell_count == 0 && atomic_load(&p->route_count) == 0);
}

static void nothing(void *arg)
{
	(void)arg;
}

static struct virtio_pci *carrier_of(struct platform *p, unsigned index)
{
	return (struct virtio_pci *)p->devices[index]->carrier;
}

static uint64_t config_address(unsigned index, unsigned offset)
{
	return ECAM + (index + 1) * 0x8000 + offset;
}

static void write_bus(struct platform *p, uint64_t address, uint64_t value, unsigned size)
{
	int r = bus_write(&p->bus, gpa(address), size, value & (UINT64_MAX >> (64 - 8 * size)));

	assert(r == 0);
}

static uint64_t read_bus(struct platform *p, uint64_t address, unsigned size)
{
	uint64_t value = 0;
	int r = bus_read(&p->bus, gpa(address), size, &value);

	assert(r == 0 && value <= UINT64_MAX >> (64 - 8 * size));
	return value;
}

static void check_device(struct platform *p, unsigned index, bool *high)
{
	struct virtio_pci *pci = carrier_of(p, index);
	unsigned command = pci_command(&pci->function);
	bool messages = msix_enabled(&pci->msix);
	uint64_t base = atomic_load(&pci->function.bars[0].base);

	assert(pci_function_possible(&pci->function) && msix_possible(&pci->msix));
	assert(base == PCI_NOWHERE || (command & PCI_COMMAND_MEMORY));
	assert(base == PCI_NOWHERE || (base >= LOW && base + VIRTIO_PCI_BAR_SIZE <= LOW + WINDOW) ||
	       (base >= HIGH && base + VIRTIO_PCI_BAR_SIZE <= HIGH + WINDOW));
	assert(!messages || pci->msix.controller);
	assert(!virtio_live(pci->virtio) || (command & PCI_COMMAND_MASTER));
	*high |= pci->virtio->interrupt_status && !messages && !(command & PCI_COMMAND_NO_WIRE);
}

static void check(struct platform *p)
{
	unsigned bells = 0;

	worker_call(worker, nothing, NULL);
	worker_call(worker, nothing, NULL);
	for (unsigned i = 0; i < DEVICES; i++) {
		struct virtio_pci *pci = carrier_of(p, i);
		bool high = false;

		check_device(p, i, &high);
		assert(atomic_load(&p->levels[pci_wire(pci->function.slot, 0)]) == high);
		if (pci->bells && atomic_load(&pci->function.bars[0].base) != PCI_NOWHERE)
			bells += pci->virtio->queue_count;
	}
	assert(bells == p->bell_count);
}

/* The same at I/O ports. */
static void check_ports(struct platform *p, unsigned index, unsigned offset, unsigned size, uint64_t expected)
{
	uint64_t value = 0;
	int r;

	if (offset >= PCI_CONFIG_SIZE)
		return;
	r = bus_write(&p->ports_bus, gpa(0), 4, UINT32_C(0x80000000) | (index + 1) << 11 | (offset & 0xfc));
	r |= bus_read(&p->ports_bus, gpa(4 + (offset & 3)), size, &value);
	assert(r == 0 && value == expected);
}

/* The bytes that lead somewhere: command, BAR, capabilities. */
static void access_config(struct platform *p, unsigned index, bool far)
{
	static const uint8_t known[] = {PCI_COMMAND, PCI_BAR_0, PCI_BAR_0 + 4, PCI_STATUS};
	unsigned size = 1u << next(p, 1) % 3, offset;
	uint64_t choice = next(p, 1);

	if (far)
		offset = (unsigned)(choice | next(p, 1) << 8) & 0xfff;
	else
		offset = choice < 128 ? known[choice % ARRAY_SIZE(known)] : 0x40 + choice % 0x80;
	offset &= ~(size - 1);
	write_bus(p, config_address(index, offset), next(p, size), size);
	check_ports(p, index, offset, size, read_bus(p, config_address(index, offset), size));
}

static void access_registers(struct platform *p, unsigned index)
{
	uint64_t base = atomic_load(&carrier_of(p, index)->function.bars[0].base), choice = next(p, 1);
	unsigned size = 1u << choice % 4;
	uint64_t part = choice >> 2 & 7, offset = (part * 0x1000 + next(p, 1) % (choice & 0x80 ? 0x1000 : 64)) & ~(size - 1);

	if (base == PCI_NOWHERE)
		base = choice & 0x20 ? LOW : HIGH;
	write_bus(p, base + offset, next(p, size), size);
	(void)read_bus(p, base + offset, size);
}

/* What a friendly driver does, so that the input gets past it. */
static void set_up(struct platform *p, unsigned index)
{
	uint64_t choice = next(p, 1), base = (choice & 1 ? LOW : HIGH) + (choice >> 1 & 7) * VIRTIO_PCI_BAR_SIZE;
	uint64_t queue = next(p, 1) % 5, at = RAM + queue * 0x1000, features = next(p, 1);
	unsigned message_control = carrier_of(p, index)->message_control;

	write_bus(p, config_address(index, PCI_BAR_0), (uint32_t)base, 4);
	write_bus(p, config_address(index, PCI_BAR_0 + 4), base >> 32, 4);
	write_bus(p, config_address(index, PCI_COMMAND), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	/* Where BARs overlap, the other one may be set up. */
	if (atomic_load(&carrier_of(p, index)->function.bars[0].base) != base)
		return;
	if (message_control && (choice & 0x10))
		write_bus(p, config_address(index, message_control), MSIX_ENABLE, 2);
	for (unsigned status = 0; status < 4; status = status * 2 + 1)
		write_bus(p, base + 20, status, 1);
	write_bus(p, base + 8, 0, 4);
	write_bus(p, base + 12, (features & 0x27) | (features >> 6) << 28, 4);
	write_bus(p, base + 8, 1, 4);
	write_bus(p, base + 12, 1 | (features >> 3 & 3) << 2, 4);
	write_bus(p, base + 20, 11, 1);
	write_bus(p, base + 22, queue, 2);
	write_bus(p, base + 24, 16, 2);
	write_bus(p, base + 26, queue, 2);
	for (unsigned area = 0; area < 3; area++)
		write_bus(p, base + 32 + 8 * area, at + 0x400 * area, 8);
	write_bus(p, base + 28, 1, 2);
	write_bus(p, base + 20, 15, 1);
	write_bus(p, base + VIRTIO_PCI_TABLE + 16 * queue + 12, choice >> 5 & 1, 4);
}

static void ring(struct platform *p, unsigned index, unsigned queue)
{
	uint64_t base = atomic_load(&carrier_of(p, index)->function.bars[0].base);
	uint64_t address = base + VIRTIO_PCI_NOTIFY + 4 * queue;

	if (base == PCI_NOWHERE)
		return;
	for (unsigned i = 0; i < p->bell_count; i++)
		if (p->bells[i].address == address) {
			(void)eventfd_write(p->bells[i].eventfd, 1);
			return;
		}
	write_bus(p, address, queue, 2);
}

/* A descriptor that is available in either layout, and the split ring's index. */
static void offer(struct platform *p, unsigned index)
{
	unsigned queue = (unsigned)next(p, 1) % 5;
	uint64_t address = RAM + next(p, 3) % RAM_SIZE, flags = next(p, 1) & 7;
	le64_t words[2] = {le64_put(address), le64_put(next(p, 2) | flags << 32 | (flags | 0x80) << 48)};
	le16_t position = le16_put((uint16_t)next(p, 1));
	uint8_t *at = p->memory.regions[0].host + queue * 0x1000;

	worker_call(worker, nothing, NULL);
	memcpy(at, words, sizeof words);
	memcpy(at + 0x402, &position, sizeof position);
	ring(p, index, queue);
}

static void load_damaged(struct platform *p, unsigned index)
{
	struct device *device = &p->devices[index]->device, *carrier = p->devices[index]->carrier;
	unsigned changes = (unsigned)next(p, 1) % 4;

	device_pause(device);
	load_damaged_section(carrier, changes, &p->input, &p->left);
	device_resume(device);
}

static void from_outside(struct platform *p, unsigned index, bool hard)
{
	if (hard) {
		device_reset(p->devices[index]->carrier);
		device_reset(&p->devices[index]->device);
	} else if (index == 1) {
		virtio_balloon_set_target(p->devices[index], next(p, 4));
	} else {
		virtio_config_change(p->devices[index], 0, "", 0);
	}
}

static void operate(struct platform *p)
{
	uint64_t operation = next(p, 1);
	unsigned index = operation >> 6 & 1;

	switch (operation % 8) {
	case 0:
	case 1:
		access_config(p, index, operation & 0x20);
		break;
	case 2:
	case 3:
		access_registers(p, index);
		break;
	case 4:
		set_up(p, index);
		break;
	case 5:
		offer(p, index);
		break;
	case 6:
		load_damaged(p, index);
		break;
	default:
		from_outside(p, index, operation & 0x80);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct platform platform;
	static const struct msi_controller controller = {route_new, route_free, route_set, route_fire, &platform};
	static const struct bus_doorbells bells = {bell_add, bell_remove, &platform};

	if (!worker && worker_new(&worker, "fuzz", NULL) < 0)
		abort();
	memset(&platform, 0, sizeof platform);
	platform.input = data;
	platform.left = size;
	platform_start(&platform, &controller, &bells);
	for (unsigned i = 0; i < OPERATIONS && platform.left; i++) {
		operate(&platform);
		check(&platform);
	}
	platform_end(&platform);
	return 0;
}
