#include "board/pc.h"

#include <assert.h>
#include <errno.h>

#include "board/pc_map.h"
#include "board/pc_ranges.h"
#include "device/pc/devices.h"

static int add_ram(struct pc *pc, uint64_t bytes, struct error *e)
{
	int r = memory_add_ram(&pc->board.memory, gpa(0), pc_ram_low(bytes), "ram", e);

	if (r == 0 && pc_ram_high(bytes))
		r = memory_add_ram(&pc->board.memory, gpa(PC_HOLE_END), pc_ram_high(bytes), "high", e);
	return r;
}

static int make_platform(struct pc *pc, const struct board_config *config, struct error *e)
{
	const struct x86_platform_config platform = {
		.memory = &pc->board.memory,
		.bus = &pc->board.bus,
		.ports = &pc->ports,
		.clock = &pc->board.clock,
		.power = config->power,
		.output_port = PC_PORT_COM1,
		.cpus = config->cpus,
		.cpu_model = config->cpu_model,
	};
	int r = pc->engine->platform_new(&pc->platform, &platform, e);

	if (r < 0)
		return r;
	pc->board.chips_state = &x86_chips_state;
	pc->board.chips = &pc->platform->chips;
	return 0;
}

static int add_cpus(struct pc *pc, unsigned count, struct error *e)
{
	for (unsigned i = 0; i < count; i++) {
		struct x86_cpu *cpu = x86_cpu_new(pc->platform);

		if (!cpu)
			return error_errno(e, -ENOMEM, "CPU %u", i);
		pc->board.cpus[pc->board.cpu_count++] = &cpu->cpu;
	}
	return 0;
}

/* At ports. */
static int adopt(struct pc *pc, struct device *device, struct error *e)
{
	pc->board.devices[pc->board.device_count++] = device;
	return device_attach(device, &pc->ports, e);
}

static int add_uart(struct pc *pc, const struct board_config *config, struct error *e)
{
	struct device **uart = &pc->board.uart;
	int r = uart16550_new(uart, "uart0", gpa(PC_PORT_COM1), pc->platform->lines[PC_LINE_COM1], config->serial,
			      e);

	if (r < 0)
		return r;
	(*uart)->size = UART16550_PORTS;
	return adopt(pc, *uart, e);
}

static int add_rtc(struct pc *pc, struct error *e)
{
	struct device *rtc;
	int r = mc146818_new(&rtc, "rtc", gpa(PC_PORT_RTC), pc->platform->lines[PC_LINE_RTC], e);

	return r < 0 ? r : adopt(pc, rtc, e);
}

static int add_power(struct pc *pc, const struct board_config *config, struct error *e)
{
	int r = acpi_power_new(&pc->power, "power", gpa(PC_PORT_ACPI), pc->platform->lines[PC_LINE_ACPI],
			       config->power, e);

	return r < 0 ? r : adopt(pc, pc->power, e);
}

/* Ports by which a guest ends or restarts the machine. */
static int add_endings(struct pc *pc, const struct board_config *config, struct error *e)
{
	static const struct {
		int (*make)(struct device **out, const char *name, gpa_t base, struct power_sink power,
			    struct error *e);
		const char *name;
		enum pc_port port;
	} table[] = {
		{i8042_new, "i8042", PC_PORT_I8042},
		{debug_exit_new, "debug-exit", PC_PORT_DEBUG_EXIT},
		{pvpanic_new, "pvpanic", PC_PORT_PVPANIC},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct device *device;
		int r = table[i].make(&device, table[i].name, gpa(table[i].port), config->power, e);

		if (r == 0)
			r = adopt(pc, device, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A window that not all of is within the CPUs' reach is none. */
static struct pci_window high_window(const struct pc *pc)
{
	uint64_t base = PC_HOLE_END + pc_ram_high(memory_size(&pc->board.memory));
	uint64_t end = UINT64_C(1) << x86_cpuid_physical_bits(&pc->platform->cpuid);

	base = (base + PC_PCI_HIGH_ALIGN - 1) & ~(PC_PCI_HIGH_ALIGN - 1);
	return (struct pci_window){gpa(base), base + PC_PCI_HIGH_SIZE <= end ? PC_PCI_HIGH_SIZE : 0};
}

static int add_pci_ports(struct pc *pc, struct error *e)
{
	struct device *ports;
	int r = pci_ports_new(&ports, "pci-ports", gpa(PC_PORT_PCI), pc->pci, e);

	return r < 0 ? r : adopt(pc, ports, e);
}

static int add_pci(struct pc *pc, struct error *e)
{
	struct pci_host_options options = {
		.ecam = gpa(PC_ECAM),
		.low = {gpa(PC_PCI_LOW), PC_PCI_LOW_SIZE},
		.high = high_window(pc),
		.msi = pc->platform->msi,
	};
	int r;

	for (unsigned i = 0; i < PCI_WIRES; i++)
		options.wires[i] = pc->platform->lines[PC_LINE_PCI + i];
	pc->pci_high = options.high;
	r = pci_host_new(&pc->pci, "pci0", &options, e);
	if (r == 0)
		r = board_adopt(&pc->board, pc->pci, e);
	if (r == 0)
		r = pci_host_open(pc->pci, &pc->board.bus, e);
	return r < 0 ? r : add_pci_ports(pc, e);
}

static int add_devices(struct pc *pc, const struct board_config *config, struct error *e)
{
	int r = add_uart(pc, config, e);

	if (r == 0)
		r = add_rtc(pc, e);
	if (r == 0)
		r = add_power(pc, config, e);
	if (r == 0 && config->transport != BOARD_MMIO)
		r = add_pci(pc, e);
	return r < 0 ? r : add_endings(pc, config, e);
}

static int place_virtio(struct board *board, struct virtio *virtio, struct error *e)
{
	struct pc *pc = pc_of(board);
	unsigned slot = pc->virtio_count;

	if (pc->pci)
		return virtio_pci_place(virtio, pc->pci, &board->memory, e);
	if (slot == PC_VIRTIO_SLOTS)
		return error_set(e, ERROR_USAGE, -ENOSPC,
				 "no room for %s: the machine takes %d virtio devices, and has them",
				 virtio->device.name, PC_VIRTIO_SLOTS);
	pc->virtio_count++;
	virtio_mmio_place(virtio, gpa(PC_VIRTIO + slot * PC_VIRTIO_STRIDE),
			  pc->platform->lines[pc_virtio_line(slot)], &board->memory);
	return 0;
}

/* Linux jumps there to restart a machine of the hardware-reduced model, since it expects EFI on one. */
static int write_bios_entry(struct board *board, struct error *e)
{
	enum { port = PC_PORT_ACPI + ACPI_POWER_RESET };
	static const uint8_t code[] = {
		0xba, port & 0xff, port >> 8,  /* mov $port, %dx */
		0xb0, ACPI_POWER_RESET_VALUE,  /* mov $value, %al */
		0xee,                          /* out %al, %dx */
		0xf4,                          /* 1: hlt */
		0xeb, 0xfd,                    /* jmp 1b */
	};
	int r = memory_write(&board->memory, gpa(PC_BIOS_ENTRY), code, sizeof code);

	return r < 0 ? error_errno(e, r, "the entry of a BIOS outside RAM") : 0;
}

static int put_generation(struct board *board, struct error *e)
{
	const uint8_t *id = acpi_power_generation(pc_of(board)->power);
	int r = memory_write(&board->memory, gpa(PC_GENERATION), id, VMGENID_BYTES);

	return r < 0 ? error_errno(e, r, "the machine's generation outside RAM") : 0;
}

static int lay_out(struct board *board, struct error *e)
{
	int r = pc_boot_settle(pc_of(board)->boot, e);

	if (r == 0)
		r = pc_boot_write(pc_of(board)->boot, &board->memory, e);
	if (r == 0)
		r = write_bios_entry(board, e);
	if (r == 0)
		r = put_generation(board, e);
	return r < 0 ? r : pc_write_acpi(pc_of(board), e);
}

static int start_cpus(struct board *board, struct error *e)
{
	struct pc *pc = pc_of(board);

	pc->engine->platform_reset(pc->platform);
	for (unsigned i = 0; i < board->cpu_count; i++)
		x86_cpu_reset(x86_cpu_of(board->cpus[i]));
	pc_boot_enter(pc->boot, x86_cpu_of(board->cpus[0]));
	return pc->engine->platform_loaded(pc->platform, e);
}

static int store_chips(struct board *board, struct error *e)
{
	return pc_of(board)->engine->platform_store(pc_of(board)->platform, e);
}

static int chips_loaded(struct board *board, struct error *e)
{
	return pc_of(board)->engine->platform_loaded(pc_of(board)->platform, e);
}

static void press_power(struct board *board)
{
	acpi_power_press(pc_of(board)->power);
}

/* The memory first: the guest looks when it is told. */
static void renew(struct board *board, const uint8_t id[VMGENID_BYTES])
{
	int r = memory_write(&board->memory, gpa(PC_GENERATION), id, VMGENID_BYTES);

	assert(r == 0);
	acpi_power_renew(pc_of(board)->power, id);
}

static void finish(struct board *board)
{
	struct pc *pc = pc_of(board);

	for (unsigned i = 0; i < board->cpu_count; i++)
		x86_cpu_free(x86_cpu_of(board->cpus[i]));
	if (pc->platform)
		pc->engine->platform_free(pc->platform);
	pc_boot_free(pc->boot);
}

static const struct board_type pc_type = {
	.name = "pc",
	.arch = ENGINE_X86_64,
	.cpus_max = CPUS_MAX,
	.lay_out = lay_out,
	.start_cpus = start_cpus,
	.place_virtio = place_virtio,
	.store_chips = store_chips,
	.chips_loaded = chips_loaded,
	.press_power = press_power,
	.renew = renew,
	.finish = finish,
};

static int build(struct pc *pc, const struct board_config *config, struct error *e)
{
	const struct payload_files files = {config->kernel, config->initrd, config->firmware, config->append};
	int r;

	pc->board.bare = config->loads;
	r = config->loads ? pc_boot_open(&pc->boot, &files, config->memory_bytes, e)
			  : pc_boot_new(&pc->boot, &files, config->memory_bytes, e);

	if (r == 0)
		r = add_ram(pc, config->memory_bytes, e);
	if (r == 0)
		r = make_platform(pc, config, e);
	if (r == 0)
		r = add_cpus(pc, config->cpus, e);
	return r < 0 ? r : add_devices(pc, config, e);
}

int board_pc_new(struct board **out, const struct board_config *config, struct error *e)
{
	int r = board_check_config(&pc_type, config, e);
	struct board *board;

	if (r < 0)
		return r;
	board = board_begin(&pc_type, sizeof(struct pc), config);
	if (!board)
		return error_errno(e, -ENOMEM, "board");
	bus_init(&pc_of(board)->ports);
	pc_of(board)->engine = config->engine->x86;
	r = build(pc_of(board), config, e);
	if (r < 0)
		board_free(board);
	else
		*out = board;
	return r;
}
