/*
 * A kernel file for a pc, from anyone: understood or refused, placed in the least RAM that a board has, and written there with
 * the tables of its boot protocol.
 */
#include <stdlib.h>
#include <string.h>

#include "board/kernel_file.h"
#include "board/pc_boot.h"
#include "board/pc_map.h"

#define RAM_BYTES (16 * MIB)

/* One for all inputs: what an earlier one left in it changes nothing. */
static struct memory *ram(void)
{
	static struct memory memory;
	struct error e;

	if (!memory.count && memory_add_ram(&memory, gpa(0), RAM_BYTES, "ram", &e) < 0)
		abort();
	return &memory;
}

/* A refusal says why, in one line. */
static void check_message(const struct error *e)
{
	if (e->kind == ERROR_NONE || !e->message[0] || strchr(e->message, '\n'))
		abort();
}

static void check_placed(const struct pc_boot *boot)
{
	uint64_t start, end;

	program_span(&boot->kernel, &start, &end);
	if (start < PC_HIGH_MEMORY || end > boot->initrd_address ||
	    boot->initrd_address + boot->initrd_bytes > RAM_BYTES)
		abort();
	if (boot->kernel.entry < start || boot->kernel.entry >= end)
		abort();
}

static void place_and_write(struct pc_boot *boot)
{
	static const struct payload_files files = {.kernel = "kernel", .initrd = "initrd"};
	struct error e = {0};

	if (pc_boot_place(boot, &files, &e) < 0) {
		check_message(&e);
		return;
	}
	check_placed(boot);
	if (pc_boot_write(boot, ram(), &e) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t initrd[5000];
	static char append[] = "quiet";
	struct pc_boot boot = {
		.initrd = {.bytes = initrd, .length = sizeof initrd},
		.initrd_bytes = sizeof initrd,
		.append = append,
		.ram_bytes = RAM_BYTES,
	};
	struct blob blob = {.bytes = malloc(size), .length = size};
	struct error e = {0};

	/* No file is empty here: blob_read refuses that. */
	if (size == 0 || !blob.bytes) {
		free(blob.bytes);
		return 0;
	}
	memcpy(blob.bytes, data, size);
	if (kernel_parse(&boot.kernel, &blob, ENGINE_X86_64, RAM_BYTES, &e) < 0)
		check_message(&e);
	else
		place_and_write(&boot);
	program_finish(&boot.kernel);
	return 0;
}
