/*
 * The `virt` machine: riscv64, laid out as the well-known machine of that name (virt_map.h).
 *
 * Thread: as board.h.
 */
#ifndef DOPPEL_BOARD_VIRT_H
#define DOPPEL_BOARD_VIRT_H

#include "board/board.h"
#include "riscv/sbi.h"

struct virt {
	struct board board;
	struct hart_cluster cluster; /* its harts are the board's cpus */
	struct sbi *sbi;             /* NULL with firmware */
	struct boot_rom *rom;        /* with firmware: what it is told; NULL without */
	struct device *plic;         /* among the devices: where wires end */
	struct device *generation;   /* among the devices: vmgenid_renew */
	struct device *pci;          /* among the devices: the host bridge; NULL: virtio devices are on MMIO */
	unsigned virtio_count;       /* slots of the memory map in use */
	struct boot_payload *boot;   /* the files, to be laid out again at each reset */
};

/* As board_new, for this kind. At reset hart 0 starts, the others wait (SBI HSM), or all start in M-mode with firmware. */
MUST_USE int board_virt_new(struct board **out, const struct board_config *config, struct error *e);

/* Of a board of this kind. */
static inline struct virt *virt_of(struct board *board)
{
	return (struct virt *)board;
}

#endif
