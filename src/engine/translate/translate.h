/* The translator: engine "translate". How it works is in translator.h and docs/internals/translate.md. */
#ifndef DOPPEL_ENGINE_TRANSLATE_TRANSLATE_H
#define DOPPEL_ENGINE_TRANSLATE_TRANSLATE_H

#include "engine/engine.h"

extern const struct engine engine_translate;

#endif
