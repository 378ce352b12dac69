/*
 * The device tree of the `virt` machine (Devicetree Specification 0.4; Linux bindings for RISC-V).
 */
#ifndef DOPPEL_BOARD_TREE_H
#define DOPPEL_BOARD_TREE_H

#include "board/virt.h"

/* Builds the tree for the board's harts, devices and payload, with a fresh rng-seed. *blob is the caller's to
 * free(); at most PAYLOAD_FDT_ROOM bytes. Thread: the owner. */
MUST_USE int virt_tree_build(const struct virt *virt, void **blob, size_t *size, struct error *e);

#endif
