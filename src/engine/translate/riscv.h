/*
 * The RISC-V front end of the translator.
 *
 * Thread: any; pure.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_RISCV_H
#define DOPPEL_ENGINE_TRANSLATE_RISCV_H

#include "engine/translate/ir.h"
#include "engine/translate/pages.h"
#include "riscv/decode.h"

/* Translates the code at offset `at` of a page up to the first instruction that control does not pass, that the engine
 * must do (the unit then ends in IR_SYSTEM or IR_LEAVE), or that does not lie wholly in the page; but at most `limit` of
 * them, or more where the last ones are many without a branch. false: already the first does not lie wholly in the page.
 * The page may change under the reader: what the unit was made of is what its copy has. */
bool riscv_to_ir(struct ir_unit *unit, struct page_copy *page, unsigned at, unsigned limit);

/* The same for an instruction that begins in the last half word of a page and ends in the next. */
void riscv_straddling_to_ir(struct ir_unit *unit, uint32_t word);
/* Whether there is one: a bit pattern of the last half word. */
bool riscv_straddles(const uint8_t *page);

#endif
