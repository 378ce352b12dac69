/*
 * Constructors of the platform devices of a PC that lie at I/O ports: `base` is a port, and they go on a bus of ports.
 * As device/devices.h otherwise.
 */
#ifndef DOPPEL_DEVICE_PC_DEVICES_H
#define DOPPEL_DEVICE_PC_DEVICES_H

#include "bus/power.h"
#include "device/device.h"
#include "device/devices.h"

/* Motorola MC146818 real-time clock with 114 bytes of CMOS RAM: index and data register. It tells the host's wall-clock
 * time in UTC, plus what the guest set it off by; alarm, update and periodic interrupts (device.h: alarm). */
#define MC146818_PORTS   2
#define MC146818_CENTURY 0x32 /* where the century is: the FADT says so */
MUST_USE int mc146818_new(struct device **out, const char *name, gpa_t base, struct irq_line irq, struct error *e);

/* As much of Intel's 8042 as a guest needs that restarts the machine by it: the command "pulse the reset line" (0xfe) at
 * `base` + 4; status and data of a controller without keyboard. */
#define I8042_PORTS 5
MUST_USE int i8042_new(struct device **out, const char *name, gpa_t base, struct power_sink power,
		       struct error *e);

/* The end of a test program: a value v written there ends the machine with status (v << 1 | 1) & 0xff. Four bytes
 * whose low half is that of the test finisher of RISC-V boards mean what they mean there: 0x3333 with the status in the high
 * half, so that the same init tells any status on both. */
#define DEBUG_EXIT_PORTS 4
MUST_USE int debug_exit_new(struct device **out, const char *name, gpa_t base, struct power_sink power,
			    struct error *e);

/* The port by which a guest says that it panicked ("pvpanic", ACPI QEMU0001): bit 0 is a crash. Bit 1, that the guest has
 * a crash kernel which takes over, is noted in the log. */
#define PVPANIC_PORTS 1
MUST_USE int pvpanic_new(struct device **out, const char *name, gpa_t base, struct power_sink power,
			 struct error *e);

/* What ACPI's hardware-reduced model has of fixed hardware (ACPI 6.4, 4.8.3.7), and events: of the power button, and that the
 * machine was copied or taken back. */
enum acpi_power_register {
	ACPI_POWER_SLEEP_CONTROL = 0,
	ACPI_POWER_SLEEP_STATUS = 1,
	ACPI_POWER_RESET = 2,
	ACPI_POWER_EVENTS = 4, /* what happened since the last read, which lowers the wire */
	ACPI_POWER_PORTS = 5,
};
#define ACPI_POWER_SLEEP_OFF     5 /* the sleep type of S5 */
#define ACPI_POWER_RESET_VALUE   1
#define ACPI_POWER_EVENT_PRESSED 1
#define ACPI_POWER_EVENT_COPIED  2
MUST_USE int acpi_power_new(struct device **out, const char *name, gpa_t base, struct irq_line irq,
			    struct power_sink power, struct error *e);
/* The power button, pressed for a moment. Any thread but one with the device locked. */
void acpi_power_press(struct device *power);
/* The machine's generation, which the board keeps in the guest's memory too, is another now. Owner's thread. */
void acpi_power_renew(struct device *power, const uint8_t id[VMGENID_BYTES]);
const uint8_t *acpi_power_generation(const struct device *power);

extern const struct device_type acpi_power_type, debug_exit_type, i8042_type, mc146818_type, pvpanic_type;

#endif
