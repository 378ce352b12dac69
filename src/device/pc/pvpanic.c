/* The panic port (QEMU, docs/specs/pvpanic). A read tells which events are understood. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "device/pc/devices.h"

enum { PANICKED = 1, CRASH_LOADED = 2 };

struct pvpanic {
	struct device device;
	struct power_sink power;
};

static uint64_t pvpanic_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)offset;
	(void)size;
	return PANICKED | CRASH_LOADED;
}

static void pvpanic_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct pvpanic *pvpanic = device;

	(void)offset;
	(void)size;
	if (value & PANICKED)
		power_request(&pvpanic->power, POWER_CRASH, 0);
	else if (value & CRASH_LOADED)
		log_guest(LOG_WARNING, "pvpanic", "the guest panicked, and its crash kernel takes over");
}

static const struct bus_ops pvpanic_ops = {.read = pvpanic_read, .write = pvpanic_write, .sizes = 1};

const struct device_type pvpanic_type = {
	.name = "pvpanic",
	.help = "panic port: the guest says that it crashed",
	.ops = &pvpanic_ops,
	.destroy = device_destroy_plain,
};

int pvpanic_new(struct device **out, const char *name, gpa_t base, struct power_sink power, struct error *e)
{
	struct pvpanic *pvpanic = calloc(1, sizeof *pvpanic);

	if (!pvpanic)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&pvpanic->device, &pvpanic_type, name, base, PVPANIC_PORTS);
	pvpanic->power = power;
	*out = &pvpanic->device;
	return 0;
}
