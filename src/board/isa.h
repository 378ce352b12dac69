/*
 * The extensions that a hart has, as a device tree tells them: one table behind both of the ways to write them
 * (Linux, Documentation/devicetree/bindings/riscv/extensions.yaml).
 */
#ifndef DOPPEL_BOARD_ISA_H
#define DOPPEL_BOARD_ISA_H

#include "base/types.h"

#define ISA_TEXT_ROOM 320

/* "rv64imafdc_zicbom_..." for the property riscv,isa. */
void isa_string(char text[ISA_TEXT_ROOM], bool firmware);
/* "i\0m\0a\0..." for riscv,isa-extensions; returns the bytes used. */
size_t isa_list(char text[ISA_TEXT_ROOM], bool firmware);

#endif
