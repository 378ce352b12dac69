/*
 * Guest code that another hart may be changing while it is looked at. Each halfword is read once, and a naturally aligned word
 * at once, as RVA profiles ask of instruction fetches (Ziccif): memcmp may read a byte again to tell which is less, and
 * says that two are equal when a third value passes meanwhile.
 *
 * Addresses are even. Thread: any.
 */
#ifndef DOPPEL_ENGINE_INTERPRET_CODE_H
#define DOPPEL_ENGINE_INTERPRET_CODE_H

#include <stdbool.h>
#include <stdint.h>

/* The instruction at `source`, of which `room` bytes may be read, 2 at least; the upper half is 0 when it has two bytes, and *whole
 * is false when it has four and there is no room for them. */
uint32_t code_instruction(const uint8_t *source, unsigned room, bool *whole);
/* Whether `length` bytes, an even number, are those of `copy`, which nobody changes. */
bool code_equals(const uint8_t *source, const uint8_t *copy, unsigned length);

#endif
