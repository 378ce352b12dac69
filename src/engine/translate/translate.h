/* The translator: engine "translate". How it works is in translator.h and docs/internals/translate.md. */
#ifndef DOPPEL_ENGINE_TRANSLATE_TRANSLATE_H
#define DOPPEL_ENGINE_TRANSLATE_TRANSLATE_H

#include "engine/engine.h"
#include "engine/interpret/interpret.h"

/* Besides the interpreter's: TLBs, spaces and the jump table. */
#define TRANSLATE_VCPU_BYTES (6 * MIB)

extern const struct engine engine_translate;

#endif
