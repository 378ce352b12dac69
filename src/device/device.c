#include "device/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void device_init(struct device *device, const struct device_type *type, const char *name, gpa_t base,
		 uint64_t size)
{
	device->type = type;
	device->base = base;
	device->size = size;
	device->ops = type->ops;
	snprintf(device->name, sizeof device->name, "%s", name);
	pthread_mutex_init(&device->lock, NULL);
}

void device_finish(struct device *device)
{
	pthread_mutex_destroy(&device->lock);
}

void device_destroy_plain(struct device *device)
{
	device_finish(device);
	free(device);
}

int device_attach(struct device *device, struct bus *bus, struct error *e)
{
	const struct bus_region region = {
		.base = device->base,
		.size = device->size,
		.ops = device->ops,
		.device = device,
		.lock = &device->lock,
		.name = device->name,
	};

	return region.ops ? bus_add(bus, &region, e) : 0;
}

void device_reset(struct device *device)
{
	if (!device->type->reset)
		return;
	pthread_mutex_lock(&device->lock);
	device->type->reset(device);
	pthread_mutex_unlock(&device->lock);
}

void device_pause(struct device *device)
{
	if (device->type->pause)
		device->type->pause(device);
}

void device_resume(struct device *device)
{
	if (device->type->resume)
		device->type->resume(device);
}

void device_describe(struct device *device, struct fdt_writer *fdt)
{
	if (device->type->describe)
		device->type->describe(device, fdt);
}

void device_free(struct device *device)
{
	if (device)
		device->type->destroy(device);
}

void device_save(struct device *device, struct state_writer *w)
{
	if (!device->type->state)
		return;
	pthread_mutex_lock(&device->lock);
	state_save(w, device->type->state, device->name, device);
	pthread_mutex_unlock(&device->lock);
}

int device_load(struct device *device, const struct state_section *section, struct error *e)
{
	const struct device_type *type = device->type;
	int result;

	if (!type->state || strcmp(section->instance, device->name) != 0)
		return error_set(e, ERROR_USAGE, -EBADMSG, "state of %s \"%s\" does not belong to device \"%s\"",
				 section->kind, section->instance, device->name);
	pthread_mutex_lock(&device->lock);
	result = state_load(section, type->state, device, e);
	if (!result && type->loaded)
		type->loaded(device);
	pthread_mutex_unlock(&device->lock);
	return result;
}
