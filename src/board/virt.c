#include <errno.h>
#include <stdlib.h>

#include "board/board.h"
#include "board/payload.h"
#include "board/rom.h"
#include "board/virt_map.h"

const struct virt_window virt_map[VIRT_PLACES] = {
	[VIRT_ROM] = {"rom", 0x1000, 0x1000, 0},
	[VIRT_FINISHER] = {"finisher", 0x100000, 0x1000, 0},
	[VIRT_RTC] = {"rtc", 0x101000, 0x1000, 11},
	[VIRT_CLINT] = {"clint", 0x2000000, 0x10000, 0},
	[VIRT_SSWI] = {"sswi", 0x2f00000, 0x4000, 0},
	[VIRT_PLIC] = {"plic", 0xc000000, 0x4000000, 0},
	[VIRT_UART] = {"uart0", 0x10000000, 0x100, 10},
	[VIRT_VIRTIO] = {"virtio", 0x10001000, VIRT_VIRTIO_SLOTS * VIRT_VIRTIO_STRIDE, 1},
	[VIRT_RAM] = {"ram", 0x80000000, 0, 0},
};

static int check_config(const struct board_config *config, struct error *e)
{
	if (config->cpus < 1 || config->cpus > RISCV_HARTS_MAX)
		return error_set(e, ERROR_USAGE, -EINVAL, "%u CPUs are not possible; --cpus takes 1 to %d",
				 config->cpus, RISCV_HARTS_MAX);
	if (config->memory_bytes < BOARD_MEMORY_MIN)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "%llu bytes of memory are too little; --memory takes 16M or more",
				 (unsigned long long)config->memory_bytes);
	if (config->memory_bytes % GUEST_PAGE_SIZE)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "%llu bytes of memory are no multiple of 4096; round --memory up",
				 (unsigned long long)config->memory_bytes);
	return 0;
}

/* Puts a device that was made among the board's, which frees it from now on. */
static int adopt(struct board *board, struct device *device, struct error *e)
{
	board->devices[board->device_count++] = device;
	return device_attach(device, &board->bus, e);
}

static gpa_t base_of(enum virt_place place)
{
	return gpa(virt_map[place].base);
}

typedef int cluster_device_new(struct device **out, const char *name, gpa_t base, struct hart_cluster *cluster,
			       struct error *e);

/* The PLIC comes first: other devices' nodes refer to it. */
static int add_controllers(struct board *board, struct error *e)
{
	static const struct {
		enum virt_place place;
		cluster_device_new *make;
	} table[] = {{VIRT_PLIC, plic_new}, {VIRT_CLINT, aclint_new}, {VIRT_SSWI, aclint_sswi_new}};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		enum virt_place place = table[i].place;
		struct device *device;
		int r = table[i].make(&device, virt_map[place].name, base_of(place), &board->cluster, e);

		if (r == 0)
			r = adopt(board, device, e);
		if (r < 0)
			return r;
	}
	board->plic = board->devices[0];
	return 0;
}

static int add_uart(struct board *board, const struct board_config *config, struct error *e)
{
	const struct virt_window *window = &virt_map[VIRT_UART];
	int r = uart16550_new(&board->uart, window->name, gpa(window->base), plic_line(board->plic, window->irq),
			      config->serial, e);

	return r < 0 ? r : adopt(board, board->uart, e);
}

static int add_rtc(struct board *board, struct error *e)
{
	const struct virt_window *window = &virt_map[VIRT_RTC];
	struct device *device;
	int r = goldfish_rtc_new(&device, window->name, gpa(window->base), plic_line(board->plic, window->irq), e);

	return r < 0 ? r : adopt(board, device, e);
}

static int add_finisher(struct board *board, const struct board_config *config, struct error *e)
{
	struct device *device;
	int r = finisher_new(&device, virt_map[VIRT_FINISHER].name, base_of(VIRT_FINISHER), config->power, e);

	return r < 0 ? r : adopt(board, device, e);
}

static int add_devices(struct board *board, const struct board_config *config, struct error *e)
{
	int r = add_controllers(board, e);

	if (r == 0)
		r = add_uart(board, config, e);
	if (r == 0)
		r = add_rtc(board, e);
	return r < 0 ? r : add_finisher(board, config, e);
}

int board_add_virtio(struct board *board, struct virtio *virtio, struct error *e)
{
	unsigned slot = board->virtio_count;

	if (slot == VIRT_VIRTIO_SLOTS) {
		int r = error_set(e, ERROR_USAGE, -ENOSPC,
				  "no room for %s: the machine takes %d virtio devices, and has them",
				  virtio->device.name, VIRT_VIRTIO_SLOTS);

		device_free(&virtio->device);
		return r;
	}
	board->virtio_count++;
	virtio_mmio_place(virtio, gpa_add(base_of(VIRT_VIRTIO), slot * VIRT_VIRTIO_STRIDE),
			  plic_line(board->plic, virt_virtio_irq(slot)), &board->memory);
	return adopt(board, &virtio->device, e);
}

static int add_harts(struct board *board, unsigned count, struct error *e)
{
	for (uint32_t i = 0; i < count; i++) {
		struct hart *hart = hart_new(&board->cluster, i);

		if (!hart)
			return error_errno(e, -ENOMEM, "CPU %u", i);
		board->cluster.harts[board->cluster.count++] = hart;
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

static int add_sbi(struct board *board, struct error *e)
{
	const struct sbi_console console = {console_write, console_read, board};
	int r = sbi_new(&board->sbi, &board->cluster, &console, e);

	if (r == 0)
		board->cluster.sbi = board->sbi;
	return r;
}

static int add_rom(struct board *board, struct error *e)
{
	board->rom = calloc(1, sizeof *board->rom);
	if (!board->rom)
		return error_errno(e, -ENOMEM, "boot ROM");
	boot_rom_set(board->rom, gpa(board->boot->next_address));
	return boot_rom_attach(board->rom, &board->bus, e);
}

static int add_payload(struct board *board, const struct board_config *config, struct error *e)
{
	const struct payload_files files = {config->kernel, config->initrd, config->firmware, config->append};
	int r = payload_new(&board->boot, &files, base_of(VIRT_RAM), config->memory_bytes, e);

	if (r < 0)
		return r;
	board->cluster.reset_pc = config->firmware ? board->boot->firmware.entry : board->boot->kernel.entry;
	return config->firmware ? add_rom(board, e) : add_sbi(board, e);
}

static int build(struct board *board, const struct board_config *config, struct error *e)
{
	int r = add_payload(board, config, e);

	if (r == 0)
		r = memory_add_ram(&board->memory, base_of(VIRT_RAM), config->memory_bytes,
				   virt_map[VIRT_RAM].name, e);
	if (r == 0)
		r = add_harts(board, config->cpus, e);
	return r < 0 ? r : add_devices(board, config, e);
}

int board_virt_new(struct board **out, const struct board_config *config, struct error *e)
{
	int r = check_config(config, e);
	struct board *board;

	if (r < 0)
		return r;
	board = calloc(1, sizeof *board);
	if (!board)
		return error_errno(e, -ENOMEM, "board");
	memory_init(&board->memory);
	bus_init(&board->bus);
	clock_init(&board->clock);
	board->serial = config->serial;
	board->cluster.memory = &board->memory;
	board->cluster.bus = &board->bus;
	board->cluster.clock = &board->clock;
	board->cluster.power = config->power;
	r = build(board, config, e);
	if (r < 0)
		board_free(board);
	else
		*out = board;
	return r;
}
