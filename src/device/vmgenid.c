/*
 * The machine's generation: 16 bytes that are others after the machine was copied or taken back to a snapshot. Linux's driver
 * ("microsoft,vmgenid", from 6.10 by device tree) reads them when the interrupt comes, mixes them into its random pool and
 * reseeds at once.
 *
 * The wire stays raised until the last of the bytes is read, so that no change is missed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/describe.h"
#include "device/devices.h"

#define WINDOW_SIZE 0x1000

struct vmgenid {
	struct device device;
	struct irq_line irq;
	uint8_t id[VMGENID_BYTES];
	bool told; /* the guest has read it */
};

static uint64_t vmgenid_read(void *device, uint64_t offset, unsigned size)
{
	struct vmgenid *vmgenid = device;
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		if (offset + i < VMGENID_BYTES)
			value |= (uint64_t)vmgenid->id[offset + i] << (8 * i);
	if (offset < VMGENID_BYTES && offset + size >= VMGENID_BYTES && !vmgenid->told) {
		vmgenid->told = true;
		irq_set(&vmgenid->irq, false);
	}
	return value;
}

static void vmgenid_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	(void)device;
	(void)offset;
	(void)value;
	(void)size;
}

static void vmgenid_loaded(struct device *device)
{
	struct vmgenid *vmgenid = (struct vmgenid *)device;

	irq_set(&vmgenid->irq, !vmgenid->told);
}

static void vmgenid_reset(struct device *device)
{
	struct vmgenid *vmgenid = (struct vmgenid *)device;

	vmgenid->told = true;
	irq_set(&vmgenid->irq, false);
}

void vmgenid_renew(struct device *device, const uint8_t id[VMGENID_BYTES])
{
	struct vmgenid *vmgenid = (struct vmgenid *)device;

	pthread_mutex_lock(&device->lock);
	memcpy(vmgenid->id, id, sizeof vmgenid->id);
	vmgenid->told = false;
	irq_set(&vmgenid->irq, true);
	pthread_mutex_unlock(&device->lock);
}

static void vmgenid_describe(struct device *device, struct fdt_writer *fdt)
{
	fdt_node(fdt, "generation@%llx", (unsigned long long)device->base.value);
	fdt_text(fdt, "compatible", "microsoft,vmgenid");
	fdt_reg(fdt, device->base, device->size);
	fdt_interrupt(fdt, ((struct vmgenid *)device)->irq.number);
	fdt_end(fdt);
}

static const struct bus_ops vmgenid_ops = {.read = vmgenid_read, .write = vmgenid_write, .sizes = 1 | 2 | 4 | 8};

static const struct state_field fields[] = {
	STATE_FIELD(struct vmgenid, id, STATE_U8),
	STATE_FIELD(struct vmgenid, told, STATE_BOOL),
};

static const struct state_descriptor vmgenid_state = {
	.kind = "vmgenid",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct vmgenid),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
};

const struct device_type vmgenid_type = {
	.name = "vmgenid",
	.help = "the machine's generation: tells a guest that it was copied or taken back",
	.state = &vmgenid_state,
	.ops = &vmgenid_ops,
	.reset = vmgenid_reset,
	.loaded = vmgenid_loaded,
	.describe = vmgenid_describe,
	.destroy = device_destroy_plain,
};

int vmgenid_new(struct device **out, const char *name, gpa_t base, struct irq_line irq, struct error *e)
{
	struct vmgenid *vmgenid = calloc(1, sizeof *vmgenid);

	if (!vmgenid)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&vmgenid->device, &vmgenid_type, name, base, WINDOW_SIZE);
	vmgenid->irq = irq;
	vmgenid->told = true;
	*out = &vmgenid->device;
	return 0;
}
