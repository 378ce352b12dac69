/*
 * Constructors of the platform devices. Each returns 0 and an object to be attached to the bus and, at the end, freed
 * with device_free; or -ENOMEM and a message. Interrupt lines and sinks are copied; what they point to must
 * outlive the device.
 */
#ifndef DOPPEL_DEVICE_DEVICES_H
#define DOPPEL_DEVICE_DEVICES_H

#include "base/clock.h"
#include "bus/power.h"
#include "device/device.h"
#include "riscv/hart.h"

/* Where a serial device's output goes. Called on a vCPU thread with the device's lock held: must not block for
 * long. */
struct serial_sink {
	void (*write)(void *console, const uint8_t *bytes, size_t length);
	void *console;
};

/* National Semiconductor 16550A UART with 16-byte FIFOs. */
MUST_USE int uart16550_new(struct device **out, const char *name, gpa_t base, struct irq_line irq,
			   struct serial_sink sink, struct error *e);
/* Any thread: input for the guest. Returns the bytes taken; the rest is offered again after `room` was called. */
size_t uart16550_receive(struct device *uart, const uint8_t *bytes, size_t length);
/* Called, with the device's lock held, on a vCPU thread when there is room for input again. */
void uart16550_on_room(struct device *uart, void (*room)(void *opaque), void *opaque);
/* Polled access for the SBI debug console, which shares the UART's back end: bytes that arrived and the guest's UART
 * driver has not read. Any thread. */
size_t uart16550_take_input(struct device *uart, uint8_t *bytes, size_t room);

/* Platform-Level Interrupt Controller 1.0.0: sources 1 to 95, an M and an S context a hart. */
MUST_USE int plic_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster,
		      struct error *e);
/* The wire of `source` into the PLIC. */
struct irq_line plic_line(struct device *plic, unsigned source);

/* ACLINT (1.0-rc4), laid out as the SiFive CLINT: mswi at 0, mtimer at 0x4000 (mtimecmp) and 0xbff8 (mtime). */
MUST_USE int aclint_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster,
			struct error *e);
/* ACLINT sswi: supervisor software interrupts, a word a hart. */
MUST_USE int aclint_sswi_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster,
			     struct error *e);

/* Goldfish RTC: host wall-clock time in nanoseconds, with an alarm. */
MUST_USE int goldfish_rtc_new(struct device **out, const char *name, gpa_t base, struct irq_line irq,
			      struct error *e);

/* SiFive test finisher, also the guest's syscon for power-off and reboot. */
MUST_USE int finisher_new(struct device **out, const char *name, gpa_t base, struct power_sink power,
			  struct error *e);

#endif
