/* BAR 0 of virtio over PCI: common configuration, interrupt status, the device's own, MSI-X, and notifications. */
#include "device/virtio/pci.h"

/* Common configuration (4.1.4.3). */
enum {
	DEVICE_FEATURE_SELECT = 0,
	DEVICE_FEATURE = 4,
	DRIVER_FEATURE_SELECT = 8,
	DRIVER_FEATURE = 12,
	CONFIG_VECTOR = 16,
	NUM_QUEUES = 18,
	DEVICE_STATUS = 20,
	CONFIG_GENERATION = 21,
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_VECTOR = 26,
	QUEUE_ENABLE = 28,
	QUEUE_NOTIFY_OFFSET = 30,
	QUEUE_DESCRIPTORS = 32,
	QUEUE_DRIVER = 40,
	QUEUE_DEVICE = 48,
	QUEUE_NOTIFY_DATA = 56,
	QUEUE_RESET = 58,
};

/* The width of the field that begins there: a driver accesses each by its own, 64 bits in halves (4.1.3.1). Others reach
 * nothing. */
static const uint8_t widths[VIRTIO_PCI_COMMON_SIZE] = {
	[DEVICE_FEATURE_SELECT] = 4, [DEVICE_FEATURE] = 4,    [DRIVER_FEATURE_SELECT] = 4, [DRIVER_FEATURE] = 4,
	[CONFIG_VECTOR] = 2,         [NUM_QUEUES] = 2,        [DEVICE_STATUS] = 1,         [CONFIG_GENERATION] = 1,
	[QUEUE_SELECT] = 2,          [QUEUE_SIZE] = 2,        [QUEUE_VECTOR] = 2,          [QUEUE_ENABLE] = 2,
	[QUEUE_NOTIFY_OFFSET] = 2,   [QUEUE_DESCRIPTORS] = 4, [QUEUE_DESCRIPTORS + 4] = 4, [QUEUE_DRIVER] = 4,
	[QUEUE_DRIVER + 4] = 4,      [QUEUE_DEVICE] = 4,      [QUEUE_DEVICE + 4] = 4,      [QUEUE_NOTIFY_DATA] = 2,
	[QUEUE_RESET] = 2,
};

static bool is_field(uint64_t offset, unsigned size)
{
	return offset < VIRTIO_PCI_COMMON_SIZE && widths[offset] == size;
}

/* A whole 64-bit field at once is as good as its halves. */
static bool is_wide(uint64_t offset, unsigned size)
{
	return size == 8 && offset >= QUEUE_DESCRIPTORS && offset < QUEUE_NOTIFY_DATA;
}

static uint64_t read_area(const struct virtqueue *queue, uint64_t offset)
{
	const uint64_t areas[] = {queue->descriptors, queue->driver, queue->device};
	uint64_t area = areas[(offset - QUEUE_DESCRIPTORS) / 8];

	return offset & 4 ? area >> 32 : (uint32_t)area;
}

static uint64_t read_queue(struct virtio_pci *pci, uint64_t offset)
{
	const struct virtqueue *queue = virtio_selected(pci->virtio);
	unsigned number = pci->virtio->queue_select;

	if (!queue)
		return offset == QUEUE_VECTOR ? VIRTIO_PCI_NO_VECTOR : 0;
	switch (offset) {
	case QUEUE_SIZE:
		/* The driver finds what is possible there, and may leave it (4.1.4.3.1). */
		return queue->size ? queue->size : queue->size_max;
	case QUEUE_VECTOR:
		return pci->queue_vectors[number];
	case QUEUE_ENABLE:
		return queue->ready;
	case QUEUE_NOTIFY_OFFSET:
	case QUEUE_NOTIFY_DATA:
		return number;
	case QUEUE_RESET:
		/* It is over before its write has returned. */
		return 0;
	default:
		return read_area(queue, offset);
	}
}

static uint32_t driver_features(const struct virtio *virtio)
{
	uint32_t word = virtio->driver_features_select;

	return word > 1 ? 0 : (uint32_t)(virtio->driver_features >> (32 * word));
}

static uint64_t read_field(struct virtio_pci *pci, uint64_t offset)
{
	const struct virtio *virtio = pci->virtio;

	switch (offset) {
	case DEVICE_FEATURE_SELECT:
		return virtio->device_features_select;
	case DEVICE_FEATURE:
		return virtio_read_features(virtio, virtio->device_features_select);
	case DRIVER_FEATURE_SELECT:
		return virtio->driver_features_select;
	case DRIVER_FEATURE:
		return driver_features(virtio);
	case CONFIG_VECTOR:
		return pci->config_vector;
	case NUM_QUEUES:
		return virtio->queue_count;
	case DEVICE_STATUS:
		return virtio->status;
	case CONFIG_GENERATION:
		return (uint8_t)virtio->config_generation;
	case QUEUE_SELECT:
		return virtio->queue_select;
	default:
		return read_queue(pci, offset);
	}
}

static uint64_t read_common(struct virtio_pci *pci, uint64_t offset, unsigned size)
{
	if (is_wide(offset, size))
		return read_field(pci, offset) | read_field(pci, offset + 4) << 32;
	return is_field(offset, size) ? read_field(pci, offset) : 0;
}

/* A vector that there is not reads back as none, by which the driver sees that it failed (4.1.5.1.2). */
static uint16_t vector_of(const struct virtio_pci *pci, uint64_t value)
{
	return pci->msix.controller && value < pci->msix.count ? (uint16_t)value : VIRTIO_PCI_NO_VECTOR;
}

static void enable_queue(struct virtio *virtio, uint64_t value)
{
	struct virtqueue *queue = virtio_selected(virtio);

	/* A driver never writes 0 (4.1.4.3.2). */
	if (!queue || value != 1)
		return;
	if (!queue->size)
		queue->size = queue->size_max;
	virtio_enable_queue(virtio, virtio->queue_select, true);
}

static void write_queue(struct virtio_pci *pci, uint64_t offset, uint32_t value)
{
	struct virtio *virtio = pci->virtio;

	switch (offset) {
	case QUEUE_SIZE:
		virtio_set_queue_size(virtio, value);
		break;
	case QUEUE_VECTOR:
		if (virtio_selected(virtio))
			pci->queue_vectors[virtio->queue_select] = vector_of(pci, value);
		break;
	case QUEUE_ENABLE:
		enable_queue(virtio, value);
		break;
	case QUEUE_RESET:
		if (value == 1)
			virtio_reset_queue(virtio, virtio->queue_select);
		break;
	case QUEUE_NOTIFY_OFFSET:
	case QUEUE_NOTIFY_DATA:
		break;
	default:
		virtio_set_queue_area(virtio, (enum virtio_area)((offset - QUEUE_DESCRIPTORS) / 8), offset & 4, value);
		break;
	}
}

static void write_field(struct virtio_pci *pci, uint64_t offset, uint32_t value)
{
	struct virtio *virtio = pci->virtio;

	switch (offset) {
	case DEVICE_FEATURE_SELECT:
		virtio->device_features_select = value;
		break;
	case DRIVER_FEATURE_SELECT:
		virtio->driver_features_select = value;
		break;
	case DRIVER_FEATURE:
		virtio_set_driver_features(virtio, virtio->driver_features_select, value);
		break;
	case CONFIG_VECTOR:
		pci->config_vector = vector_of(pci, value);
		break;
	case DEVICE_STATUS:
		virtio_set_status(virtio, (uint8_t)value);
		break;
	case QUEUE_SELECT:
		virtio->queue_select = value;
		break;
	case DEVICE_FEATURE:
	case NUM_QUEUES:
	case CONFIG_GENERATION:
		break;
	default:
		write_queue(pci, offset, value);
		break;
	}
}

static void write_common(struct virtio_pci *pci, uint64_t offset, uint64_t value, unsigned size)
{
	if (is_wide(offset, size)) {
		write_field(pci, offset, (uint32_t)value);
		write_field(pci, offset + 4, (uint32_t)(value >> 32));
	} else if (is_field(offset, size)) {
		write_field(pci, offset, (uint32_t)value);
	}
}

/* Reading it acknowledges all (4.1.4.5.1). */
static uint64_t take_interrupts(struct virtio *virtio)
{
	uint64_t status = virtio->interrupt_status;

	virtio->interrupt_status = 0;
	irq_set(&virtio->irq, false);
	return status;
}

static uint64_t read_device(struct virtio_pci *pci, uint64_t offset, unsigned size)
{
	struct virtio *virtio = pci->virtio;
	uint64_t value;

	pthread_mutex_lock(&virtio->device.lock);
	if (offset >= VIRTIO_PCI_DEVICE)
		value = virtio_read_config(virtio, offset - VIRTIO_PCI_DEVICE, size);
	else if (offset >= VIRTIO_PCI_ISR)
		value = offset == VIRTIO_PCI_ISR ? take_interrupts(virtio) : 0;
	else
		value = read_common(pci, offset, size);
	pthread_mutex_unlock(&virtio->device.lock);
	return value;
}

uint64_t virtio_pci_read(struct pci_function *function, unsigned bar, uint64_t offset, unsigned size)
{
	struct virtio_pci *pci = virtio_pci_of(function);

	(void)bar;
	virtio_count(&pci->virtio->device.reads, 1);
	if (offset < VIRTIO_PCI_TABLE)
		return read_device(pci, offset, size);
	if (!pci->msix.controller || offset >= VIRTIO_PCI_NOTIFY)
		return 0;
	return offset < VIRTIO_PCI_PENDING ? msix_read(&pci->msix, offset - VIRTIO_PCI_TABLE, size)
					   : msix_read_pending(&pci->msix, offset - VIRTIO_PCI_PENDING, size);
}

static void write_device(struct virtio_pci *pci, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio *virtio = pci->virtio;

	pthread_mutex_lock(&virtio->device.lock);
	virtio_enter(virtio);
	if (offset >= VIRTIO_PCI_DEVICE)
		virtio_write_config(virtio, offset - VIRTIO_PCI_DEVICE, value, size);
	else if (offset < VIRTIO_PCI_ISR)
		write_common(pci, offset, value, size);
	pthread_mutex_unlock(&virtio->device.lock);
}

void virtio_pci_write(struct pci_function *function, unsigned bar, uint64_t offset, uint64_t value, unsigned size)
{
	struct virtio_pci *pci = virtio_pci_of(function);

	(void)bar;
	virtio_count(&pci->virtio->device.writes, 1);
	if (offset >= VIRTIO_PCI_NOTIFY)
		virtio_kick(pci->virtio, (unsigned)(offset - VIRTIO_PCI_NOTIFY) / VIRTIO_PCI_NOTIFY_WIDTH);
	else if (offset < VIRTIO_PCI_TABLE)
		write_device(pci, offset, value, size);
	else if (offset < VIRTIO_PCI_PENDING && pci->msix.controller)
		msix_write(&pci->msix, offset - VIRTIO_PCI_TABLE, value, size);
}
