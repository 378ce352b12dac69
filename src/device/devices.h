/*
 * Constructors of the platform devices. Each returns 0 and an object to be attached to the bus and, at the end,
 * freed with device_free; or -ENOMEM and a message. Interrupt lines and sinks are copied; what they point to
 * must outlive the device. Functions other than constructors take the device's lock themselves.
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

/* National Semiconductor 16550A UART with 16-byte FIFOs. Its window is that of the virt machine; where it is narrower, the
 * board sets the device's `size` to UART16550_PORTS. */
#define UART16550_PORTS 8
MUST_USE int uart16550_new(struct device **out, const char *name, gpa_t base, struct irq_line irq,
			   struct serial_sink sink, struct error *e);
/* Any thread: input for the guest. Returns the bytes taken; the rest is offered again after `room` was called.
 * Behind the 16-byte FIFO that the guest sees, UART16550_INPUT_MAX bytes wait as if still on the wire. */
#define UART16550_INPUT_MAX 256
size_t uart16550_receive(struct device *uart, const uint8_t *bytes, size_t length);
/* Called, with the device's lock held, when there is room again after a receive that took less than it was
 * offered: on a vCPU thread, or the owner's at reset and load. It must not call the device; let it wake whoever
 * does. */
void uart16550_on_room(struct device *uart, void (*room)(void *opaque), void *opaque);
/* Polled access for the SBI debug console, which shares the UART's back end: bytes that arrived and the guest's
 * UART driver has not read. Any thread. */
size_t uart16550_take_input(struct device *uart, uint8_t *bytes, size_t room);

/* Platform-Level Interrupt Controller 1.0.0: sources 1 to PLIC_SOURCES, contexts 2i (M) and 2i + 1 (S) of hart i.
 * The cluster's harts must exist at the first reset. */
#define PLIC_SOURCES 95
MUST_USE int plic_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster,
		      struct error *e);
/* The wire of `source`, 1 to PLIC_SOURCES, into the PLIC. Any thread may drive it, also under another device's
 * lock. */
struct irq_line plic_line(struct device *plic, unsigned source);

/* ACLINT (1.0-rc4), laid out as the SiFive CLINT: mswi at 0, mtimer at 0x4000 (mtimecmp) and 0xbff8 (mtime). A
 * write to mtime moves this device's view of the clock (an offset that mtime and mtimecmp share), never the
 * clock itself: the `time` CSR of the harts stays what it was. */
MUST_USE int aclint_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster,
			struct error *e);
/* ACLINT sswi: supervisor software interrupts, a word a hart. */
MUST_USE int aclint_sswi_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster,
			     struct error *e);

/* Goldfish RTC: host wall-clock time in nanoseconds since 1970, plus what the guest set it off by, with an
 * alarm. */
MUST_USE int goldfish_rtc_new(struct device **out, const char *name, gpa_t base, struct irq_line irq,
			      struct error *e);
/* The alarm needs a timer of the machine's: host CLOCK_REALTIME nanoseconds at which goldfish_rtc_poll is due, or
 * UINT64_MAX while no alarm is set. Any thread. */
uint64_t goldfish_rtc_next_alarm(struct device *rtc);
/* Raises the alarm when it is due. Any thread; early, late or needless calls do no harm. */
void goldfish_rtc_poll(struct device *rtc);
/* Called, with the device's lock held, when next_alarm has changed: on a vCPU thread, or the owner's at reset
 * and load. It must not call the device; let it wake the event loop, which asks next_alarm. */
void goldfish_rtc_on_alarm(struct device *rtc, void (*changed)(void *opaque), void *opaque);

/* SiFive test finisher, also the guest's syscon for power-off and reboot. A failure's 16-bit code becomes an exit
 * status: its low byte, or 1 when that alone would read as success. */
MUST_USE int finisher_new(struct device **out, const char *name, gpa_t base, struct power_sink power,
			  struct error *e);

/* The machine's generation (device/vmgenid.c). renew: the guest is told that it is another now. Owner's thread. */
#define VMGENID_BYTES 16
MUST_USE int vmgenid_new(struct device **out, const char *name, gpa_t base, struct irq_line irq,
			 struct error *e);
void vmgenid_renew(struct device *vmgenid, const uint8_t id[VMGENID_BYTES]);

extern const struct device_type vmgenid_type;
extern const struct device_type aclint_type, aclint_sswi_type, finisher_type, goldfish_rtc_type, plic_type,
	uart16550_type;

#endif
