#include "x86/acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define OEM_ID         "DOPPEL"
#define OEM_TABLE_ID   "DOPPELPC"
#define CREATOR_ID     "DPPL"
#define RSDP_BYTES     36
#define RSDP_OLD_BYTES 20 /* that the first checksum covers */
#define ALIGNMENT      16

enum { AT_LENGTH = 4, AT_CHECKSUM = 9 };

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	le32_t rsdt;
	le32_t length;
	le64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} __attribute__((packed));
_Static_assert(sizeof(struct rsdp) == RSDP_BYTES, "the root pointer has 36 bytes (5.2.5.3)");

static void fail(struct acpi_writer *w, int code)
{
	if (!w->failed)
		w->failed = code;
}

int acpi_init(struct acpi_writer *w, uint64_t base, size_t room, struct error *e)
{
	*w = (struct acpi_writer){.bytes = calloc(1, room), .room = room, .base = base};
	if (!w->bytes)
		return error_errno(e, -ENOMEM, "ACPI tables");
	if (room < RSDP_BYTES)
		fail(w, -ENOSPC);
	else
		w->length = RSDP_BYTES;
	return 0;
}

void acpi_put(struct acpi_writer *w, const void *bytes, size_t length)
{
	if (length > w->room - w->length)
		fail(w, -ENOSPC);
	if (w->failed)
		return;
	memcpy(w->bytes + w->length, bytes, length);
	w->length += length;
}

void acpi_put8(struct acpi_writer *w, uint8_t value)
{
	acpi_put(w, &value, sizeof value);
}

void acpi_put16(struct acpi_writer *w, uint16_t value)
{
	le16_t wire = le16_put(value);

	acpi_put(w, &wire, sizeof wire);
}

void acpi_put32(struct acpi_writer *w, uint32_t value)
{
	le32_t wire = le32_put(value);

	acpi_put(w, &wire, sizeof wire);
}

void acpi_put64(struct acpi_writer *w, uint64_t value)
{
	le64_t wire = le64_put(value);

	acpi_put(w, &wire, sizeof wire);
}

void acpi_put_register(struct acpi_writer *w, struct acpi_register reg)
{
	acpi_put8(w, (uint8_t)reg.space);
	acpi_put8(w, (uint8_t)reg.bits);
	acpi_put8(w, 0);
	/* The access size: 1 byte, 2, 4, 8 are 1 to 4. */
	acpi_put8(w, (uint8_t)(__builtin_ctz(reg.bits | 1u << 7) - 2));
	acpi_put64(w, reg.address);
}

void acpi_zero_to(struct acpi_writer *w, size_t offset)
{
	size_t end = w->table + offset;

	if (end < w->length)
		fail(w, -EINVAL);
	else if (end > w->room)
		fail(w, -ENOSPC);
	if (!w->failed)
		w->length = end;
}

static uint8_t checksum(const uint8_t *bytes, size_t length)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

void acpi_begin(struct acpi_writer *w, const char *signature, uint8_t revision)
{
	if (w->table)
		fail(w, -EINVAL);
	w->table = (w->length + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
	acpi_zero_to(w, 0);
	acpi_put(w, signature, 4);
	acpi_put32(w, 0);
	acpi_put8(w, revision);
	acpi_put8(w, 0);
	acpi_put(w, OEM_ID, 6);
	acpi_put(w, OEM_TABLE_ID, 8);
	acpi_put32(w, 1);
	acpi_put(w, CREATOR_ID, 4);
	acpi_put32(w, 1);
}

static void list(struct acpi_writer *w, uint64_t address)
{
	if (w->count == ACPI_TABLES_MAX)
		fail(w, -ENOSPC);
	else
		w->tables[w->count++] = address;
}

uint64_t acpi_end(struct acpi_writer *w)
{
	uint8_t *table = w->bytes + w->table;
	size_t length = w->length - w->table;
	uint64_t address = w->base + w->table;
	le32_t wire = le32_put((uint32_t)length);

	if (w->depth || !w->table)
		fail(w, -EINVAL);
	w->table = 0;
	if (w->failed)
		return 0;
	memcpy(table + AT_LENGTH, &wire, sizeof wire);
	table[AT_CHECKSUM] = checksum(table, length);
	if (memcmp(table, "DSDT", 4) != 0 && memcmp(table, "XSDT", 4) != 0)
		list(w, address);
	return address;
}

static void put_root(struct acpi_writer *w)
{
	struct rsdp rsdp = {.revision = 2, .length = le32_put(RSDP_BYTES)};

	acpi_begin(w, "XSDT", 1);
	for (unsigned i = 0; i < w->count; i++)
		acpi_put64(w, w->tables[i]);
	rsdp.xsdt = le64_put(acpi_end(w));
	memcpy(rsdp.signature, "RSD PTR ", sizeof rsdp.signature);
	memcpy(rsdp.oem, OEM_ID, sizeof rsdp.oem);
	rsdp.checksum = checksum((const uint8_t *)&rsdp, RSDP_OLD_BYTES);
	rsdp.extended_checksum = checksum((const uint8_t *)&rsdp, RSDP_BYTES);
	if (!w->failed)
		memcpy(w->bytes, &rsdp, sizeof rsdp);
}

int acpi_finish(struct acpi_writer *w, void **bytes, size_t *size, struct error *e)
{
	if (w->table || w->depth)
		fail(w, -EINVAL);
	put_root(w);
	if (w->failed) {
		free(w->bytes);
		w->bytes = NULL;
		return error_errno(e, w->failed, "ACPI tables of at most %zu bytes", w->room);
	}
	*bytes = w->bytes;
	*size = w->length;
	w->bytes = NULL;
	return 0;
}
