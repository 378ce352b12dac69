/*
 * Virtio over PCI (Virtio 1.2, 4.1), without the legacy interface: the function that carries a device, its capabilities,
 * its interrupts and its state.
 */
#include "device/virtio/pci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VENDOR        0x1af4
#define FIRST_DEVICE  0x1040 /* plus the kind's number (4.1.2) */
#define CLASS_OTHER   0x00ff00
#define VENDOR_CAPABILITY 0x09
#define MSIX_CAPABILITY   0x11

/* Kinds of capabilities (4.1.4). */
enum { COMMON = 1, NOTIFY, ISR, DEVICE, ACCESS };

struct capability {
	uint8_t id, next, length, kind, bar, padding[3];
	le32_t offset, bytes;
	le32_t extra; /* NOTIFY: distance of the queues' addresses; ACCESS: the window */
};
#define CAPABILITY_SIZE 16 /* without `extra` */

struct msix_capability {
	uint8_t id, next;
	le16_t control;
	le32_t table, pending; /* offset, and BAR 0 */
};

static struct virtio_pci *carrier_of(const struct virtio *virtio)
{
	return (struct virtio_pci *)virtio->carrier;
}

static void interrupt(struct virtio *virtio, uint32_t cause)
{
	virtio->interrupt_status |= cause;
	irq_set(&virtio->irq, true);
}

/* The status tells of used buffers only where there are no messages, and of a configuration change always (4.1.4.5.1). */
static void queue_interrupt(struct virtio *virtio, unsigned queue)
{
	struct virtio_pci *pci = carrier_of(virtio);
	bool message = msix_enabled(&pci->msix);
	unsigned vector;

	pthread_mutex_lock(&virtio->device.lock);
	vector = pci->queue_vectors[queue];
	if (!message)
		interrupt(virtio, VIRTIO_USED_BUFFER);
	pthread_mutex_unlock(&virtio->device.lock);
	if (message)
		msix_fire(&pci->msix, vector);
}

static void config_interrupt(struct virtio *virtio)
{
	struct virtio_pci *pci = carrier_of(virtio);
	unsigned vector;

	pthread_mutex_lock(&virtio->device.lock);
	vector = pci->config_vector;
	interrupt(virtio, VIRTIO_CONFIG_CHANGED);
	pthread_mutex_unlock(&virtio->device.lock);
	msix_fire(&pci->msix, vector);
}

static void forget(struct virtio *virtio, unsigned queue)
{
	struct virtio_pci *pci = carrier_of(virtio);

	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		if (i == queue || queue == VIRTIO_ALL)
			pci->queue_vectors[i] = VIRTIO_PCI_NO_VECTOR;
	if (queue == VIRTIO_ALL)
		pci->config_vector = VIRTIO_PCI_NO_VECTOR;
}

static void finish(struct virtio *virtio)
{
	virtio_pci_end_doorbells(carrier_of(virtio));
}

static const struct virtio_transport transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.reset = forget,
	.finish = finish,
};

static void set_wire(void *carrier, unsigned number, bool level)
{
	(void)number;
	pci_set_wire(&((struct virtio_pci *)carrier)->function, level);
}

/* Access by configuration space (4.1.4.9): what the driver wrote into the capability. False: it leads nowhere. */
static bool accessed(const struct virtio_pci *pci, uint32_t *offset, uint32_t *size)
{
	struct capability c;

	memcpy(&c, pci->function.config + pci->access, sizeof c);
	*offset = le32_get(c.offset);
	*size = le32_get(c.bytes);
	return c.bar == 0 && (*size == 1 || *size == 2 || *size == 4) && *offset % *size == 0 &&
	       *offset < VIRTIO_PCI_BAR_SIZE;
}

static uint8_t *access_window(struct virtio_pci *pci)
{
	return pci->function.config + pci->access + offsetof(struct capability, extra);
}

static bool within_window(const struct virtio_pci *pci, unsigned offset, unsigned size)
{
	unsigned window = pci->access + (unsigned)offsetof(struct capability, extra);

	return offset >= window && offset + size <= window + sizeof(le32_t);
}

static void asked(struct pci_function *function, unsigned offset, unsigned size)
{
	struct virtio_pci *pci = virtio_pci_of(function);
	uint32_t at, length;
	le32_t value;

	if (!within_window(pci, offset, size) || !accessed(pci, &at, &length))
		return;
	value = le32_put((uint32_t)virtio_pci_read(function, 0, at, length));
	memcpy(access_window(pci), &value, length);
}

static void write_accessed(struct virtio_pci *pci)
{
	uint32_t at, length;
	le32_t value = {0};

	if (!accessed(pci, &at, &length))
		return;
	memcpy(&value, access_window(pci), length);
	virtio_pci_write(&pci->function, 0, at, le32_get(value), length);
}

/* With messages the wire is not used; without being a bus master the device reaches neither memory nor CPUs. */
static void follow_config(struct virtio_pci *pci)
{
	bool master = pci_command(&pci->function) & PCI_COMMAND_MASTER;
	unsigned control = 0;

	if (pci->msix.controller)
		control = pci->function.config[pci->message_control] |
			  (unsigned)pci->function.config[pci->message_control + 1] << 8;
	msix_control(&pci->msix, control, master);
	pci_use_wire(&pci->function, !msix_enabled(&pci->msix));
	pthread_mutex_lock(&pci->virtio->device.lock);
	virtio_allow_memory(pci->virtio, master);
	pthread_mutex_unlock(&pci->virtio->device.lock);
}

static void changed(struct pci_function *function, unsigned offset, unsigned size)
{
	struct virtio_pci *pci = virtio_pci_of(function);

	if (within_window(pci, offset, size))
		write_accessed(pci);
	else
		follow_config(pci);
}

static void moved(struct pci_function *function, unsigned bar, uint64_t from, uint64_t to)
{
	(void)bar;
	virtio_pci_move_doorbells(virtio_pci_of(function), from, to);
}

static const struct pci_function_ops function_ops = {
	.read = virtio_pci_read,
	.write = virtio_pci_write,
	.asked = asked,
	.changed = changed,
	.moved = moved,
};

static struct capability *fill(struct capability *c, uint8_t kind, uint32_t offset, uint32_t bytes, uint8_t length)
{
	*c = (struct capability){
		.length = length,
		.kind = kind,
		.offset = le32_put(offset),
		.bytes = le32_put(bytes),
	};
	return c;
}

static void add_capabilities(struct virtio_pci *pci)
{
	static const struct capability writable = {
		.bar = 0xff, .offset = {0xffffffff}, .bytes = {0xffffffff}, .extra = {0xffffffff}};
	const unsigned whole = sizeof(struct capability);
	struct pci_function *f = &pci->function;
	struct virtio *virtio = pci->virtio;
	struct capability c;

	fill(&c, COMMON, VIRTIO_PCI_COMMON, VIRTIO_PCI_COMMON_SIZE, CAPABILITY_SIZE);
	pci_add_capability(f, VENDOR_CAPABILITY, &c, NULL, CAPABILITY_SIZE);
	fill(&c, ISR, VIRTIO_PCI_ISR, 1, CAPABILITY_SIZE);
	pci_add_capability(f, VENDOR_CAPABILITY, &c, NULL, CAPABILITY_SIZE);
	if (virtio->config_size) {
		fill(&c, DEVICE, VIRTIO_PCI_DEVICE, virtio->config_size, CAPABILITY_SIZE);
		pci_add_capability(f, VENDOR_CAPABILITY, &c, NULL, CAPABILITY_SIZE);
	}
	fill(&c, NOTIFY, VIRTIO_PCI_NOTIFY, virtio->queue_count * VIRTIO_PCI_NOTIFY_WIDTH, (uint8_t)whole)->extra =
		le32_put(VIRTIO_PCI_NOTIFY_WIDTH);
	pci_add_capability(f, VENDOR_CAPABILITY, &c, NULL, whole);
	fill(&c, ACCESS, 0, 0, (uint8_t)whole);
	pci->access = pci_add_capability(f, VENDOR_CAPABILITY, &c, &writable, whole);
}

static void add_messages(struct virtio_pci *pci)
{
	static const struct msix_capability writable = {.control = {MSIX_ENABLE | MSIX_MASK}};
	const struct msix_capability c = {
		.control = le16_put((uint16_t)(pci->msix.count - 1)),
		.table = le32_put(VIRTIO_PCI_TABLE),
		.pending = le32_put(VIRTIO_PCI_PENDING),
	};

	if (pci->msix.controller)
		pci->message_control =
			pci_add_capability(&pci->function, MSIX_CAPABILITY, &c, &writable, sizeof c) +
			(unsigned)offsetof(struct msix_capability, control);
}

/* What a guest's lists call it; drivers go by the device's number. */
static uint32_t class_of(uint32_t kind)
{
	static const uint32_t classes[] = {
		[1] = 0x020000,  /* network card: Ethernet */
		[2] = 0x010000,  /* block: SCSI */
		[3] = 0x078000,  /* console: other communication */
		[18] = 0x098000, /* input: other */
		[19] = 0x078000, /* socket */
		[26] = 0x018000, /* file system: other storage */
	};

	return kind < ARRAY_SIZE(classes) && classes[kind] ? classes[kind] : CLASS_OTHER;
}

static void reset(struct device *device)
{
	struct virtio_pci *pci = (struct virtio_pci *)device;

	msix_reset(&pci->msix);
	pci_function_reset(&pci->function);
}

static void loaded(struct device *device)
{
	struct virtio_pci *pci = (struct virtio_pci *)device;

	/* Off, so that routes are made and told anew. */
	msix_control(&pci->msix, 0, false);
	pci_function_loaded(&pci->function);
}

static void destroy(struct device *device)
{
	struct virtio_pci *pci = (struct virtio_pci *)device;

	msix_finish(&pci->msix);
	device_destroy_plain(device);
}

static bool vector_possible(const struct virtio_pci *pci, uint16_t vector)
{
	return vector == VIRTIO_PCI_NO_VECTOR || (pci->msix.controller && vector < pci->msix.count);
}

static int validate(const void *shadow, struct error *e)
{
	const struct virtio_pci *pci = shadow;
	bool possible = pci_function_possible(&pci->function) && msix_possible(&pci->msix) &&
			vector_possible(pci, pci->config_vector);

	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		possible = possible && vector_possible(pci, pci->queue_vectors[i]);
	if (possible)
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "the saved state of %s is of another PCI device, or of none that can be", pci->device.name);
}

static const struct state_field fields[] = {
	STATE_FIELD(struct virtio_pci, function.config, STATE_U8),
	MSIX_STATE_FIELDS(struct virtio_pci, msix),
	STATE_FIELD(struct virtio_pci, config_vector, STATE_U16),
	STATE_FIELD(struct virtio_pci, queue_vectors, STATE_U16),
};

static const struct state_descriptor state = {
	.kind = "virtio-pci",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct virtio_pci),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.validate = validate,
};

const struct device_type virtio_pci_type = {
	.name = "virtio-pci",
	.help = "the PCI function of a virtio device",
	.state = &state,
	.reset = reset,
	.loaded = loaded,
	.destroy = destroy,
};

static void make_function(struct virtio_pci *pci, const struct virtio *virtio)
{
	const struct pci_identity identity = {
		.vendor = VENDOR,
		.device = (uint16_t)(FIRST_DEVICE + virtio->kind->id),
		.subsystem_vendor = VENDOR,
		.subsystem = (uint16_t)(FIRST_DEVICE + virtio->kind->id),
		.class_code = class_of(virtio->kind->id),
		.revision = 1,
		.wire = true,
	};
	char name[32];

	snprintf(name, sizeof name, "%.26s.pci", virtio->device.name);
	device_init(&pci->device, &virtio_pci_type, name, gpa(0), 0);
	pci_function_init(&pci->function, &function_ops, &identity, &pci->device.lock);
	pci_set_bar(&pci->function, 0, VIRTIO_PCI_BAR_SIZE);
}

static void carry(struct virtio_pci *pci, struct virtio *virtio, struct memory *memory)
{
	virtio->carrier = &pci->device;
	virtio->memory = memory;
	virtio->transport = &transport;
	virtio->irq = (struct irq_line){.set = set_wire, .controller = pci};
	forget(virtio, VIRTIO_ALL);
}

int virtio_pci_place(struct virtio *virtio, struct device *host, struct memory *memory, struct error *e)
{
	struct virtio_pci *pci = calloc(1, sizeof *pci);
	int r;

	if (!pci)
		return error_errno(e, -ENOMEM, "device %s", virtio->device.name);
	pci->virtio = virtio;
	make_function(pci, virtio);
	r = pci_add(host, &pci->function, virtio->device.name, e);
	if (r < 0) {
		device_destroy_plain(&pci->device);
		return r;
	}
	msix_init(&pci->msix, pci_msi(&pci->function), virtio->queue_count + 1, virtio->device.name);
	add_capabilities(pci);
	add_messages(pci);
	carry(pci, virtio, memory);
	return virtio_pci_make_doorbells(pci, e);
}
