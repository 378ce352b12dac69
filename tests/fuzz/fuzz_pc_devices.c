/*
 * The registers of a PC's devices at ports as a hostile guest, host and state file see them. The input is a sequence of
 * operations of four bytes: what, where, and a value.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "device/pc/devices.h"

#define DEVICES    5
#define OPERATIONS 2048 /* bounds one run */

struct platform {
	struct bus ports;
	struct device *devices[DEVICES];
	struct device *rtc, *acpi;
	bool levels[16];
};

static void on_line(void *platform, unsigned number, bool level)
{
	((struct platform *)platform)->levels[number] = level;
}

static void on_power(void *platform, enum power_action action, unsigned code)
{
	(void)platform;
	assert(action == POWER_OFF || action == POWER_RESET || action == POWER_CRASH);
	assert(code <= 255);
}

static void start(struct platform *p)
{
	const struct irq_line line = {on_line, p, 8}, event = {on_line, p, 9};
	const struct power_sink power = {on_power, p};
	int failed = mc146818_new(&p->devices[0], "rtc", gpa(0x70), line, NULL);

	failed |= acpi_power_new(&p->devices[1], "power", gpa(0x600), event, power, NULL);
	failed |= i8042_new(&p->devices[2], "i8042", gpa(0x60), power, NULL);
	failed |= debug_exit_new(&p->devices[3], "exit", gpa(0xf4), power, NULL);
	failed |= pvpanic_new(&p->devices[4], "pvpanic", gpa(0x505), power, NULL);
	assert(!failed);
	p->rtc = p->devices[0];
	p->acpi = p->devices[1];
	bus_init(&p->ports);
	for (unsigned i = 0; i < DEVICES; i++) {
		failed |= device_attach(p->devices[i], &p->ports, NULL);
		device_reset(p->devices[i]);
	}
	assert(!failed);
}

/* What was saved loads again; with a byte changed it is refused, or makes a state that works. */
static void save_and_load(struct device *device, size_t at, uint8_t change)
{
	struct state_section section;
	struct state_writer w;
	struct state_reader r;
	uint8_t *payload;

	state_writer_init(&w);
	device_save(device, &w);
	assert(!w.failed);
	state_reader_init(&r, w.bytes, w.length);
	if (state_next(&r, &section, NULL) == 1 && section.length) {
		payload = malloc(section.length);
		assert(payload);
		memcpy(payload, section.payload, section.length);
		payload[at % section.length] ^= change;
		section.payload = payload;
		if (device_load(device, &section, NULL) < 0)
			assert(change);
		free(payload);
	}
	state_writer_finish(&w);
}

static void operate(struct platform *p, const uint8_t op[4])
{
	static const uint16_t bases[] = {0x70, 0x600, 0x60, 0xf4, 0x505};
	uint16_t port = (uint16_t)(bases[op[1] % DEVICES] + (op[1] >> 4) % 6);
	unsigned size = 1u << (op[2] & 3);
	uint64_t value = op[3];
	int r = 0;

	switch (op[0] % 8) {
	case 0:
	case 1:
		r = bus_read(&p->ports, gpa(port), size, &value);
		break;
	case 2:
	case 3:
		r = bus_write(&p->ports, gpa(port), size, value * 0x01010101);
		break;
	case 4:
		/* A register of the clock, which takes two accesses. */
		r = bus_write(&p->ports, gpa(0x70), 1, op[2]);
		assert(r == 0);
		r = bus_write(&p->ports, gpa(0x71), 1, value);
		break;
	case 5:
		(void)mc146818_type.alarm->next(p->rtc);
		mc146818_type.alarm->poll(p->rtc);
		break;
	case 6:
		acpi_power_press(p->acpi);
		assert(p->levels[9]);
		break;
	default:
		save_and_load(p->devices[op[1] % DEVICES], op[2], op[3]);
	}
	/* Nothing answers there, or not so. */
	assert(r == 0 || r == -EFAULT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct platform p = {0};

	log_set_level(LOG_ERROR);
	start(&p);
	for (size_t i = 0; i + 4 <= size && i < 4 * OPERATIONS; i += 4)
		operate(&p, data + i);
	for (unsigned i = 0; i < DEVICES; i++)
		device_free(p.devices[i]);
	return 0;
}
