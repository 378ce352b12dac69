/*
 * The JSON Schema (draft 2020-12) of documents of a kind, made of its table.
 *
 * It says what document.h takes, as far as a schema can: it does not look into the command line's spelling of forms, nor at
 * the range of a size that has a unit, nor at what must hold between parts.
 *
 * Thread: any.
 */
#ifndef DOPPEL_CONFIG_SCHEMA_H
#define DOPPEL_CONFIG_SCHEMA_H

#include <jansson.h>

#include "config/settings.h"

/* A new reference, or NULL without memory. */
json_t *schema_make(const struct config_kind *kind);

#endif
