/*
 * Virtio over MMIO, version 2 (Virtio 1.2, 4.2.2). The registers of the legacy interface are not there: they read 0
 * and ignore writes, and the version tells a legacy driver to stay away.
 */
#include "device/describe.h"
#include "device/virtio/virtio.h"

#define MAGIC   0x74726976u /* "virt" */
#define VERSION 2
#define VENDOR  0x4c504f44u /* "DOPL" */
#define CONFIG  0x100

enum {
	MAGIC_VALUE = 0x000,
	DEVICE_VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SELECT = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SELECT = 0x024,
	QUEUE_SELECT = 0x030,
	QUEUE_SIZE_MAX = 0x034,
	QUEUE_SIZE = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESCRIPTORS = 0x080, /* each of these three: the low half, then the high one */
	QUEUE_DRIVER = 0x090,
	QUEUE_DEVICE = 0x0a0,
	SHARED_LENGTH = 0x0b0,
	SHARED_BASE = 0x0b8,
	QUEUE_RESET = 0x0c0,
	CONFIG_GENERATION = 0x0fc,
};

static uint32_t read_queue(struct virtio *virtio, uint64_t offset)
{
	const struct virtqueue *queue = virtio_selected(virtio);

	if (!queue)
		return 0;
	return offset == QUEUE_SIZE_MAX ? queue->size_max : offset == QUEUE_READY ? queue->ready : 0;
}

static uint32_t read_register(struct virtio *virtio, uint64_t offset)
{
	switch (offset) {
	case MAGIC_VALUE:
		return MAGIC;
	case DEVICE_VERSION:
		return VERSION;
	case DEVICE_ID:
		return virtio->kind->id;
	case VENDOR_ID:
		return VENDOR;
	case DEVICE_FEATURES:
		return virtio_read_features(virtio, virtio->device_features_select);
	case QUEUE_SIZE_MAX:
	case QUEUE_READY:
		return read_queue(virtio, offset);
	case INTERRUPT_STATUS:
		return virtio->interrupt_status;
	case STATUS:
		return virtio->status;
	case SHARED_LENGTH:
	case SHARED_LENGTH + 4:
	case SHARED_BASE:
	case SHARED_BASE + 4:
		/* There are no shared memory regions (4.2.2.1). */
		return UINT32_MAX;
	case CONFIG_GENERATION:
		return virtio->config_generation;
	default:
		return 0;
	}
}

static uint64_t mmio_read(void *device, uint64_t offset, unsigned size)
{
	struct virtio *virtio = device;

	if (offset >= CONFIG)
		return virtio_read_config(virtio, offset - CONFIG, size);
	return size == 4 ? read_register(virtio, offset) : 0;
}

static void write_area(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	static const struct {
		uint64_t offset;
		enum virtio_area area;
	} areas[] = {{QUEUE_DESCRIPTORS, VIRTIO_DESCRIPTORS},
		     {QUEUE_DRIVER, VIRTIO_DRIVER_AREA},
		     {QUEUE_DEVICE, VIRTIO_DEVICE_AREA}};

	for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
		if ((offset & ~UINT64_C(4)) == areas[i].offset)
			virtio_set_queue_area(virtio, areas[i].area, offset & 4, value);
}

static void acknowledge(struct virtio *virtio, uint32_t value)
{
	virtio->interrupt_status &= ~value;
	irq_set(&virtio->irq, virtio->interrupt_status != 0);
}

static void write_register(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case DEVICE_FEATURES_SELECT:
		virtio->device_features_select = value;
		break;
	case DRIVER_FEATURES:
		virtio_set_driver_features(virtio, virtio->driver_features_select, value);
		break;
	case DRIVER_FEATURES_SELECT:
		virtio->driver_features_select = value;
		break;
	case QUEUE_SELECT:
		virtio->queue_select = value;
		break;
	case QUEUE_SIZE:
		virtio_set_queue_size(virtio, value);
		break;
	case QUEUE_READY:
		virtio_enable_queue(virtio, virtio->queue_select, value & 1);
		break;
	case QUEUE_NOTIFY:
		pthread_mutex_unlock(&virtio->device.lock);
		virtio_kick(virtio, value);
		pthread_mutex_lock(&virtio->device.lock);
		break;
	case INTERRUPT_ACK:
		acknowledge(virtio, value);
		break;
	case STATUS:
		virtio_set_status(virtio, (uint8_t)value);
		break;
	case QUEUE_RESET:
		if (value & 1)
			virtio_reset_queue(virtio, virtio->queue_select);
		break;
	default:
		write_area(virtio, offset, value);
		break;
	}
}

static void mmio_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio *virtio = device;

	virtio_enter(virtio);
	if (offset >= CONFIG)
		virtio_write_config(virtio, offset - CONFIG, value, size);
	else if (size == 4)
		write_register(virtio, offset, (uint32_t)value);
}

const struct bus_ops virtio_mmio_ops = {.read = mmio_read, .write = mmio_write, .sizes = 1 | 2 | 4};

static void interrupt(struct virtio *virtio, uint32_t cause)
{
	pthread_mutex_lock(&virtio->device.lock);
	virtio->interrupt_status |= cause;
	irq_set(&virtio->irq, true);
	pthread_mutex_unlock(&virtio->device.lock);
}

static void queue_interrupt(struct virtio *virtio, unsigned queue)
{
	(void)queue;
	interrupt(virtio, VIRTIO_USED_BUFFER);
}

static void config_interrupt(struct virtio *virtio)
{
	interrupt(virtio, VIRTIO_CONFIG_CHANGED);
}

static void describe(const struct virtio *virtio, struct fdt_writer *fdt)
{
	const struct device *device = &virtio->device;

	fdt_node(fdt, "virtio_mmio@%llx", (unsigned long long)device->base.value);
	fdt_text(fdt, "compatible", "virtio,mmio");
	fdt_reg(fdt, device->base, device->size);
	fdt_empty(fdt, "dma-coherent");
	fdt_interrupt(fdt, virtio->irq.number);
	fdt_end(fdt);
}

static const struct virtio_transport transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.describe = describe,
};

void virtio_mmio_place(struct virtio *virtio, gpa_t base, struct irq_line irq, struct memory *memory)
{
	virtio->device.base = base;
	virtio->device.ops = &virtio_mmio_ops;
	virtio->irq = irq;
	virtio->memory = memory;
	virtio->transport = &transport;
}
