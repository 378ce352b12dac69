/*
 * A kernel file from anyone: understood or refused, placed in the least RAM that a board has, and written there. Also
 * as firmware, which takes the same ELF files and raw bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "board/kernel_file.h"
#include "board/payload.h"

#define RAM_BASE  UINT64_C(0x80000000)
#define RAM_BYTES (16 * MIB)

static const struct payload_files files = {.kernel = "kernel", .firmware = "firmware"};

static struct blob copy(const uint8_t *data, size_t size)
{
	struct blob blob = {.bytes = malloc(size), .length = size};

	if (!blob.bytes)
		abort();
	memcpy(blob.bytes, data, size);
	return blob;
}

/* One for all inputs: what an earlier one left in it changes nothing. */
static struct memory *ram(void)
{
	static struct memory memory;
	struct error e;

	if (!memory.count && memory_add_ram(&memory, gpa(RAM_BASE), RAM_BYTES, "ram", &e) < 0)
		abort();
	return &memory;
}

/* A refusal says why, in one line. */
static void check_message(const struct error *e)
{
	if (e->kind == ERROR_NONE || !e->message[0] || strchr(e->message, '\n'))
		abort();
}

/* What was accepted lies in RAM, below the device tree. */
static void check_placed(const struct boot_payload *p, const struct program *program)
{
	uint64_t start, end;

	program_span(program, &start, &end);
	if (start < RAM_BASE || end > p->fdt_address || p->fdt_address + PAYLOAD_FDT_SPACE > RAM_BASE + RAM_BYTES)
		abort();
}

static void place_and_write(struct boot_payload *p, const struct program *program)
{
	struct error e = {0};

	if (payload_place(p, &files, &e) < 0) {
		check_message(&e);
		return;
	}
	check_placed(p, program);
	if (payload_write(p, ram(), &e) < 0)
		abort();
}

static void try_kernel(const uint8_t *data, size_t size)
{
	struct boot_payload p = {.ram_base = RAM_BASE, .ram_bytes = RAM_BYTES};
	struct blob blob = copy(data, size);
	struct error e = {0};

	if (kernel_parse(&p.kernel, &blob, ENGINE_RISCV64, RAM_BYTES, &e) < 0)
		check_message(&e);
	else
		place_and_write(&p, &p.kernel);
	program_finish(&p.kernel);
}

static void try_firmware(const uint8_t *data, size_t size)
{
	struct boot_payload p = {.ram_base = RAM_BASE, .ram_bytes = RAM_BYTES};
	struct blob blob = copy(data, size);
	struct error e = {0};

	if (firmware_parse(&p.firmware, &blob, &e) < 0)
		check_message(&e);
	else
		place_and_write(&p, &p.firmware);
	program_finish(&p.firmware);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* No file is empty here: blob_read refuses that. */
	if (size == 0)
		return 0;
	try_kernel(data, size);
	try_firmware(data, size);
	return 0;
}
