#include "board/tree.h"

#include <stdio.h>
#include <sys/random.h>

#include "board/isa.h"
#include "board/payload.h"
#include "device/describe.h"

#define CACHE_BLOCK 64

static void write_chosen(struct fdt_writer *w, const struct boot_payload *boot, const char *serial)
{
	uint8_t seed[32];

	fdt_node(w, "chosen");
	fdt_text(w, "stdout-path", serial);
	if (boot->append[0])
		fdt_text(w, "bootargs", boot->append);
	if (boot->initrd_bytes) {
		fdt_u64(w, "linux,initrd-start", boot->initrd_address);
		fdt_u64(w, "linux,initrd-end", boot->initrd_address + boot->initrd_bytes);
	}
	/* Without it, a guest is slower to trust its random numbers; it is not needed to boot. */
	if (getrandom(seed, sizeof seed, 0) == (ssize_t)sizeof seed)
		fdt_bytes(w, "rng-seed", seed, sizeof seed);
	fdt_end(w);
}

static void write_memory(struct fdt_writer *w, const struct memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		fdt_node(w, "memory@%llx", (unsigned long long)memory->regions[i].base.value);
		fdt_text(w, "device_type", "memory");
		fdt_reg(w, memory->regions[i].base, memory->regions[i].size);
		fdt_end(w);
	}
}

static void write_extensions(struct fdt_writer *w, bool firmware)
{
	char text[ISA_TEXT_ROOM];

	isa_string(text, firmware);
	fdt_text(w, "riscv,isa", text);
	fdt_text(w, "riscv,isa-base", "rv64i");
	fdt_bytes(w, "riscv,isa-extensions", text, isa_list(text, firmware));
	fdt_u32(w, "riscv,cbom-block-size", CACHE_BLOCK);
	fdt_u32(w, "riscv,cboz-block-size", CACHE_BLOCK);
}

static void write_hart(struct fdt_writer *w, uint32_t id, bool firmware)
{
	fdt_node(w, "cpu@%x", id);
	fdt_text(w, "device_type", "cpu");
	fdt_text(w, "compatible", "riscv");
	fdt_u32(w, "reg", id);
	fdt_text(w, "status", "okay");
	fdt_text(w, "mmu-type", "riscv,sv57");
	write_extensions(w, firmware);
	fdt_node(w, "interrupt-controller");
	fdt_text(w, "compatible", "riscv,cpu-intc");
	fdt_empty(w, "interrupt-controller");
	fdt_u32(w, "#interrupt-cells", 1);
	fdt_u32(w, "#address-cells", 0);
	fdt_u32(w, "phandle", FDT_HART_PHANDLE(id));
	fdt_end(w);
	fdt_end(w);
}

static void write_harts(struct fdt_writer *w, const struct board *board)
{
	fdt_node(w, "cpus");
	fdt_u32(w, "#address-cells", 1);
	fdt_u32(w, "#size-cells", 0);
	fdt_u32(w, "timebase-frequency", (uint32_t)CLOCK_HZ);
	for (unsigned i = 0; i < board->cpu_count; i++)
		write_hart(w, i, board->firmware);
	fdt_end(w);
}

static void write_devices(struct fdt_writer *w, const struct board *board)
{
	fdt_node(w, "soc");
	fdt_text(w, "compatible", "simple-bus");
	fdt_u32(w, "#address-cells", 2);
	fdt_u32(w, "#size-cells", 2);
	fdt_empty(w, "ranges");
	for (unsigned i = 0; i < board->device_count; i++)
		device_describe(board->devices[i], w);
	fdt_end(w);
}

static void write_tree(struct fdt_writer *w, const struct virt *virt)
{
	const struct board *board = &virt->board;
	char serial[48];

	snprintf(serial, sizeof serial, "/soc/serial@%llx", (unsigned long long)board->uart->base.value);
	fdt_text(w, "compatible", "riscv-virtio");
	fdt_text(w, "model", "doppel,virt");
	fdt_u32(w, "#address-cells", 2);
	fdt_u32(w, "#size-cells", 2);
	fdt_node(w, "aliases");
	fdt_text(w, "serial0", serial);
	fdt_end(w);
	write_chosen(w, virt->boot, serial);
	write_memory(w, &board->memory);
	write_harts(w, board);
	write_devices(w, board);
}

int virt_tree_build(const struct virt *virt, void **blob, size_t *size, struct error *e)
{
	struct fdt_writer w;
	int r = fdt_writer_init(&w, (int)PAYLOAD_FDT_ROOM, e);

	if (r < 0)
		return r;
	write_tree(&w, virt);
	return fdt_writer_finish(&w, blob, size, e);
}
