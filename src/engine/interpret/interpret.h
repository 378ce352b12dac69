/* The interpreter: engine "interpret". What it does, and how, is in vcpu.h. */
#ifndef DOPPEL_ENGINE_INTERPRET_INTERPRET_H
#define DOPPEL_ENGINE_INTERPRET_INTERPRET_H

#include "engine/engine.h"

/* Decoded blocks, TLBs and the hart's area. */
#define INTERPRET_VCPU_BYTES (34 * MIB)

extern const struct engine engine_interpret;

#endif
