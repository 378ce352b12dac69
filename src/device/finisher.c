/* SiFive test finisher: one register. The syscon-poweroff and syscon-reboot nodes let a guest's generic drivers
 * use it. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "device/describe.h"
#include "device/devices.h"

#define WINDOW_SIZE 0x1000

enum { FINISH_FAIL = 0x3333, FINISH_PASS = 0x5555, FINISH_RESET = 0x7777 };

struct finisher {
	struct device device;
	struct power_sink power;
};

static uint64_t finisher_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)offset;
	(void)size;
	return 0;
}

static unsigned exit_code(uint64_t value)
{
	unsigned code = (unsigned)(value >> 16) & 0xffff;

	return code && !(code & 0xff) ? 1 : code & 0xff;
}

static void finisher_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct finisher *finisher = device;

	(void)size;
	if (offset)
		return;
	switch (value & 0xffff) {
	case FINISH_PASS:
		power_request(&finisher->power, POWER_OFF, 0);
		break;
	case FINISH_FAIL:
		power_request(&finisher->power, POWER_OFF, exit_code(value));
		break;
	case FINISH_RESET:
		power_request(&finisher->power, POWER_RESET, 0);
		break;
	default:
		log_guest(LOG_DEBUG, "finisher", "ignored value 0x%llx", (unsigned long long)value);
	}
}

static void describe_syscon(struct fdt_writer *fdt, const char *node, const char *compatible, uint32_t regmap,
			    uint32_t value)
{
	fdt_node(fdt, "%s", node);
	fdt_text(fdt, "compatible", compatible);
	fdt_u32(fdt, "regmap", regmap);
	fdt_u32(fdt, "offset", 0);
	fdt_u32(fdt, "value", value);
	fdt_end(fdt);
}

static void finisher_describe(struct device *device, struct fdt_writer *fdt)
{
	static const char *const compatible[] = {"sifive,test1", "sifive,test0", "syscon", NULL};
	uint32_t phandle = fdt_new_phandle(fdt);

	fdt_node(fdt, "test@%llx", (unsigned long long)device->base.value);
	fdt_texts(fdt, "compatible", compatible);
	fdt_reg(fdt, device->base, device->size);
	fdt_u32(fdt, "phandle", phandle);
	fdt_end(fdt);
	describe_syscon(fdt, "poweroff", "syscon-poweroff", phandle, FINISH_PASS);
	describe_syscon(fdt, "reboot", "syscon-reboot", phandle, FINISH_RESET);
}

static const struct bus_ops finisher_ops = {.read = finisher_read, .write = finisher_write, .sizes = 2 | 4};

const struct device_type finisher_type = {
	.name = "finisher",
	.help = "SiFive test finisher: the guest's power-off, exit status and reboot",
	.ops = &finisher_ops,
	.describe = finisher_describe,
	.destroy = device_destroy_plain,
};

int finisher_new(struct device **out, const char *name, gpa_t base, struct power_sink power, struct error *e)
{
	struct finisher *finisher = calloc(1, sizeof *finisher);

	if (!finisher)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&finisher->device, &finisher_type, name, base, WINDOW_SIZE);
	finisher->power = power;
	*out = &finisher->device;
	return 0;
}
