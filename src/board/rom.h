/*
 * A read-only page at 0x1000 for firmware: struct fw_dynamic_info of OpenSBI (docs/firmware/fw_dynamic.md, version
 * 2), which tells where to go on. Harts do not execute it: they begin at the firmware itself, with its address in
 * a2.
 *
 * It is no RAM, so that nothing a guest does takes it away before the last hart has read it.
 * Thread: read from any; constant once set.
 */
#ifndef DOPPEL_BOARD_ROM_H
#define DOPPEL_BOARD_ROM_H

#include "bus/bus.h"

struct boot_rom {
	le64_t words[6];
};

/* Says that the firmware is to start what lies at `next` in S-mode, on hart 0. */
void boot_rom_set(struct boot_rom *rom, gpa_t next);
MUST_USE int boot_rom_attach(struct boot_rom *rom, struct bus *bus, struct error *e);

#endif
