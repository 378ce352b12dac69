/* Registers that every transport has, each at places of its own. */
#include "device/virtio/virtio.h"

uint32_t virtio_read_features(const struct virtio *virtio, uint32_t word)
{
	return word > 1 ? 0 : (uint32_t)(virtio_offered(virtio) >> (32 * word));
}

struct virtqueue *virtio_selected(struct virtio *virtio)
{
	return virtio->queue_select < virtio->queue_count ? &virtio->queues[virtio->queue_select] : NULL;
}

void virtio_set_queue_size(struct virtio *virtio, uint32_t size)
{
	struct virtqueue *queue = virtio_selected(virtio);

	if (queue && !queue->ready)
		queue->size = size <= queue->size_max ? (uint16_t)size : 0;
}

void virtio_set_queue_area(struct virtio *virtio, enum virtio_area area, bool high, uint32_t half)
{
	struct virtqueue *queue = virtio_selected(virtio);
	uint64_t *whole;

	if (!queue || queue->ready)
		return;
	whole = area == VIRTIO_DESCRIPTORS ? &queue->descriptors
		: area == VIRTIO_DRIVER_AREA ? &queue->driver : &queue->device;
	*whole = high ? (uint32_t)*whole | (uint64_t)half << 32 : (*whole & ~UINT64_C(0xffffffff)) | half;
}

uint64_t virtio_read_config(const struct virtio *virtio, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size && offset + i < virtio->config_size; i++)
		value |= (uint64_t)virtio->config[offset + i] << (8 * i);
	return value;
}

void virtio_write_config(struct virtio *virtio, uint64_t offset, uint64_t value, unsigned size)
{
	if (!virtio->kind->config_written || offset + size > virtio->config_size)
		return;
	for (unsigned i = 0; i < size; i++)
		virtio->config[offset + i] = (uint8_t)(value >> (8 * i));
	virtio->kind->config_written(virtio, (uint32_t)offset, size);
}
