/* The keyboard controller's reset line (Intel 8042; IBM PC AT Technical Reference, keyboard controller). */
#include <errno.h>
#include <stdlib.h>

#include "device/pc/devices.h"

enum { DATA = 0, STATUS_COMMAND = 4 };
enum { STATUS_SYSTEM = 0x04, STATUS_UNLOCKED = 0x10 };
enum { COMMAND_PULSE_RESET = 0xfe };

struct i8042 {
	struct device device;
	struct power_sink power;
};

/* Both buffers are empty always: whoever waits to write may, and there is nothing to read. */
static uint64_t i8042_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)size;
	return offset == STATUS_COMMAND ? STATUS_SYSTEM | STATUS_UNLOCKED : 0;
}

static void i8042_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct i8042 *i8042 = device;

	(void)size;
	if (offset == STATUS_COMMAND && (uint8_t)value == COMMAND_PULSE_RESET)
		power_request(&i8042->power, POWER_RESET, 0);
}

static const struct bus_ops i8042_ops = {.read = i8042_read, .write = i8042_write, .sizes = 1};

const struct device_type i8042_type = {
	.name = "i8042",
	.help = "8042 keyboard controller, its reset line only",
	.ops = &i8042_ops,
	.destroy = device_destroy_plain,
};

int i8042_new(struct device **out, const char *name, gpa_t base, struct power_sink power, struct error *e)
{
	struct i8042 *i8042 = calloc(1, sizeof *i8042);

	if (!i8042)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&i8042->device, &i8042_type, name, base, I8042_PORTS);
	i8042->power = power;
	*out = &i8042->device;
	return 0;
}
