/*
 * ACPI Machine Language (ACPI 6.4, chapter 20) as far as a description of hardware needs it, written in order into the
 * table that an acpi_writer has begun.
 *
 * Blocks nest: each of aml_scope, aml_device, aml_method, aml_if, aml_package, aml_field and aml_resources is ended by
 * aml_end. A path is "NAME", "\\_SB", or several joined by dots; names shorter than four letters are filled up with '_'.
 */
#ifndef DOPPEL_X86_AML_H
#define DOPPEL_X86_AML_H

#include "x86/acpi.h"

void aml_scope(struct acpi_writer *w, const char *path);
void aml_device(struct acpi_writer *w, const char *name);
/* Of `arguments` arguments; only one thread is in it at a time. */
void aml_method(struct acpi_writer *w, const char *name, unsigned arguments);
/* What follows, up to aml_end: if (LocalX & mask). */
void aml_if_local(struct acpi_writer *w, unsigned local, uint64_t mask);
/* Value of a name, or element of a package: so many values follow. */
void aml_package(struct acpi_writer *w, unsigned count);
void aml_end(struct acpi_writer *w);

/* A name whose value follows. */
void aml_name(struct acpi_writer *w, const char *name);
/* Values. */
void aml_integer(struct acpi_writer *w, uint64_t value);
void aml_text(struct acpi_writer *w, const char *text);
/* An identifier as "PNP0501", in its compressed form. */
void aml_eisa(struct acpi_writer *w, const char *id);
/* Reference to an object of that path. */
void aml_path(struct acpi_writer *w, const char *path);

void aml_name_integer(struct acpi_writer *w, const char *name, uint64_t value);
void aml_name_text(struct acpi_writer *w, const char *name, const char *text);
void aml_name_eisa(struct acpi_writer *w, const char *name, const char *id);

/* One register of 8 bits at an I/O port, of that name; `region` is a name, too. */
void aml_port_register(struct acpi_writer *w, const char *region, uint16_t port, const char *name);
/* Store(object, LocalX) */
void aml_store_local(struct acpi_writer *w, const char *path, unsigned local);
void aml_notify(struct acpi_writer *w, const char *path, uint64_t value);

/* The name's value is a template of resources (6.4), which follow. */
void aml_resources(struct acpi_writer *w, const char *name);
void aml_io(struct acpi_writer *w, uint16_t port, uint8_t ports);
void aml_memory32(struct acpi_writer *w, uint32_t base, uint32_t size);
enum aml_trigger { AML_EDGE, AML_LEVEL };
/* Active high, exclusive. */
void aml_interrupt(struct acpi_writer *w, uint32_t gsi, enum aml_trigger trigger);
/* Windows of a bridge: what it passes on to the devices behind it. */
void aml_bus_window(struct acpi_writer *w, uint16_t first, uint16_t last);
void aml_io_window(struct acpi_writer *w, uint16_t base, uint32_t size);
void aml_memory_window(struct acpi_writer *w, uint64_t base, uint64_t size);

#endif
