#include <errno.h>
#include <stdlib.h>

#include "device/pc/devices.h"

#define FINISHER_FAIL 0x3333

struct debug_exit {
	struct device device;
	struct power_sink power;
};

static uint64_t debug_exit_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)offset;
	(void)size;
	return 0;
}

/* A status that only looks like success is none. */
static unsigned finisher_code(uint64_t value)
{
	unsigned code = (unsigned)(value >> 16) & 0xffff;

	return code && !(code & 0xff) ? 1 : code & 0xff;
}

static void debug_exit_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct debug_exit *debug_exit = device;

	(void)offset;
	if (size == 4 && (value & 0xffff) == FINISHER_FAIL)
		power_request(&debug_exit->power, POWER_OFF, finisher_code(value));
	else
		power_request(&debug_exit->power, POWER_OFF, (unsigned)(value << 1 | 1) & 0xff);
}

static const struct bus_ops debug_exit_ops = {
	.read = debug_exit_read,
	.write = debug_exit_write,
	.sizes = 1 | 2 | 4,
};

const struct device_type debug_exit_type = {
	.name = "debug-exit",
	.help = "debug exit port: ends the machine with a status that a test program chooses",
	.ops = &debug_exit_ops,
	.destroy = device_destroy_plain,
};

int debug_exit_new(struct device **out, const char *name, gpa_t base, struct power_sink power, struct error *e)
{
	struct debug_exit *debug_exit = calloc(1, sizeof *debug_exit);

	if (!debug_exit)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&debug_exit->device, &debug_exit_type, name, base, DEBUG_EXIT_PORTS);
	debug_exit->power = power;
	*out = &debug_exit->device;
	return 0;
}
