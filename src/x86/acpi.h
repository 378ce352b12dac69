/*
 * Writing ACPI tables (ACPI 6.4, chapter 5): headers, checksums, and the pointers from one to the other. What is in a table
 * is the board's affair; AML, which a DSDT is made of, is written by x86/aml.h into the same writer.
 *
 * One run of memory holds it all: the root pointer (RSDP) first, then each table in the order of writing, then the XSDT.
 * The first failure is kept and later calls do nothing, so that callers check once, at the end.
 *
 * Thread: any. Ownership: the bytes belong to the writer until acpi_finish hands them out.
 */
#ifndef DOPPEL_X86_ACPI_H
#define DOPPEL_X86_ACPI_H

#include "base/error.h"
#include "base/types.h"

#define ACPI_TABLES_MAX 16
#define ACPI_DEPTH_MAX  16

struct acpi_writer {
	uint8_t *bytes;
	size_t room, length;
	uint64_t base;                    /* guest-physical address of the first byte */
	int failed;                       /* 0 or a negative errno */
	size_t table;                     /* offset of the table that is being written; 0: none */
	uint64_t tables[ACPI_TABLES_MAX]; /* addresses that the XSDT will list */
	unsigned count;
	size_t open[ACPI_DEPTH_MAX]; /* aml.c: blocks that were begun and not ended */
	unsigned depth;
};

/* An address of a register (5.2.3.2). */
struct acpi_register {
	enum { ACPI_MEMORY = 0, ACPI_PORTS = 1 } space;
	unsigned bits;
	uint64_t address;
};

/* `base` is 16-byte aligned: where a guest looks for the root pointer. -ENOMEM. */
MUST_USE int acpi_init(struct acpi_writer *w, uint64_t base, size_t room, struct error *e);
/* Ends it all: *bytes is the caller's to free(), *size its length; or everything is released. -ENOSPC when `room` was too
 * small, -EINVAL when tables or blocks were not ended. */
MUST_USE int acpi_finish(struct acpi_writer *w, void **bytes, size_t *size, struct error *e);

/* The header (5.2.6), of four letters and a revision. What is put from then on until acpi_end is the table. */
void acpi_begin(struct acpi_writer *w, const char *signature, uint8_t revision);
/* Returns its address. The XSDT lists all but the DSDT, which the FADT points to. */
uint64_t acpi_end(struct acpi_writer *w);

void acpi_put(struct acpi_writer *w, const void *bytes, size_t length);
void acpi_put8(struct acpi_writer *w, uint8_t value);
void acpi_put16(struct acpi_writer *w, uint16_t value);
void acpi_put32(struct acpi_writer *w, uint32_t value);
void acpi_put64(struct acpi_writer *w, uint64_t value);
void acpi_put_register(struct acpi_writer *w, struct acpi_register reg);
/* Zeros up to `offset` within the table: reserved fields, and those that are 0. Behind it already: -EINVAL. */
void acpi_zero_to(struct acpi_writer *w, size_t offset);

#endif
