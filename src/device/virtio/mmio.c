/*
 * Virtio over MMIO, version 2 (Virtio 1.2, 4.2.2). The registers of the legacy interface are not there: they read 0
 * and ignore writes, and the version tells a legacy driver to stay away.
 */
#include <string.h>

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

enum { USED_BUFFER = 1, CONFIG_CHANGED = 2 };

static struct virtqueue *selected(struct virtio *virtio)
{
	return virtio->queue_select < virtio->queue_count ? &virtio->queues[virtio->queue_select] : NULL;
}

static uint32_t read_queue(struct virtio *virtio, uint64_t offset)
{
	const struct virtqueue *queue = selected(virtio);

	if (!queue)
		return 0;
	return offset == QUEUE_SIZE_MAX ? queue->size_max : offset == QUEUE_READY ? queue->ready : 0;
}

static uint32_t read_features(const struct virtio *virtio)
{
	uint32_t word = virtio->device_features_select;

	return word > 1 ? 0 : (uint32_t)(virtio_offered(virtio) >> (32 * word));
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
		return read_features(virtio);
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

/* A driver may access a field byte by byte or whole (4.2.2.2); beyond the configuration there is nothing. */
static uint64_t read_config(const struct virtio *virtio, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size && offset + i < virtio->config_size; i++)
		value |= (uint64_t)virtio->config[offset + i] << (8 * i);
	return value;
}

static uint64_t mmio_read(void *device, uint64_t offset, unsigned size)
{
	struct virtio *virtio = device;

	if (offset >= CONFIG)
		return read_config(virtio, offset - CONFIG, size);
	return size == 4 ? read_register(virtio, offset) : 0;
}

static void write_config(struct virtio *virtio, uint64_t offset, uint64_t value, unsigned size)
{
	if (!virtio->kind->config_written || offset + size > virtio->config_size)
		return;
	for (unsigned i = 0; i < size; i++)
		virtio->config[offset + i] = (uint8_t)(value >> (8 * i));
	virtio->kind->config_written(virtio, (uint32_t)offset, size);
}

static void set_half(uint64_t *whole, bool high, uint32_t value)
{
	*whole = high ? (uint32_t)*whole | (uint64_t)value << 32 : (*whole & ~UINT64_C(0xffffffff)) | value;
}

/* While a queue is ready, its size and addresses stay what they were when it became so (4.2.2.2). */
static void write_queue(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	struct virtqueue *queue = selected(virtio);

	if (!queue || queue->ready)
		return;
	switch (offset & ~UINT64_C(4)) {
	case QUEUE_SIZE:
		/* A size beyond 16 bits is none at all. */
		queue->size = value <= queue->size_max ? (uint16_t)value : 0;
		break;
	case QUEUE_DESCRIPTORS:
		set_half(&queue->descriptors, offset & 4, value);
		break;
	case QUEUE_DRIVER:
		set_half(&queue->driver, offset & 4, value);
		break;
	case QUEUE_DEVICE:
		set_half(&queue->device, offset & 4, value);
		break;
	default:
		break;
	}
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
	case QUEUE_READY:
		virtio_enable_queue(virtio, virtio->queue_select, value & 1);
		break;
	case QUEUE_NOTIFY:
		virtio_kick(virtio, value);
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
		write_queue(virtio, offset, value);
		break;
	}
}

static void mmio_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio *virtio = device;

	virtio_enter(virtio);
	if (offset >= CONFIG)
		write_config(virtio, offset - CONFIG, value, size);
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
	interrupt(virtio, USED_BUFFER);
}

static void config_interrupt(struct virtio *virtio)
{
	interrupt(virtio, CONFIG_CHANGED);
}

static const struct virtio_transport transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
};

void virtio_mmio_place(struct virtio *virtio, gpa_t base, struct irq_line irq, struct memory *memory)
{
	virtio->device.base = base;
	virtio->irq = irq;
	virtio->memory = memory;
	virtio->transport = &transport;
}

void virtio_device_describe(struct device *device, struct fdt_writer *fdt)
{
	const struct virtio *virtio = (const struct virtio *)device;

	fdt_node(fdt, "virtio_mmio@%llx", (unsigned long long)device->base.value);
	fdt_text(fdt, "compatible", "virtio,mmio");
	fdt_reg(fdt, device->base, device->size);
	fdt_empty(fdt, "dma-coherent");
	fdt_interrupt(fdt, virtio->irq.number);
	fdt_end(fdt);
}
