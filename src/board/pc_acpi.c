/* What the pc board says of itself by ACPI 6.4: FADT, MADT, MCFG, DSDT. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "board/pc.h"
#include "board/pc_map.h"
#include "device/pc/devices.h"
#include "x86/aml.h"

/* 5.2.9: offsets of the fields that are not 0, and what is in them. */
enum {
	FADT_DSDT = 40,
	FADT_PROFILE = 45,
	FADT_CENTURY = 108,
	FADT_BOOT_FLAGS = 109,
	FADT_FLAGS = 112,
	FADT_RESET_REGISTER = 116,
	FADT_RESET_VALUE = 128,
	FADT_MINOR = 131,
	FADT_X_DSDT = 140,
	FADT_SLEEP_CONTROL = 244,
	FADT_SLEEP_STATUS = 256,
	FADT_HYPERVISOR = 268,
};
#define PROFILE_SERVER      4
#define BOOT_NO_VGA         (1u << 2)
#define BOOT_LEGACY_DEVICES (1u << 0) /* no flag for an 8042: guests need not look for a keyboard */
#define FLAG_WBINVD         (1u << 0)
#define FLAG_NO_FIXED_POWER (1u << 4)
#define FLAG_NO_FIXED_SLEEP (1u << 5)
#define FLAG_RESET_REGISTER (1u << 10)
#define FLAG_REDUCED        (1u << 20)

static struct acpi_register port(unsigned offset)
{
	return (struct acpi_register){ACPI_PORTS, 8, PC_PORT_ACPI + offset};
}

static void write_fadt(struct acpi_writer *w, uint64_t dsdt)
{
	acpi_begin(w, "FACP", 6);
	acpi_zero_to(w, FADT_DSDT);
	acpi_put32(w, (uint32_t)dsdt);
	acpi_zero_to(w, FADT_PROFILE);
	acpi_put8(w, PROFILE_SERVER);
	acpi_zero_to(w, FADT_CENTURY);
	acpi_put8(w, MC146818_CENTURY);
	acpi_put16(w, BOOT_LEGACY_DEVICES | BOOT_NO_VGA);
	acpi_zero_to(w, FADT_FLAGS);
	acpi_put32(w,
		   FLAG_WBINVD | FLAG_NO_FIXED_POWER | FLAG_NO_FIXED_SLEEP | FLAG_RESET_REGISTER | FLAG_REDUCED);
	acpi_put_register(w, port(ACPI_POWER_RESET));
	acpi_put8(w, ACPI_POWER_RESET_VALUE);
	acpi_zero_to(w, FADT_MINOR);
	acpi_put8(w, 4);
	acpi_zero_to(w, FADT_X_DSDT);
	acpi_put64(w, dsdt);
	acpi_zero_to(w, FADT_SLEEP_CONTROL);
	acpi_put_register(w, port(ACPI_POWER_SLEEP_CONTROL));
	acpi_put_register(w, port(ACPI_POWER_SLEEP_STATUS));
	acpi_put(w, "DOPPEL\0", 8);
	acpi_end(w);
}

/* 5.2.12 */
enum { MADT_LOCAL_APIC = 0, MADT_IOAPIC = 1, MADT_LOCAL_NMI = 4 };
#define MADT_HAS_8259S 1u
#define MADT_ENABLED   1u

static void write_madt(struct acpi_writer *w, unsigned cpus)
{
	acpi_begin(w, "APIC", 5);
	acpi_put32(w, (uint32_t)X86_LAPIC_BASE);
	acpi_put32(w, MADT_HAS_8259S);
	for (unsigned i = 0; i < cpus; i++) {
		acpi_put8(w, MADT_LOCAL_APIC);
		acpi_put8(w, 8);
		acpi_put8(w, (uint8_t)i); /* _UID of its device */
		acpi_put8(w, (uint8_t)i);
		acpi_put32(w, MADT_ENABLED);
	}
	acpi_put8(w, MADT_IOAPIC);
	acpi_put8(w, 12);
	acpi_put16(w, 0);
	acpi_put32(w, (uint32_t)X86_IOAPIC_BASE);
	acpi_put32(w, 0);
	/* Of every CPU, as the bus has it, at LINT1. */
	acpi_put8(w, MADT_LOCAL_NMI);
	acpi_put8(w, 6);
	acpi_put8(w, 0xff);
	acpi_put16(w, 0);
	acpi_put8(w, 1);
	acpi_end(w);
}

static void numbered(char name[8], const char *prefix, unsigned number)
{
	snprintf(name, 8, "%.2s%02u", prefix, number % 100);
}

static void write_cpus(struct acpi_writer *w, unsigned cpus)
{
	char name[8];

	for (unsigned i = 0; i < cpus; i++) {
		numbered(name, "CP", i);
		aml_device(w, name);
		aml_name_text(w, "_HID", "ACPI0007");
		aml_name_integer(w, "_UID", i);
		aml_end(w);
	}
}

/* Devices at ports: their _HID is one of ACPI's own, in compressed form, or another's, as text. */
static const struct port_device {
	const char *name, *eisa, *text;
	uint16_t port;
	uint8_t ports;
	uint8_t line; /* 0: none */
} port_devices[] = {
	{"COM1", "PNP0501", NULL, PC_PORT_COM1, UART16550_PORTS, PC_LINE_COM1},
	{"RTC", "PNP0B00", NULL, PC_PORT_RTC, MC146818_PORTS, PC_LINE_RTC},
	{"PEVT", NULL, "QEMU0001", PC_PORT_PVPANIC, PVPANIC_PORTS, 0},
};

static void write_port_devices(struct acpi_writer *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(port_devices); i++) {
		const struct port_device *d = &port_devices[i];

		aml_device(w, d->name);
		if (d->eisa)
			aml_name_eisa(w, "_HID", d->eisa);
		else
			aml_name_text(w, "_HID", d->text);
		aml_name_integer(w, "_UID", 0);
		aml_resources(w, "_CRS");
		aml_io(w, d->port, d->ports);
		if (d->line)
			aml_interrupt(w, d->line, AML_EDGE);
		aml_end(w);
		aml_end(w);
	}
}

/* As Microsoft's "Virtual Machine Generation ID" has it. Drivers know it by its _CID; the _HID is the maker's. */
static void write_generation(struct acpi_writer *w)
{
	aml_device(w, "VGEN");
	aml_name_text(w, "_HID", "DOPL0001");
	aml_name_text(w, "_CID", "VM_Gen_Counter");
	aml_name_text(w, "_DDN", "VM_Gen_Counter");
	aml_name(w, "ADDR");
	aml_package(w, 2);
	aml_integer(w, (uint32_t)PC_GENERATION);
	aml_integer(w, PC_GENERATION >> 32);
	aml_end(w);
	aml_end(w);
}

/* The button, the generation, and the generic event device whose interrupt says that something is with one of them (5.6.9). */
static void write_events(struct acpi_writer *w)
{
	enum { CHANGED = 0x80 };

	aml_device(w, "PWRB");
	aml_name_eisa(w, "_HID", "PNP0C0C");
	aml_name_integer(w, "_UID", 0);
	aml_end(w);
	write_generation(w);
	aml_device(w, "GED");
	aml_name_text(w, "_HID", "ACPI0013");
	aml_name_integer(w, "_UID", 0);
	aml_resources(w, "_CRS");
	aml_interrupt(w, PC_LINE_ACPI, AML_LEVEL);
	aml_end(w);
	aml_port_register(w, "EVR", PC_PORT_ACPI + ACPI_POWER_EVENTS, "EVTS");
	aml_method(w, "_EVT", 1);
	aml_store_local(w, "EVTS", 0);
	aml_if_local(w, 0, ACPI_POWER_EVENT_PRESSED);
	aml_notify(w, "PWRB", CHANGED);
	aml_end(w);
	aml_if_local(w, 0, ACPI_POWER_EVENT_COPIED);
	aml_notify(w, "VGEN", CHANGED);
	aml_end(w);
	aml_end(w);
	aml_end(w);
}

static void write_virtio(struct acpi_writer *w, unsigned count)
{
	char name[8];

	for (unsigned i = 0; i < count; i++) {
		numbered(name, "VR", i);
		aml_device(w, name);
		aml_name_text(w, "_HID", "LNRO0005");
		aml_name_integer(w, "_UID", i);
		aml_name_integer(w, "_CCA", 1);
		aml_resources(w, "_CRS");
		aml_memory32(w, (uint32_t)(PC_VIRTIO + i * PC_VIRTIO_STRIDE), VIRTIO_MMIO_SIZE);
		aml_interrupt(w, pc_virtio_line(i), AML_LEVEL);
		aml_end(w);
		aml_end(w);
	}
}

/* Which input of the IOAPIC each slot's INTA is (6.2.13): of all functions of the slot, no link device. */
static void write_wires(struct acpi_writer *w)
{
	const uint64_t all_functions = 0xffff;

	aml_name(w, "_PRT");
	aml_package(w, PCI_SLOTS - 1);
	for (unsigned slot = 1; slot < PCI_SLOTS; slot++) {
		aml_package(w, 4);
		aml_integer(w, (uint64_t)slot << 16 | all_functions);
		aml_integer(w, 0);
		aml_integer(w, 0);
		aml_integer(w, PC_LINE_PCI + pci_wire(slot, 0));
		aml_end(w);
	}
	aml_end(w);
}

/* Linux uses configuration space in memory only where a device of the board's claims it (PNP0C02). */
static void write_pci(struct acpi_writer *w, const struct pc *pc)
{
	if (!pc->pci)
		return;
	aml_device(w, "MBRD");
	aml_name_eisa(w, "_HID", "PNP0C02");
	aml_name_integer(w, "_UID", 0);
	aml_resources(w, "_CRS");
	aml_memory32(w, (uint32_t)PC_ECAM, (uint32_t)PCI_ECAM_SIZE);
	aml_end(w);
	aml_end(w);
	aml_device(w, "PCI0");
	aml_name_eisa(w, "_HID", "PNP0A08");
	aml_name_eisa(w, "_CID", "PNP0A03");
	aml_name_integer(w, "_UID", 0);
	aml_name_integer(w, "_SEG", 0);
	aml_name_integer(w, "_BBN", 0);
	aml_name_integer(w, "_CCA", 1);
	aml_resources(w, "_CRS");
	aml_bus_window(w, 0, 0);
	aml_io(w, PC_PORT_PCI, PCI_PORTS);
	aml_memory_window(w, PC_PCI_LOW, PC_PCI_LOW_SIZE);
	if (pc->pci_high.size)
		aml_memory_window(w, pc->pci_high.base.value, pc->pci_high.size);
	aml_end(w);
	write_wires(w);
	aml_end(w);
}

/* PCI Firmware 3.3, 4.1.2: where configuration space is. */
static void write_mcfg(struct acpi_writer *w, const struct pc *pc)
{
	if (!pc->pci)
		return;
	acpi_begin(w, "MCFG", 1);
	acpi_put64(w, 0);
	acpi_put64(w, PC_ECAM);
	acpi_put16(w, 0);
	acpi_put8(w, 0);
	acpi_put8(w, 0);
	acpi_put32(w, 0);
	acpi_end(w);
}

static uint64_t write_dsdt(struct acpi_writer *w, const struct pc *pc)
{
	acpi_begin(w, "DSDT", 2);
	aml_name(w, "\\_S5");
	aml_package(w, 4);
	aml_integer(w, ACPI_POWER_SLEEP_OFF);
	for (unsigned i = 0; i < 3; i++)
		aml_integer(w, 0);
	aml_end(w);
	aml_scope(w, "\\_SB");
	write_cpus(w, pc->board.cpu_count);
	write_port_devices(w);
	write_events(w);
	write_virtio(w, pc->virtio_count);
	write_pci(w, pc);
	aml_end(w);
	return acpi_end(w);
}

int pc_write_acpi(struct pc *pc, struct error *e)
{
	struct acpi_writer w;
	size_t size;
	void *bytes;
	int r = acpi_init(&w, PC_ACPI, PC_ACPI_SIZE, e);

	if (r < 0)
		return r;
	write_fadt(&w, write_dsdt(&w, pc));
	write_madt(&w, pc->board.cpu_count);
	write_mcfg(&w, pc);
	r = acpi_finish(&w, &bytes, &size, e);
	if (r < 0)
		return r;
	r = memory_write(&pc->board.memory, gpa(PC_ACPI), bytes, size);
	free(bytes);
	return r < 0 ? error_errno(e, r, "ACPI tables outside RAM") : 0;
}
