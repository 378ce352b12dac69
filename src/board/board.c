#include "board/board.h"

#include <stdlib.h>

#include "board/payload.h"
#include "board/ram.h"
#include "board/rom.h"
#include "board/tree.h"
#include "board/virt_map.h"

enum { A0 = 10, A1 = 11, A2 = 12 };

void board_free(struct board *board)
{
	if (!board)
		return;
	for (unsigned i = board->device_count; i-- > 0;)
		device_free(board->devices[i]);
	sbi_free(board->sbi);
	for (unsigned i = 0; i < board->cluster.count; i++)
		hart_free(board->cluster.harts[i]);
	payload_free(board->boot);
	free(board->rom);
	memory_finish(&board->memory);
	free(board);
}

static int lay_out(struct board *board, const void *tree, size_t size, struct error *e)
{
	int r;

	ram_clear(&board->memory);
	r = payload_write(board->boot, &board->memory, e);
	if (r < 0)
		return r;
	r = memory_write(&board->memory, gpa(board->boot->fdt_address), tree, size);
	return r < 0 ? error_errno(e, r, "device tree outside RAM") : 0;
}

/* What boot code of the machine hands to what runs first: firmware or kernel. */
static void start_hart(const struct board *board, struct hart *hart)
{
	hart_reset(hart);
	if (board->sbi)
		sbi_boot_state(hart);
	hart->x[A0] = hart->id;
	hart->x[A1] = board->boot->fdt_address;
	hart->x[A2] = board->rom ? virt_map[VIRT_ROM].base : 0;
	atomic_store(&hart->power, board->sbi && hart->id != 0 ? HART_STOPPED : HART_STARTED);
}

int board_reset(struct board *board, struct error *e)
{
	void *tree;
	size_t size;
	int r = virt_tree_build(board, &tree, &size, e);

	if (r < 0)
		return r;
	r = lay_out(board, tree, size, e);
	free(tree);
	if (r < 0)
		return r;
	clock_stop(&board->clock);
	clock_set(&board->clock, 0);
	for (unsigned i = 0; i < board->cluster.count; i++)
		start_hart(board, board->cluster.harts[i]);
	for (unsigned i = 0; i < board->device_count; i++)
		device_reset(board->devices[i]);
	return 0;
}
