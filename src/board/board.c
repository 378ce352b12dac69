#include "board/board.h"

#include <errno.h>
#include <stdlib.h>

#include "board/pc.h"
#include "board/ram.h"
#include "board/virt.h"

int board_new(struct board **out, const struct board_config *config, struct error *e)
{
	bool pc = config->engine && config->engine->arch == ENGINE_X86_64;

	return pc ? board_pc_new(out, config, e) : board_virt_new(out, config, e);
}

int board_check_config(const struct board_type *type, const struct board_config *config, struct error *e)
{
	if (config->cpus < 1 || config->cpus > type->cpus_max)
		return error_set(e, ERROR_USAGE, -EINVAL, "%u CPUs are not possible; --cpus takes 1 to %u",
				 config->cpus, type->cpus_max);
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

struct board *board_begin(const struct board_type *type, size_t size, const struct board_config *config)
{
	struct board *board = calloc(1, size);

	if (!board)
		return NULL;
	board->type = type;
	board->serial = config->serial;
	board->firmware = config->firmware != NULL;
	memory_init(&board->memory);
	board->memory.huge_pages = config->huge_pages;
	bus_init(&board->bus);
	clock_init(&board->clock);
	return board;
}

int board_adopt(struct board *board, struct device *device, struct error *e)
{
	board->devices[board->device_count++] = device;
	return device_attach(device, &board->bus, e);
}

int board_add_virtio(struct board *board, struct virtio *virtio, struct error *e)
{
	int r = board->type->place_virtio(board, virtio, e);
	struct device *carrier = virtio->carrier;

	if (r < 0) {
		device_free(&virtio->device);
		device_free(carrier);
		return r;
	}
	if (carrier)
		r = board_adopt(board, carrier, e);
	if (r < 0) {
		device_free(&virtio->device);
		return r;
	}
	return board_adopt(board, &virtio->device, e);
}

void board_free(struct board *board)
{
	if (!board)
		return;
	for (unsigned i = board->device_count; i-- > 0;)
		device_free(board->devices[i]);
	board->type->finish(board);
	memory_finish(&board->memory);
	free(board);
}

int board_store(struct board *board, struct error *e)
{
	return board->type->store_chips ? board->type->store_chips(board, e) : 0;
}

int board_reset(struct board *board, struct error *e)
{
	int r = 0;

	if (!board->bare) {
		ram_clear(&board->memory);
		r = board->type->lay_out(board, e);
	}
	board->bare = false;
	if (r < 0)
		return r;
	clock_stop(&board->clock);
	clock_set(&board->clock, 0);
	r = board->type->start_cpus(board, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < board->device_count; i++)
		device_reset(board->devices[i]);
	return 0;
}
