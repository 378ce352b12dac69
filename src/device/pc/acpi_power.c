/*
 * Sleep and reset registers, and the events of a generic event device (ACPI 6.4, 4.8.3.7, 4.8.3.6 and 5.6.9).
 *
 * The events' wire is level-triggered: up from the press until the guest's _EVT method has read the events.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "device/pc/devices.h"

enum { SLEEP_ENABLE = 0x20, SLEEP_TYPE_SHIFT = 2, SLEEP_TYPE_MASK = 7 };

struct acpi_power {
	struct device device;
	struct irq_line irq;
	struct power_sink power;
	uint8_t events;
	uint8_t generation[VMGENID_BYTES];
};

static void drive(struct acpi_power *acpi)
{
	irq_set(&acpi->irq, acpi->events != 0);
}

static uint64_t acpi_power_read(void *device, uint64_t offset, unsigned size)
{
	struct acpi_power *acpi = device;
	uint8_t events = acpi->events;

	(void)size;
	if (offset != ACPI_POWER_EVENTS)
		return 0;
	acpi->events = 0;
	drive(acpi);
	return events;
}

static void sleep_written(struct acpi_power *acpi, uint8_t value)
{
	unsigned type = value >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK;

	if (!(value & SLEEP_ENABLE))
		return;
	if (type == ACPI_POWER_SLEEP_OFF)
		power_request(&acpi->power, POWER_OFF, 0);
	else
		log_guest(LOG_DEBUG, "acpi", "ignored sleep type %u", type);
}

static void acpi_power_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct acpi_power *acpi = device;

	(void)size;
	if (offset == ACPI_POWER_SLEEP_CONTROL)
		sleep_written(acpi, (uint8_t)value);
	else if (offset == ACPI_POWER_RESET && (uint8_t)value == ACPI_POWER_RESET_VALUE)
		power_request(&acpi->power, POWER_RESET, 0);
}

static void tell(struct acpi_power *acpi, uint8_t event)
{
	pthread_mutex_lock(&acpi->device.lock);
	acpi->events |= event;
	drive(acpi);
	pthread_mutex_unlock(&acpi->device.lock);
}

void acpi_power_press(struct device *device)
{
	tell((struct acpi_power *)device, ACPI_POWER_EVENT_PRESSED);
}

void acpi_power_renew(struct device *device, const uint8_t id[VMGENID_BYTES])
{
	struct acpi_power *acpi = (struct acpi_power *)device;

	memcpy(acpi->generation, id, sizeof acpi->generation);
	tell(acpi, ACPI_POWER_EVENT_COPIED);
}

const uint8_t *acpi_power_generation(const struct device *device)
{
	return ((const struct acpi_power *)device)->generation;
}

static void acpi_power_loaded(struct device *device)
{
	drive((struct acpi_power *)device);
}

static void acpi_power_reset(struct device *device)
{
	((struct acpi_power *)device)->events = 0;
	acpi_power_loaded(device);
}

static int acpi_power_validate(const void *shadow, struct error *e)
{
	const struct acpi_power *acpi = shadow;

	if (!(acpi->events & ~(ACPI_POWER_EVENT_PRESSED | ACPI_POWER_EVENT_COPIED)))
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL, "ACPI state: unknown events 0x%x", acpi->events);
}

static const struct state_field acpi_power_fields[] = {
	STATE_FIELD(struct acpi_power, events, STATE_U8),
	STATE_FIELD_SINCE(struct acpi_power, generation, STATE_U8, 2, 0),
};

static const struct state_descriptor acpi_power_state = {
	.kind = "acpi-power",
	.version = 2,
	.oldest = 1,
	.object_size = sizeof(struct acpi_power),
	.fields = acpi_power_fields,
	.field_count = ARRAY_SIZE(acpi_power_fields),
	.validate = acpi_power_validate,
};

static const struct bus_ops acpi_power_ops = {.read = acpi_power_read, .write = acpi_power_write, .sizes = 1};

const struct device_type acpi_power_type = {
	.name = "acpi-power",
	.help = "ACPI sleep and reset registers, the power button, the machine's generation",
	.state = &acpi_power_state,
	.ops = &acpi_power_ops,
	.reset = acpi_power_reset,
	.loaded = acpi_power_loaded,
	.destroy = device_destroy_plain,
};

int acpi_power_new(struct device **out, const char *name, gpa_t base, struct irq_line irq, struct power_sink power,
		   struct error *e)
{
	struct acpi_power *acpi = calloc(1, sizeof *acpi);

	if (!acpi)
		return error_errno(e, -ENOMEM, "device %s", name);
	acpi->irq = irq;
	acpi->power = power;
	if (getrandom(acpi->generation, sizeof acpi->generation, 0) != (ssize_t)sizeof acpi->generation) {
		free(acpi);
		return error_errno(e, -EIO, "random numbers");
	}
	device_init(&acpi->device, &acpi_power_type, name, base, ACPI_POWER_PORTS);
	*out = &acpi->device;
	return 0;
}
