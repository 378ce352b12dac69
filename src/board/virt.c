#include <errno.h>
#include <stdlib.h>

#include "board/payload.h"
#include "board/rom.h"
#include "board/tree.h"
#include "board/virt.h"
#include "board/virt_map.h"
#include "device/pci/pci.h"

enum { A0 = 10, A1 = 11, A2 = 12 };

const struct virt_window virt_map[VIRT_PLACES] = {
	[VIRT_ROM] = {"rom", 0x1000, 0x1000, 0},
	[VIRT_FINISHER] = {"finisher", 0x100000, 0x1000, 0},
	[VIRT_RTC] = {"rtc", 0x101000, 0x1000, 11},
	[VIRT_GENERATION] = {"generation", 0x102000, 0x1000, 12},
	[VIRT_CLINT] = {"clint", 0x2000000, 0x10000, 0},
	[VIRT_SSWI] = {"sswi", 0x2f00000, 0x4000, 0},
	[VIRT_PCI_IO] = {"pci-io", 0x3000000, 0x10000, 0},
	[VIRT_PLIC] = {"plic", 0xc000000, 0x4000000, 0},
	[VIRT_UART] = {"uart0", 0x10000000, 0x100, 10},
	[VIRT_VIRTIO] = {"virtio", 0x10001000, VIRT_VIRTIO_SLOTS * VIRT_VIRTIO_STRIDE, 1},
	[VIRT_PCI] = {"pci0", 0x30000000, 0x10000000, 32},
	[VIRT_PCI_LOW] = {"pci-low", 0x40000000, 0x40000000, 0},
	[VIRT_RAM] = {"ram", 0x80000000, 0, 0},
};

static gpa_t base_of(enum virt_place place)
{
	return gpa(virt_map[place].base);
}

typedef int cluster_device_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster,
			       struct error *e);

/* The PLIC comes first: other devices' nodes refer to it. */
static int add_controllers(struct virt *virt, struct error *e)
{
	static const struct {
		enum virt_place place;
		cluster_device_new *make;
	} table[] = {{VIRT_PLIC, plic_new}, {VIRT_CLINT, aclint_new}, {VIRT_SSWI, aclint_sswi_new}};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		enum virt_place place = table[i].place;
		struct device *device;
		int r = table[i].make(&device, virt_map[place].name, base_of(place), &virt->cluster, e);

		if (r == 0)
			r = board_adopt(&virt->board, device, e);
		if (r < 0)
			return r;
	}
	virt->plic = virt->board.devices[0];
	return 0;
}

static int add_uart(struct virt *virt, const struct board_config *config, struct error *e)
{
	const struct virt_window *window = &virt_map[VIRT_UART];
	struct board *board = &virt->board;
	int r = uart16550_new(&board->uart, window->name, gpa(window->base), plic_line(virt->plic, window->irq),
			      config->serial, e);

	return r < 0 ? r : board_adopt(board, board->uart, e);
}

static int add_rtc(struct virt *virt, struct error *e)
{
	const struct virt_window *window = &virt_map[VIRT_RTC];
	struct device *device;
	int r = goldfish_rtc_new(&device, window->name, gpa(window->base), plic_line(virt->plic, window->irq), e);

	return r < 0 ? r : board_adopt(&virt->board, device, e);
}

static int add_generation(struct virt *virt, struct error *e)
{
	const struct virt_window *window = &virt_map[VIRT_GENERATION];
	int r = vmgenid_new(&virt->generation, window->name, gpa(window->base), plic_line(virt->plic, window->irq),
			    e);

	return r < 0 ? r : board_adopt(&virt->board, virt->generation, e);
}

static int add_finisher(struct virt *virt, const struct board_config *config, struct error *e)
{
	struct device *device;
	int r = finisher_new(&device, virt_map[VIRT_FINISHER].name, base_of(VIRT_FINISHER), config->power, e);

	return r < 0 ? r : board_adopt(&virt->board, device, e);
}

static struct pci_window window_of(enum virt_place place)
{
	return (struct pci_window){base_of(place), virt_map[place].size};
}

/* After RAM is there. */
static int add_pci(struct virt *virt, struct error *e)
{
	uint64_t ram_end = virt_map[VIRT_RAM].base + memory_size(&virt->board.memory);
	struct pci_host_options options = {
		.ecam = base_of(VIRT_PCI),
		.io = window_of(VIRT_PCI_IO),
		.low = window_of(VIRT_PCI_LOW),
		.high = {gpa((ram_end + VIRT_PCI_HIGH_ALIGN - 1) & ~(VIRT_PCI_HIGH_ALIGN - 1)), VIRT_PCI_HIGH_SIZE},
	};
	int r;

	for (unsigned i = 0; i < PCI_WIRES; i++)
		options.wires[i] = plic_line(virt->plic, virt_map[VIRT_PCI].irq + i);
	r = pci_host_new(&virt->pci, virt_map[VIRT_PCI].name, &options, e);
	if (r == 0)
		r = board_adopt(&virt->board, virt->pci, e);
	return r < 0 ? r : pci_host_open(virt->pci, &virt->board.bus, e);
}

static int add_devices(struct virt *virt, const struct board_config *config, struct error *e)
{
	int r = add_controllers(virt, e);

	if (r == 0)
		r = add_uart(virt, config, e);
	if (r == 0)
		r = add_rtc(virt, e);
	if (r == 0)
		r = add_generation(virt, e);
	if (r == 0 && config->transport == BOARD_PCI)
		r = add_pci(virt, e);
	return r < 0 ? r : add_finisher(virt, config, e);
}

static int place_virtio(struct board *board, struct virtio *virtio, struct error *e)
{
	struct virt *virt = virt_of(board);
	unsigned slot = virt->virtio_count;

	if (virt->pci)
		return virtio_pci_place(virtio, virt->pci, &board->memory, e);
	if (slot == VIRT_VIRTIO_SLOTS)
		return error_set(e, ERROR_USAGE, -ENOSPC,
				 "no room for %s: the machine takes %d virtio devices, and has them",
				 virtio->device.name, VIRT_VIRTIO_SLOTS);
	virt->virtio_count++;
	virtio_mmio_place(virtio, gpa_add(base_of(VIRT_VIRTIO), slot * VIRT_VIRTIO_STRIDE),
			  plic_line(virt->plic, virt_virtio_irq(slot)), &board->memory);
	return 0;
}

static int add_harts(struct virt *virt, unsigned count, struct error *e)
{
	for (uint32_t i = 0; i < count; i++) {
		struct hart *hart = hart_new(&virt->cluster, i);

		if (!hart)
			return error_errno(e, -ENOMEM, "CPU %u", i);
		virt->cluster.harts[virt->cluster.count++] = hart;
		virt->board.cpus[virt->board.cpu_count++] = &hart->cpu;
	}
	return 0;
}

static void console_write(void *console, const uint8_t *bytes, size_t length)
{
	struct board *board = console;

	pthread_mutex_lock(&board->uart->lock);
	if (board->serial.write)
		board->serial.write(board->serial.console, bytes, length);
	pthread_mutex_unlock(&board->uart->lock);
}

static size_t console_read(void *console, uint8_t *bytes, size_t room)
{
	struct board *board = console;

	return uart16550_take_input(board->uart, bytes, room);
}

static int add_sbi(struct virt *virt, struct error *e)
{
	const struct sbi_console console = {console_write, console_read, &virt->board};
	int r = sbi_new(&virt->sbi, &virt->cluster, &console, e);

	if (r == 0)
		virt->cluster.sbi = virt->sbi;
	return r;
}

static int add_rom(struct virt *virt, struct error *e)
{
	virt->rom = calloc(1, sizeof *virt->rom);
	if (!virt->rom)
		return error_errno(e, -ENOMEM, "boot ROM");
	boot_rom_set(virt->rom, gpa(virt->boot->next_address));
	return boot_rom_attach(virt->rom, &virt->board.bus, e);
}

static uint64_t reset_pc(const struct virt *virt)
{
	return virt->rom ? virt->boot->firmware.entry : virt->boot->kernel.entry;
}

static int add_payload(struct virt *virt, const struct board_config *config, struct error *e)
{
	const struct payload_files files = {config->kernel, config->initrd, config->firmware, config->append};
	int r;

	virt->board.bare = config->loads && !config->firmware;
	r = virt->board.bare ? payload_open(&virt->boot, &files, base_of(VIRT_RAM), config->memory_bytes, e)
			     : payload_new(&virt->boot, &files, base_of(VIRT_RAM), config->memory_bytes, e);
	if (r == 0)
		r = config->firmware ? add_rom(virt, e) : add_sbi(virt, e);
	if (r == 0)
		virt->cluster.reset_pc = reset_pc(virt);
	return r;
}

static int lay_out(struct board *board, struct error *e)
{
	struct virt *virt = virt_of(board);
	size_t size;
	void *tree;
	int r = payload_settle(virt->boot, e);

	if (r < 0)
		return r;
	virt->cluster.reset_pc = reset_pc(virt);
	r = virt_tree_build(virt, &tree, &size, e);
	if (r < 0)
		return r;
	r = payload_write(virt->boot, &board->memory, e);
	if (r == 0) {
		r = memory_write(&board->memory, gpa(virt->boot->fdt_address), tree, size);
		r = r < 0 ? error_errno(e, r, "device tree outside RAM") : 0;
	}
	free(tree);
	return r;
}

/* What boot code of the machine hands to what runs first: firmware or kernel. */
static void start_hart(const struct virt *virt, struct hart *hart)
{
	hart_reset(hart);
	if (virt->sbi)
		sbi_boot_state(hart);
	hart->x[A0] = hart->cpu.id;
	hart->x[A1] = virt->boot->fdt_address;
	hart->x[A2] = virt->rom ? virt_map[VIRT_ROM].base : 0;
	atomic_store(&hart->power, virt->sbi && hart->cpu.id != 0 ? HART_STOPPED : HART_STARTED);
}

static int start_cpus(struct board *board, struct error *e)
{
	struct virt *virt = virt_of(board);

	(void)e;
	for (unsigned i = 0; i < virt->cluster.count; i++)
		start_hart(virt, virt->cluster.harts[i]);
	return 0;
}

static void renew(struct board *board, const uint8_t id[VMGENID_BYTES])
{
	vmgenid_renew(virt_of(board)->generation, id);
}

static void finish(struct board *board)
{
	struct virt *virt = virt_of(board);

	sbi_free(virt->sbi);
	for (unsigned i = 0; i < virt->cluster.count; i++)
		hart_free(virt->cluster.harts[i]);
	payload_free(virt->boot);
	free(virt->rom);
}

static const struct board_type virt_type = {
	.name = "virt",
	.arch = ENGINE_RISCV64,
	.cpus_max = RISCV_HARTS_MAX,
	.lay_out = lay_out,
	.start_cpus = start_cpus,
	.place_virtio = place_virtio,
	.renew = renew,
	.finish = finish,
};

static int build(struct virt *virt, const struct board_config *config, struct error *e)
{
	int r = add_payload(virt, config, e);

	if (r == 0)
		r = memory_add_ram(&virt->board.memory, base_of(VIRT_RAM), config->memory_bytes,
				   virt_map[VIRT_RAM].name, e);
	if (r == 0)
		r = add_harts(virt, config->cpus, e);
	return r < 0 ? r : add_devices(virt, config, e);
}

int board_virt_new(struct board **out, const struct board_config *config, struct error *e)
{
	int r = board_check_config(&virt_type, config, e);
	struct board *board;
	struct virt *virt;

	if (r < 0)
		return r;
	board = board_begin(&virt_type, sizeof *virt, config);
	if (!board)
		return error_errno(e, -ENOMEM, "board");
	virt = virt_of(board);
	virt->cluster = (struct hart_cluster){.memory = &board->memory,
					      .bus = &board->bus,
					      .clock = &board->clock,
					      .power = config->power};
	board->harts = &virt->cluster;
	r = build(virt, config, e);
	if (r < 0)
		board_free(board);
	else
		*out = board;
	return r;
}
